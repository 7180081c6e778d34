"""Other people's PyTorch checkpoints, read without PyTorch and without running what is in them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ..errors import ModelError, UsageError
from ..modelfile import Model
from .archive import Archive, is_checkpoint
from .statedict import find_state_dict, read_state_dict
from .tree import find_network
from .ultralytics import read_network
from .values import Inert

SUFFIXES = (".pt", ".pth", ".ckpt")

__all__ = ["SUFFIXES", "is_checkpoint", "read_checkpoint"]


def read_checkpoint(
    path: str | os.PathLike[str],
    *,
    cfg: str | os.PathLike[str] | None = None,
    names: tuple[str, ...] | None = None,
) -> tuple[Model, list[str]]:
    """Read a checkpoint that `torch.save` wrote (PyTorch 1.6 or later) as a model.

    A whole pickled network (ultralytics/yolov3 from release 9 on) says all that there is to know. A state dict names
    tensors only; its network comes from `cfg`.

    Args:
        path: the file.
        cfg: for a state dict: a Darknet `.cfg`, a YAML file, or the name of one of the family's networks.
        names: class names instead of the checkpoint's own.

    Returns:
        The model, and notes for the user.

    Raises:
        ModelError: not such a checkpoint, damaged, or a network that isn't supported.
        UsageError: a state dict without `cfg`, or a whole network with it.
    """
    from ..zoo import file_sha256

    with Archive(path) as archive:
        notes: list[str] = []
        value = archive.read()
        network = find_network(value)
        tensors = None if network is not None else find_state_dict(value)
        if network is not None:
            if cfg is not None:
                raise UsageError(f"{path}: holds its whole network, so {cfg} has no say; leave it out")
            model = read_network(archive, value, network, names)
        elif tensors is not None:
            if cfg is None:
                raise UsageError(
                    f"{path}: a state dict, which doesn't say the network; give the .cfg or .yaml that it belongs to"
                )
            model, notes = read_state_dict(archive, tensors, os.fspath(cfg), names)
        else:
            raise ModelError(
                f"{path}: holds {_kind(value)}, expected a network of ultralytics/yolov3 or a dictionary of tensors"
            )
    paths = [Path(path)] if cfg is None else [Path(path), Path(cfg)]
    files = [{"name": file.name, "sha256": file_sha256(file)} for file in paths if file.is_file()]
    return replace(model, source={**model.source, "files": files}), notes


def _kind(value: object) -> str:
    if isinstance(value, dict):
        network = next((value[key] for key in ("ema", "model") if isinstance(value.get(key), Inert)), None)
        if network is None:
            keys = [repr(key)[:30] for key in value if isinstance(key, str)]
            return f"a dictionary of {', '.join(keys[:5]) or 'nothing'}"
        value = network
    return f"a {value.name}" if isinstance(value, Inert) else f"a {type(value).__name__.lower()}"
