"""Graph → ONNX, emitted directly: raw heads, boxes, or boxes after suppression; any size or a fixed one."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError, Yolov3Error
from ..spec.primitives import Add, Concat, Convolution, MaxPool, Operation, Pad, Slice, Upsample
from .lowering import INPUT, LOWEST, Graph, Node
from .onnx_tail import emit_boxes, emit_suppression
from .signature import RAW, Signature, Tensor

if TYPE_CHECKING:
    import onnx

OPSET = 18
IR_VERSION = 9  # what runtimes of 2023 still read
MAX_BYTES = 2_000_000_000  # protobuf holds no more


def emit_onnx(graph: Graph, metadata: dict[str, str] | None = None, signature: Signature = RAW) -> onnx.ModelProto:
    """An ONNX model of the graph.

    Nodes are named as the graph's; what is added for input and outputs is called `input.…`, `decode.…` and `nms.…`.

    Args:
        graph: from `lower`.
        metadata: written into the model's `metadata_props`.
        signature: what it takes and gives. With precision "fp16" weights and the network's arithmetic are float16,
            inputs, outputs and decoding float32; "int8" is made from an fp32 model, not here.

    Raises:
        ModelError: the model is too large for an ONNX file, or its weights are beyond float16's range.
        Yolov3Error: the package onnx isn't installed.
    """
    _require_onnx()
    import onnx
    from onnx import helper

    half = signature.precision == "fp16"
    _check_size(graph, half)
    emitter = Emitter(np.float16 if half else np.float32)
    rename = _emit_input(emitter, graph.scale, signature.uint8)
    raw = _emit_network(emitter, graph, rename)
    if signature.outputs != "raw":
        emit_boxes(emitter, raw, graph.heads, graph.nc, signature)
    if signature.outputs == "detections":
        emit_suppression(emitter, signature)
    outputs = [_value_info(tensor) for tensor in signature.tensors(graph.nodes[0].model.spec.network)]
    proto = helper.make_graph(emitter.nodes, "yolov3", [_value_info(signature.input)], outputs, emitter.initializers)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="yolov3")
    model.ir_version = IR_VERSION
    for key, value in sorted((metadata or {}).items()):
        model.metadata_props.append(onnx.StringStringEntryProto(key=key, value=value))
    return model


def _require_onnx() -> None:
    if find_spec("onnx") is None:
        raise Yolov3Error("ONNX needs the package onnx, which is not installed; pip install 'yolov3[onnx]'")


def _check_size(graph: Graph, half: bool) -> None:
    model = graph.nodes[0].model
    size = sum(array.size for array in model.tensors.values()) * (2 if half else 4)
    if size > MAX_BYTES:
        raise ModelError(f"{model.origin}: {size / 1e9:.1f} GB of weights, an ONNX file holds at most 2 GB")


def _value_info(tensor: Tensor) -> onnx.ValueInfoProto:
    from onnx import TensorProto, helper

    kinds = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int64": TensorProto.INT64}
    return helper.make_tensor_value_info(tensor.name, kinds[tensor.dtype], list(tensor.shape))


def _emit_input(emitter: Emitter, scale: float, uint8: bool) -> str:
    """Whatever stands between the input and the network; gives the name of what the network reads."""
    name = INPUT
    if uint8:
        emitter.add("Cast", "input.real", [name], to=emitter.FLOAT)
        emitter.add("Transpose", "input.channels_first", ["input.real"], perm=[0, 3, 1, 2])
        factor = emitter.constant("input.scale", np.array(scale, np.float32))
        emitter.add("Mul", "input.scaled", ["input.channels_first", factor])
        name = "input.scaled"
    if emitter.dtype == np.float16:
        emitter.add("Cast", "input.half", [name], to=emitter.FLOAT16)
        name = "input.half"
    return name


def _emit_network(emitter: Emitter, graph: Graph, source: str) -> list[str]:
    """The network's nodes; gives the names of its raw heads in float32."""
    half = emitter.dtype == np.float16
    renamed = {INPUT: source} | {name: f"{name}_half" for name in graph.outputs if half}
    for node in graph.nodes:
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        emitter.node(replace(node, name=renamed.get(node.name, node.name), inputs=inputs))
    if half:
        for name in graph.outputs:
            emitter.add("Cast", name, [renamed[name]], to=emitter.FLOAT)
    return list(graph.outputs)


class Emitter:
    """Collects nodes and initializers, everything in one float type."""

    FLOAT, FLOAT16 = 1, 10  # TensorProto's numbers

    def __init__(self, dtype: type[np.float32] | type[np.float16]) -> None:
        self.dtype = dtype
        self.lowest = LOWEST if dtype is np.float32 else float(np.finfo(np.float16).min)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.constants: set[str] = set()

    def add(self, kind: str, name: str, inputs: list[str], **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))

    def constant(self, name: str, array: np.ndarray[Any, Any]) -> str:
        """An initializer, made once for each name."""
        from onnx import numpy_helper

        if name not in self.constants:
            self.constants.add(name)
            self.initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def scalar(self, value: float) -> str:
        return self.constant(f"constant_{value!r}", np.array(value, self.dtype))

    def node(self, node: Node) -> None:
        operation = node.operation
        activation = operation.activation if isinstance(operation, (Convolution, Add)) else "linear"
        output = node.name if activation == "linear" else f"{node.name}_linear"
        self.operation(node, operation, output, list(node.inputs))
        if activation != "linear":
            self.activation(activation, node.name, output)

    def operation(self, node: Node, operation: Operation, output: str, inputs: list[str]) -> None:
        if isinstance(operation, Convolution):
            self.convolution(node, operation, output, inputs)
        elif isinstance(operation, MaxPool):
            left, top, right, bottom = operation.padding
            self.add(
                "MaxPool",
                output,
                inputs,
                kernel_shape=[operation.kernel] * 2,
                strides=[operation.stride] * 2,
                pads=[top, left, bottom, right],
            )
        elif isinstance(operation, Pad):
            self.pad(operation, output, inputs)
        elif isinstance(operation, Upsample):
            scales = np.array([1, 1, operation.scale, operation.scale], np.float32)
            scales_name = self.constant(f"scales_{operation.scale}", scales)
            self.add(
                "Resize",
                output,
                [*inputs, "", scales_name],
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        elif isinstance(operation, Concat):
            self.add("Concat", output, inputs, axis=1)
        elif isinstance(operation, Add):
            self.add("Add" if len(inputs) == 2 else "Sum", output, inputs)
        else:
            assert isinstance(operation, Slice)
            bounds = (operation.start, operation.start + operation.channels, 1)
            names = [self.constant(f"index_{bound}", np.array([bound], np.int64)) for bound in bounds]
            self.add("Slice", output, [*inputs, *names])

    def convolution(self, node: Node, operation: Convolution, output: str, inputs: list[str]) -> None:
        weight, bias = (self.cast(array, node) for array in node.weights)
        pad_h, pad_w = operation.padding_hw
        names = [self.constant(f"{operation.name}.weight", weight), self.constant(f"{operation.name}.bias", bias)]
        self.add(
            "Conv",
            output,
            [*inputs, *names],
            kernel_shape=list(operation.kernel_hw),
            strides=[operation.stride] * 2,
            pads=[pad_h, pad_w, pad_h, pad_w],
            group=operation.groups,
        )

    def cast(self, array: np.ndarray[Any, Any], node: Node) -> np.ndarray[Any, Any]:
        """Weights in the emitter's float type."""
        if np.abs(array).max(initial=0) > np.finfo(self.dtype).max:
            raise ModelError(f"{node.model.origin}: {node.name} has weights beyond float16's range, export it as fp32")
        return array.astype(self.dtype, copy=False)

    def pad(self, operation: Pad, output: str, inputs: list[str]) -> None:
        """The Max changes nothing but keeps ONNX Runtime (1.31) from fusing a zero Pad into a MaxPool behind it.

        The fused pool would pad by −∞ instead.
        """
        left, top, right, bottom = operation.padding
        name = "pads_" + "_".join(map(str, operation.padding))
        pads = self.constant(name, np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
        self.add("Pad", f"{output}_padded", [*inputs, pads, self.scalar(max(operation.value, self.lowest))])
        self.add("Max", output, [f"{output}_padded", self.scalar(self.lowest)])

    def activation(self, kind: str, output: str, source: str) -> None:
        if kind == "leaky":
            self.add("LeakyRelu", output, [source], alpha=0.1)
        elif kind == "relu6":
            self.add("Clip", output, [source, self.scalar(0), self.scalar(6)])
        elif kind == "silu":
            self.add("Sigmoid", f"{output}_sigmoid", [source])
            self.add("Mul", output, [source, f"{output}_sigmoid"])
        else:
            name = {"relu": "Relu", "mish": "Mish", "sigmoid": "Sigmoid", "tanh": "Tanh"}[kind]
            self.add(name, output, [source])
