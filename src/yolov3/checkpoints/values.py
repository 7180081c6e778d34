"""What the pickle of a checkpoint describes: names, inert objects, tensors; and the few calls that are understood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MAX_DIMENSIONS = 16
MAX_SIZE = 1 << 40


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function by its name; nothing is imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return repr(f"{self.module}.{self.name}")[1:-1]  # control characters escaped


@dataclass(eq=False, slots=True)
class Inert:
    """What unpickling would have made by a call.

    Attributes:
        name: the class or function.
        args: what it would have been called with.
        state: the attributes that the object would have got.
    """

    name: Name
    args: object
    state: object = None


@dataclass(frozen=True, slots=True)
class Storage:
    """Values in a file of their own. `kind` is torch's name of the type, such as `HalfStorage`."""

    key: str
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage; offset and strides count values."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class DamagedError(ValueError):
    """Something that no pickler writes."""


def is_size(value: object) -> bool:
    """Whether it can be a number of values."""
    return type(value) is int and 0 <= value <= MAX_SIZE


def hashable(value: object) -> object:
    """A key: a plain value or a few of them; hashing deeper or longer ones could take the stack or forever."""
    parts = value if isinstance(value, tuple) else (value,)
    if len(parts) > MAX_DIMENSIONS or not all(map(_is_plain_key, parts)):
        raise DamagedError(f"a {type(value).__name__} as a key")
    return value


def _is_plain_key(value: object) -> bool:
    if isinstance(value, int):
        return value.bit_length() <= 64
    return value is None or isinstance(value, (str, bytes, float, Name, Inert))


def pairs(values: list[object]) -> dict[object, object]:
    """A dictionary from key, value, key, value, …"""
    if len(values) % 2:
        raise DamagedError("a key without its value")
    return {hashable(key): value for key, value in zip(values[::2], values[1::2], strict=True)}


# --- what is rebuilt


def _dictionary(function: Name, args: object) -> object:
    """`OrderedDict()`, `OrderedDict([[key, value], …])` or `defaultdict(factory)`."""
    given = args[0] if isinstance(args, tuple) and len(args) == 1 and isinstance(args[0], list) else []
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in given):
        raise DamagedError("a dictionary that is not made of pairs")
    return pairs([part for pair in given for part in pair])


def _set(function: Name, args: object) -> object:
    values = args[0] if isinstance(args, tuple) and args else []
    if not isinstance(values, (list, tuple)):
        raise DamagedError("a set that is not made of a list")
    return set(map(hashable, values))


def _tensor(function: Name, args: object) -> object:
    """`torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)`."""
    if not isinstance(args, tuple) or len(args) < 4 or not isinstance(args[0], Storage):
        return Inert(function, args)
    storage, offset, shape, strides = args[:4]
    plain = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides) <= MAX_DIMENSIONS
    if not plain or not all(map(is_size, (offset, *shape, *strides))):
        raise DamagedError("a tensor without a sensible shape")
    return Tensor(storage, offset, shape, strides)


def _first_argument(function: Name, args: object) -> object:
    """`torch._utils._rebuild_parameter(tensor, requires_grad, hooks)`; `torch.Size(shape)`."""
    return args[0] if isinstance(args, tuple) and args else Inert(function, args)


def _plain_object(function: Name, args: object) -> object:
    """`copyreg._reconstructor(class, base, state)`."""
    known = isinstance(args, tuple) and args and isinstance(args[0], Name)
    return Inert(args[0], ()) if known else Inert(function, args)  # type: ignore[index]


REBUILDERS: dict[str, Callable[[Name, object], object]] = {
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": _dictionary,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "builtins.frozenset": _set,
    "__builtin__.frozenset": _set,
    "torch.Size": _first_argument,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _first_argument,
    "torch._utils._rebuild_parameter_with_state": _first_argument,
    "copyreg._reconstructor": _plain_object,
    "copy_reg._reconstructor": _plain_object,
}
