"""Reading an exported ONNX file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ModelError, Yolov3Error, shown
from ...graph.signature import Tensor
from ...modelfile import METADATA_KEY
from .record import EXPECTED, Exported, check_tensors, or_foreign, read_bytes, understand

if TYPE_CHECKING:
    import onnx


def read_onnx(path: Path) -> Exported:
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError:
        raise Yolov3Error(f"{path}: onnx is not installed; pip install 'yolov3[onnx]'") from None
    data = read_bytes(path)
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        raise ModelError(f"{path}: not an ONNX file, or cut short") from None
    _check_tensors_inside(model, path)
    found = [_onnx_tensor(info) for info in model.graph.input], [_onnx_tensor(info) for info in model.graph.output]
    text = next((entry.value for entry in model.metadata_props if entry.key == METADATA_KEY), None)
    exported = understand("onnx", (data,), or_foreign(text, path, *found), str(path))
    check_tensors(exported, *found)
    return exported


def _check_tensors_inside(model: onnx.ModelProto, path: Path) -> None:
    """Refuse tensors outside the file, wherever they are named: a path in a model could lead anywhere."""
    import onnx

    for graph in _graphs(model.graph):
        attributes = [attribute for node in graph.node for attribute in node.attribute]
        tensors = [*graph.initializer, *(attribute.t for attribute in attributes)]
        tensors += [tensor for attribute in attributes for tensor in attribute.tensors]
        for tensor in tensors:
            if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
                place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "elsewhere")
                raise ModelError(
                    f"{path}: tensor {shown(tensor.name)} lies in another file ({shown(place)}), expected every tensor "
                    "inside; save it as one file"
                )
        if graph.sparse_initializer or any(
            each.HasField("sparse_tensor") or each.sparse_tensors for each in attributes
        ):
            raise ModelError(f"{path}: has sparse tensors, expected none; {EXPECTED}")
    if model.functions:
        raise ModelError(f"{path}: has functions of its own, expected none; {EXPECTED}")


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and those inside its nodes."""
    waiting = [graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]


def _onnx_tensor(info: onnx.ValueInfoProto) -> Tensor:
    from onnx import TensorProto

    kind = info.type.tensor_type
    shape = [side.dim_value if side.HasField("dim_value") else side.dim_param or "?" for side in kind.shape.dim]
    numbers = TensorProto.DataType.values()
    name = TensorProto.DataType.Name(kind.elem_type).lower() if kind.elem_type in numbers else "untyped"
    return Tensor(info.name, {"float": "float32"}.get(name, name), tuple(shape))
