"""Files as `torch.save` writes them, made without PyTorch: what the reader of checkpoints is tested against.

Values are plain ones, numpy arrays (tensors), and the three classes below.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

KINDS = {"f4": "Float", "f2": "Half", "f8": "Double", "i8": "Long", "i4": "Int", "i2": "Short", "i1": "Char",
         "u1": "Byte", "b1": "Bool"}  # fmt: skip


@dataclass
class Global:
    """A class or function by its name, `module.name`."""

    path: str


@dataclass
class Call:
    """A function called with arguments, or an object made by `__new__`."""

    function: Global
    args: tuple = ()
    new: bool = False
    state: object = None


@dataclass
class View:
    """A tensor that is a part of a storage."""

    storage: np.ndarray
    offset: int
    shape: Sequence[int]
    strides: Sequence[int]
    kind: str = ""
    count: int | None = None


@dataclass
class Checkpoint:
    """Builds the pickle (protocol 2) and collects storages."""

    order: str = "<"
    storages: list[bytes] = field(default_factory=list)

    def emit(self, value: object) -> bytes:
        """The opcodes that push `value`."""
        if value is None or isinstance(value, bool):
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        if isinstance(value, int) and abs(value) < 1 << 31:
            return b"J" + struct.pack("<i", value)
        if isinstance(value, int):
            return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value)
        if isinstance(value, str):
            return (
                b"X"
                + struct.pack("<I", len(value.encode(errors="surrogatepass")))
                + value.encode(errors="surrogatepass")
            )
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self.emit, value)) + b"t"
        if isinstance(value, list):
            return b"](" + b"".join(map(self.emit, value)) + b"e"
        if isinstance(value, dict):
            return b"}(" + b"".join(self.emit(part) for pair in value.items() for part in pair) + b"u"
        if isinstance(value, Global):
            module, _, name = value.path.rpartition(".")
            return f"c{module}\n{name}\n".encode()
        if isinstance(value, Call):
            made = self.emit(value.function) + self.emit(value.args) + (b"\x81" if value.new else b"R")
            return made + (b"" if value.state is None else self.emit(value.state) + b"b")
        if isinstance(value, np.ndarray):
            strides = [stride // value.itemsize for stride in np.ascontiguousarray(value).strides]
            value = View(value.reshape(-1), 0, value.shape, strides[: value.ndim])
        assert isinstance(value, View), value
        return self.tensor(value)

    def tensor(self, view: View) -> bytes:
        kind = view.kind or KINDS[view.storage.dtype.str[1:]] + "Storage"
        key = str(len(self.storages))
        self.storages.append(view.storage.astype(view.storage.dtype.newbyteorder(self.order)).tobytes())
        count = view.storage.size if view.count is None else view.count
        reference = self.emit(("storage", Global(f"torch.{kind}"), key, "cpu", count)) + b"Q"
        rest = b"".join(map(self.emit, (view.offset, tuple(view.shape), tuple(view.strides), False)))
        hooks = self.emit(Call(Global("collections.OrderedDict")))
        return self.emit(Global("torch._utils._rebuild_tensor_v2")) + b"(" + reference + rest + hooks + b"tR"

    def pickle(self, value: object) -> bytes:
        return b"\x80\x02" + self.emit(value) + b"."


def parameter(array: np.ndarray) -> Call:
    """A tensor as `nn.Parameter` pickles itself."""
    arguments = (array, True, Call(Global("collections.OrderedDict")))
    return Call(Global("torch._utils._rebuild_parameter"), arguments)


def write_zip(path: Path, entries: dict[str, bytes], folder: str = "archive", compression: int = 0) -> Path:
    """A zip of these entries in one folder."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(f"{folder}/{name}", data)
    return path


def write_checkpoint(path: Path, value: object, *, order: str = "<") -> Path:
    """A checkpoint file of `value`."""
    checkpoint = Checkpoint(order)
    entries = {"data.pkl": checkpoint.pickle(value), "byteorder": b"little" if order == "<" else b"big"}
    entries |= {f"data/{key}": data for key, data in enumerate(checkpoint.storages)}
    return write_zip(path, entries, path.stem)
