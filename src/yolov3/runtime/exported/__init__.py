"""Exported networks (ONNX, OpenVINO, ncnn, MNN): reading their files and checking what they say of themselves.

Nothing about such a file is guessed. What it takes and gives, the class names, the size and the preprocessing stand in
its metadata: in ONNX's `metadata_props`, in OpenVINO's `rt_info`; ncnn and MNN have no place for it, so it is a JSON
file beside theirs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...errors import ModelError, UsageError
from ..loading import DarknetOptions, Reference, read_class_names
from .onnx_file import read_onnx
from .openvino_file import read_openvino
from .record import (
    EXPECTED,
    KINDS,
    MAX_TEXT,
    Exported,
    check_digests,
    companions,
    exported_kind,
    read_bytes,
    sidecar,
    understand,
)

__all__ = ["KINDS", "Exported", "companions", "exported_kind", "load_exported", "sidecar"]


_NO_OPTIONS = DarknetOptions()


def load_exported(path: Reference, options: DarknetOptions = _NO_OPTIONS) -> Exported:
    """Read an exported network and check it.

    Args:
        path: the file; its kind is told by its suffix.
        options: `names` renames the classes, the others don't go with it.

    Raises:
        ModelError: it can't be read, isn't one that this package exported, or was changed since.
        UsageError: options that don't belong to it.
        Yolov3Error: the package that reads its kind isn't installed.
    """
    given = (("--weights", options.weights), ("--masks", options.masks), ("--allow-extra", options.allow_extra or None))
    for option, value in given:
        if value is not None:
            raise UsageError(f"{option} goes with a Darknet .cfg as the model, not with {path}")
    read = {"onnx": read_onnx, "openvino": read_openvino}.get(str(exported_kind(path)), _read_with_sidecar)
    exported = read(Path(path))
    if options.names is None:
        return exported
    return replace(exported, names=read_class_names(options.names, exported.spec.nc, exported.origin))


def _read_with_sidecar(path: Path) -> Exported:
    beside = sidecar(path)
    if not beside.is_file():
        raise ModelError(f"{path}: {beside.name} is not beside it, so how to run it isn't known; {EXPECTED}")
    text = read_bytes(beside, MAX_TEXT).decode(errors="replace")
    files = [path, *(other for other in companions(path) if other != beside)]
    data = tuple(read_bytes(file) for file in files)
    exported = understand(str(exported_kind(path)), data, text, str(path), str(beside))
    check_digests(exported, files)
    return exported
