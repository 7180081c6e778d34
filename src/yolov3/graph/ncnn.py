"""Graph → ncnn's param text and weight bytes, in memory. Format: ncnn's param-and-model-file-structure document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..spec.primitives import Add, Concat, Convolution, MaxPool, Operation, Pad, Slice, Upsample
from .lowering import INPUT, Graph, Node

# Activation → ncnn's activation_type and parameters inside a convolution.
_FUSED = {"linear": "", "relu": " 9=1", "leaky": " 9=2 -23310=1,0.1", "relu6": " 9=3 -23310=2,0.0,6.0"} | {
    "sigmoid": " 9=4",
    "mish": " 9=5",
}
# Activation → a layer of its own.
_LAYERS = {
    "silu": ("Swish", ""),
    "tanh": ("TanH", ""),
    "relu": ("ReLU", ""),
    "leaky": ("ReLU", " 0=0.1"),
    "relu6": ("Clip", " 0=0.0 1=6.0"),
    "sigmoid": ("Sigmoid", ""),
    "mish": ("Mish", ""),
}


# With fewer channels Winograd's way has so little to multiply that its transformations cost more than they save, and in
# the first layer ncnn's threads have nothing to share (docs/decisions/012-one-at-a-time.md).
_FEW_INPUTS = 16
_NO_WINOGRAD = " 31=64"  # ncnn's featmask: features that this layer doesn't use

# What stands before a convolution's weights: float32 follow, or float16 (ncnn's modelbin.cpp).
_FLOAT32, _FLOAT16 = 0, 0x01306B47


def emit_ncnn(graph: Graph, *, half: bool = False) -> tuple[str, Iterator[NDArray[Any]]]:
    """The network for ncnn: its param text, and its bin as arrays that follow each other without gaps.

    The input blob is "images" (3, H, W) float32, scaled; the outputs are named as the graph's. The arrays are folded
    as they are asked for, so that the whole bin is never in memory.

    Args:
        graph: from `lower`.
        half: write convolution weights as float16; biases stay float32.
    """
    emitter = _Emitter(graph)
    emitter.run()
    header = f"7767517\n{len(emitter.lines)} {emitter.blobs}\n"
    return header + "\n".join(emitter.lines) + "\n", _weights(graph, half)


def _weights(graph: Graph, half: bool) -> Iterator[NDArray[Any]]:
    for node in graph.nodes:
        if isinstance(node.operation, Convolution):
            yield np.array([_FLOAT16 if half else _FLOAT32], np.uint32)
            yield from _halves(node) if half else node.weight_pieces


def _halves(node: Node) -> Iterator[NDArray[Any]]:
    """The weight as float16, an even number of them because ncnn reads whole words, and the bias as float32."""
    weight, bias = node.weights
    if np.abs(weight).max(initial=0) > np.finfo(np.float16).max:
        raise ModelError(f"{node.model.origin}: {node.name} has weights beyond float16's range, export it as fp32")
    yield np.append(weight.astype(np.float16), np.zeros(weight.size % 2, np.float16))
    yield bias


class _Emitter:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.lines: list[str] = []
        self.blobs = 0
        self.readers = Counter(source for node in graph.nodes for source in node.inputs)
        self.copies: dict[str, int] = {}

    def run(self) -> None:
        self.layer("Input", INPUT, [], [INPUT])
        self.split(INPUT)
        for node in self.graph.nodes:
            self.node(node)
            self.split(node.name)

    def layer(self, kind: str, name: str, inputs: list[str], outputs: list[str], parameters: str = "") -> None:
        words = [kind, name, str(len(inputs)), str(len(outputs)), *inputs, *outputs]
        self.lines.append(" ".join(words) + parameters)
        self.blobs += len(outputs)

    def split(self, name: str) -> None:
        """ncnn wants a Split layer where an output is read more than once."""
        if self.readers[name] > 1:
            outputs = [f"{name}_copy{copy}" for copy in range(self.readers[name])]
            self.layer("Split", f"{name}_split", [name], outputs)

    def read(self, name: str) -> str:
        if self.readers[name] < 2:
            return name
        copy = self.copies.get(name, 0)
        self.copies[name] = copy + 1
        return f"{name}_copy{copy}"

    def node(self, node: Node) -> None:
        inputs = [self.read(source) for source in node.inputs]
        operation = node.operation
        activation = operation.activation if isinstance(operation, (Convolution, Add)) else "linear"
        fused = isinstance(operation, Convolution) and activation in _FUSED
        separate = activation != "linear" and not fused
        output = f"{node.name}_linear" if separate else node.name
        kind, parameters = self.describe(node)
        if fused:
            parameters += _FUSED[activation]
        self.layer(kind, output, inputs, [output], parameters)
        if separate:
            kind, parameters = _LAYERS[activation]
            self.layer(kind, node.name, [output], [node.name], parameters)

    def describe(self, node: Node) -> tuple[str, str]:
        operation = node.operation
        if isinstance(operation, Convolution):
            return _describe_convolution(operation)
        return _describe(operation)


def _describe_convolution(operation: Convolution) -> tuple[str, str]:
    (kernel_h, kernel_w), (pad_h, pad_w) = operation.kernel_hw, operation.padding_hw
    stride = operation.stride
    parameters = (
        f" 0={operation.channels} 1={kernel_w} 11={kernel_h} 3={stride} 13={stride} 4={pad_w} 14={pad_h} 5=1 "
        f"6={operation.weight_count}"
    )
    if operation.groups == 1:
        inputs = operation.weight_count // (operation.channels * kernel_h * kernel_w)
        return "Convolution", parameters + (_NO_WINOGRAD if inputs < _FEW_INPUTS else "")
    return "ConvolutionDepthWise", f"{parameters} 7={operation.groups}"


def _describe(operation: Operation) -> tuple[str, str]:
    if isinstance(operation, MaxPool):
        left, top, right, bottom = operation.padding
        return "Pooling", (
            f" 0=0 1={operation.kernel} 2={operation.stride} 3={left} 13={top} 14={right} 15={bottom} 5=1"
        )
    if isinstance(operation, Pad):
        left, top, right, bottom = operation.padding
        return "Padding", f" 0={top} 1={bottom} 2={left} 3={right} 4=0 5={np.float32(operation.value):.9e}"
    if isinstance(operation, Upsample):
        return "Interp", f" 0=1 1={operation.scale}.0 2={operation.scale}.0"
    if isinstance(operation, Concat):
        return "Concat", " 0=0"
    if isinstance(operation, Add):
        return "Eltwise", " 0=1"
    assert isinstance(operation, Slice)
    return "Crop", f" -23309=1,{operation.start} -23310=1,{operation.start + operation.channels} -23311=1,0"
