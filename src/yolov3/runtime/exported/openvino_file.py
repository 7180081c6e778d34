"""Reading an exported OpenVINO IR."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import ModelError, Yolov3Error, said
from ...graph.signature import Tensor
from ...modelfile import METADATA_KEY
from .record import Exported, check_digests, check_tensors, companions, or_foreign, read_bytes, understand


def read_openvino(path: Path) -> Exported:
    try:
        import openvino  # type: ignore[import-untyped]
    except ImportError:
        raise Yolov3Error(f"{path}: openvino is not installed; pip install 'yolov3[convert]'") from None
    files = [path, *companions(path)]
    data = tuple(read_bytes(file) for file in files)
    try:
        model = openvino.Core().read_model(*data)
        found = [_openvino_tensor(port) for port in model.inputs], [_openvino_tensor(port) for port in model.outputs]
        text = model.get_rt_info(METADATA_KEY).astype(str) if model.has_rt_info(METADATA_KEY) else None
    except (RuntimeError, UnicodeDecodeError) as error:
        words = said(error, 2000)[-120:]
        raise ModelError(f"{path}: not an OpenVINO IR, or it or {files[1].name} is damaged ({words})") from None
    exported = understand("openvino", data, or_foreign(text, path, *found), str(path))
    check_digests(exported, files[1:])
    check_tensors(exported, *found)
    return exported


def _openvino_tensor(port: Any) -> Tensor:
    names = {"f32": "float32", "f16": "float16", "u8": "uint8", "i64": "int64"}
    shape = port.get_partial_shape()
    sides = [side.get_length() if side.is_static else "?" for side in shape] if shape.rank.is_static else []
    kind = port.get_element_type().to_string()
    return Tensor(port.get_any_name() if port.get_names() else "nameless", names.get(kind, kind), tuple(sides))
