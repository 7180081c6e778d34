"""Graph → ONNX, emitted directly: raw heads, dynamic batch and size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..spec.primitives import Add, Concat, Convolution, MaxPool, Operation, Pad, Slice, Upsample
from .lowering import INPUT, LOWEST, Graph, Node

if TYPE_CHECKING:
    import onnx

OPSET = 18
IR_VERSION = 9  # what runtimes of 2023 still read


def emit_onnx(graph: Graph, metadata: dict[str, str] | None = None) -> onnx.ModelProto:
    """An ONNX model of the graph.

    Input "images": float32 (batch, 3, height, width), RGB times the graph's scale. Outputs: the raw heads
    (batch, anchors · (5 + classes), height / stride, width / stride), named as the graph's.

    Args:
        graph: from `lower`.
        metadata: written into the model's `metadata_props`.
    """
    import onnx
    from onnx import TensorProto, helper

    emitter = _Emitter()
    for node in graph.nodes:
        emitter.node(node)
    image = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 3, "height", "width"])
    outputs = []
    for place, (name, head) in enumerate(zip(graph.outputs, graph.heads, strict=True)):
        channels = len(head.anchors) * (5 + graph.nc)
        shape: list[str | int | None] = ["batch", channels, f"height{place}", f"width{place}"]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    proto = helper.make_graph(emitter.nodes, "yolov3", [image], outputs, emitter.initializers)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="yolov3")
    model.ir_version = IR_VERSION
    for key, value in sorted((metadata or {}).items()):
        model.metadata_props.append(onnx.StringStringEntryProto(key=key, value=value))
    return model


class _Emitter:
    def __init__(self) -> None:
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
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def scalar(self, value: float) -> str:
        return self.constant(f"constant_{value:g}", np.array(value, np.float32))

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
            self.add("Sum", output, inputs)
        else:
            assert isinstance(operation, Slice)
            bounds = (operation.start, operation.start + operation.channels, 1)
            names = [self.constant(f"index_{bound}", np.array([bound], np.int64)) for bound in bounds]
            self.add("Slice", output, [*inputs, *names])

    def convolution(self, node: Node, operation: Convolution, output: str, inputs: list[str]) -> None:
        weight, bias = node.weights
        pad_h, pad_w = operation.padding_hw
        names = [self.constant(f"{node.name}.weight", weight), self.constant(f"{node.name}.bias", bias)]
        self.add(
            "Conv",
            output,
            [*inputs, *names],
            kernel_shape=list(operation.kernel_hw),
            strides=[operation.stride] * 2,
            pads=[pad_h, pad_w, pad_h, pad_w],
            group=operation.groups,
        )

    def pad(self, operation: Pad, output: str, inputs: list[str]) -> None:
        """The Max changes nothing but keeps ONNX Runtime (1.31) from fusing a zero Pad into a MaxPool behind it.

        The fused pool would pad by −∞ instead.
        """
        left, top, right, bottom = operation.padding
        name = "pads_" + "_".join(map(str, operation.padding))
        pads = self.constant(name, np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
        self.add("Pad", f"{output}_padded", [*inputs, pads, self.scalar(max(operation.value, LOWEST))])
        self.add("Max", output, [f"{output}_padded", self.scalar(LOWEST)])

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
