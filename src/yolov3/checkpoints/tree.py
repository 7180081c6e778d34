"""Pickled networks as trees of modules, and what is taken out of them: tensors and plain values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ModelError
from ..modelfile import FloatTensor
from .archive import Archive
from .values import Inert, Tensor

MAX_DEPTH = 8
MAX_VALUES = 200_000


@dataclass(frozen=True, slots=True)
class Module:
    """A pickled `torch.nn.Module`: its class, attributes, submodules and tensors."""

    path: str
    inert: Inert

    @property
    def kind(self) -> str:
        """The class, without its module."""
        return self.inert.name.name

    def attribute(self, name: str) -> object:
        """An attribute, None when it isn't there."""
        return self.inert.state.get(name) if isinstance(self.inert.state, dict) else None

    def child(self, name: str) -> Module | None:
        """A submodule by name."""
        children = self.attribute("_modules")
        found = children.get(name) if isinstance(children, dict) else None
        return Module(f"{self.path}.{name}".lstrip("."), found) if isinstance(found, Inert) else None

    def children(self) -> list[Module]:
        """All submodules."""
        children = self.attribute("_modules")
        names = [name for name in children if isinstance(name, str)] if isinstance(children, dict) else []
        return [found for found in map(self.child, names) if found is not None]

    def tensor(self, name: str) -> Tensor | None:
        """A parameter or buffer by name."""
        for group in ("_parameters", "_buffers"):
            values = self.attribute(group)
            if isinstance(values, dict) and isinstance(values.get(name), Tensor):
                return values[name]  # type: ignore[no-any-return]
        return None


def find_network(value: object) -> Module | None:
    """The pickled network of a checkpoint: `ema`, else `model`; or the value itself; None when there is none."""
    candidates = [value.get("ema"), value.get("model")] if isinstance(value, dict) else [value]
    found = next((candidate for candidate in candidates if isinstance(candidate, Inert)), None)
    module = None if found is None else Module("", found)
    for _ in range(4):  # DataParallel and AutoShape wrap it
        if module is None or isinstance(module.attribute("yaml"), dict):
            return module
        module = module.child("module") or module.child("model")
    return None


def load_tensor(archive: Archive, name: str, tensor: Tensor | None, shape: tuple[int, ...]) -> FloatTensor:
    """One tensor for the model file: float16 weights stay what they are, everything else becomes float32.

    Raises:
        ModelError: missing, of another shape, or with values that are not finite in float32.
    """
    if tensor is None:
        raise ModelError(f"{archive.origin}: {name} is missing, expected a tensor of shape {list(shape)}")
    if tensor.shape != shape:
        raise ModelError(f"{archive.origin}: {name} has shape {list(tensor.shape)}, expected {list(shape)}")
    array = archive.array(tensor)
    with np.errstate(over="ignore"):
        values = array if array.dtype == np.float16 and array.ndim == 4 else array.astype(np.float32)
    if not np.isfinite(values).all():
        raise ModelError(f"{archive.origin}: {name} has values that are not finite")
    return values  # type: ignore[return-value]


def plain_copy(value: object, origin: str) -> object:
    """A copy of plain values, small and shallow, so that no trick of sharing can blow it up."""
    budget = [MAX_VALUES]

    def copy(value: object, depth: int) -> object:
        budget[0] -= 1
        if budget[0] < 0 or depth > MAX_DEPTH:
            raise ModelError(f"{origin}: too large or nested too deeply for a description of a network")
        if isinstance(value, dict) and all(isinstance(key, (str, int)) for key in value):
            return {str(key): copy(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [copy(item, depth + 1) for item in value]
        if value is None or isinstance(value, float):
            return value
        if isinstance(value, int) and value.bit_length() <= 64:
            return value
        if isinstance(value, str) and value.isprintable():
            return value
        raise ModelError(f"{origin}: holds a {type(value).__name__}, expected plain values")

    return copy(value, 0)
