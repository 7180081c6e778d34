"""The zip file that `torch.save` writes: one pickle, and one file of values for each storage."""

from __future__ import annotations

import math
import os
import struct
import zipfile
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..files import open_regular
from .unpickle import MAX_BYTES, read_pickle
from .values import Tensor

MAX_ENTRIES = 20_000
PICKLE = "data.pkl"

_ZIP = b"PK\x03\x04"
# `torch.save` before version 1.6: a pickle of the number 0x1950a86a20f9469cfc6c; before 0.1.10: a tar file.
_OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# torch's names of storages → numpy's of their values; bfloat16 is the upper half of a float32.
_TYPES = {
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",
    "DoubleStorage": "f8",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "u1",
}
_ZIP_ERRORS = (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError, struct.error)


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a file starts like one that `torch.save` wrote, in any of its formats."""
    try:
        with open_regular(path) as file:
            start = file.read(300)
    except OSError:
        return False
    return start.startswith((_ZIP, _OLD)) or start[257:262] == b"ustar"


class Archive:
    """A checkpoint file, open; storages are read when they are asked for.

    Use it in a `with` statement.

    Raises:
        ModelError: not such a file, or one of an older format, damaged, or compressed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.origin = str(path)
        self._check_start(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except _ZIP_ERRORS as error:
            raise self._damaged(error) from None
        try:
            self._folder = self._find_pickle()
            self._order = self._byte_order()
        except ModelError:
            self._zip.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def read(self) -> object:
        """What the pickle describes; see `read_pickle`."""
        return read_pickle(self._entry(PICKLE, MAX_BYTES), self.origin)

    def array(self, tensor: Tensor) -> NDArray[np.generic]:
        """A tensor's values, C-contiguous; bfloat16 as float32.

        Raises:
            ModelError: an unknown type, a storage that is missing or of another size, a view that is empty or
                beyond its storage.
        """
        storage = tensor.storage
        if storage.kind not in _TYPES:
            raise ModelError(f"{self.origin}: a tensor of {storage.kind[:40]!r}, expected one of {', '.join(_TYPES)}")
        dtype = np.dtype(f"{self._order}{_TYPES[storage.kind]}")
        last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
        total = math.prod(tensor.shape)
        if not 0 < total <= storage.count or tensor.offset + last >= storage.count:
            raise ModelError(
                f"{self.origin}: tensor {str(list(tensor.shape))[:60]} is no part of its storage {storage.key[:40]!r}"
            )
        data = self._entry(f"data/{storage.key}", storage.count * dtype.itemsize)
        if len(data) != storage.count * dtype.itemsize:
            raise ModelError(
                f"{self.origin}: storage {storage.key[:40]!r} has {len(data):,} bytes, "
                f"expected {storage.count:,} values of {dtype.itemsize}"
            )
        values = np.frombuffer(data, dtype)[tensor.offset :]
        strides = [stride * dtype.itemsize for stride in tensor.strides]
        view = np.lib.stride_tricks.as_strided(values, tensor.shape, strides, writeable=False)
        array = np.ascontiguousarray(view).reshape(tensor.shape).astype(dtype.newbyteorder("="))
        return (array.astype(np.uint32) << 16).view(np.float32) if storage.kind == "BFloat16Storage" else array

    def _check_start(self, path: str | os.PathLike[str]) -> None:
        try:
            with open_regular(path) as file:
                start = file.read(300)
        except OSError as error:
            raise ModelError(f"{self.origin}: can't be read ({error.strerror})") from None
        if start.startswith(_OLD) or start[257:262] == b"ustar":
            raise ModelError(
                f"{self.origin}: written by PyTorch before 1.6; expected its zip format: load it there with "
                "weights_only=True and save it again"
            )
        if not start.startswith(_ZIP):
            raise ModelError(f"{self.origin}: not a PyTorch checkpoint, expected the zip file that torch.save writes")

    def _find_pickle(self) -> str:
        names = self._zip.namelist()
        if len(names) > MAX_ENTRIES or len(set(names)) != len(names):
            raise ModelError(f"{self.origin}: {len(names):,} entries, expected up to {MAX_ENTRIES:,}, each once")
        found = [name for name in names if name == PICKLE or (name.endswith(f"/{PICKLE}") and name.count("/") == 1)]
        if len(found) != 1:
            raise ModelError(f"{self.origin}: a zip file, but not a PyTorch checkpoint: {len(found)} of {PICKLE} in it")
        folder = found[0].removesuffix(PICKLE)
        if f"{folder}constants.pkl" in names:
            raise ModelError(f"{self.origin}: a TorchScript program, expected a checkpoint (torch.save, not torch.jit)")
        return folder

    def _byte_order(self) -> str:
        if f"{self._folder}byteorder" not in self._zip.namelist():
            return "<"
        order = self._entry("byteorder", 16)
        if order not in (b"little", b"big"):
            raise ModelError(f"{self.origin}: byte order {order[:16]!r}, expected little or big")
        return "<" if order == b"little" else ">"

    def _entry(self, name: str, limit: int) -> bytes:
        """An entry's bytes; only stored ones, which can't be larger than the file."""
        try:
            info = self._zip.getinfo(f"{self._folder}{name}")
        except KeyError:
            raise ModelError(f"{self.origin}: damaged: its entry {name[:40]!r} is missing") from None
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise ModelError(f"{self.origin}: entry {name[:40]!r} is compressed; torch.save stores entries as they are")
        if info.file_size > limit:
            raise ModelError(
                f"{self.origin}: entry {name[:40]!r} has {info.file_size:,} bytes, expected up to {limit:,}"
            )
        try:
            return self._zip.read(info)
        except _ZIP_ERRORS as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> ModelError:
        return ModelError(f"{self.origin}: not a whole checkpoint ({' '.join(str(error).split())[:100]})")
