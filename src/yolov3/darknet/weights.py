"""Darknet weight bytes → named arrays. Format: `parser.c: load_weights_upto` in pjreddie's Darknet."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..files import open_regular
from ..spec.primitives import Convolution

MAX_VERSION = 10_000


@dataclass(frozen=True, slots=True)
class Header:
    """The start of a weight file: version numbers and how many pictures training has seen."""

    major: int
    minor: int
    revision: int
    seen: int

    @property
    def size(self) -> int:
        """Bytes: `seen` takes 8 from version 0.2 on, 4 before and (as pjreddie reads it) from version 1000 on."""
        wide = self.major * 10 + self.minor >= 2 and self.major < 1000 and self.minor < 1000
        return 20 if wide else 16

    def to_bytes(self) -> bytes:
        """The header as it stands in a file."""
        return struct.pack("<3iQ" if self.size == 20 else "<3iI", self.major, self.minor, self.revision, self.seen)


@dataclass(frozen=True, slots=True)
class Stored:
    """One convolution as the weight file holds it.

    Attributes:
        convolution: the operation it belongs to.
        layer: how messages name it.
        permutation: input channels of ours → of the file, where Darknet joins them in another order.
    """

    convolution: Convolution
    layer: str
    permutation: list[int] | None = None


def read_header(data: bytes, origin: str) -> Header:
    """Parse the first bytes of a weight file.

    Raises:
        ModelError: too short, or no Darknet header.
    """
    if len(data) < 16:
        raise ModelError(
            f"{origin}: {len(data)} bytes, expected Darknet weights (a header of 16 or 20 bytes and floats)"
        )
    major, minor, revision = struct.unpack_from("<3i", data)
    if not all(0 <= part < MAX_VERSION for part in (major, minor, revision)):
        raise ModelError(f"{origin}: not Darknet weights: version {major}.{minor}.{revision} in the header")
    header = Header(major, minor, revision, 0)
    if len(data) < header.size:
        raise ModelError(f"{origin}: {len(data)} bytes, expected a header of {header.size} and floats")
    seen = struct.unpack_from("<Q" if header.size == 20 else "<I", data, 12)[0]
    return Header(major, minor, revision, seen)


def read_weights(
    path: str | os.PathLike[str], order: list[Stored], *, allow_extra: bool = False
) -> tuple[Header, dict[str, NDArray[np.float32]], list[str]]:
    """Read a weight file into the model file's tensors.

    Args:
        path: the file.
        order: every convolution in the file's order.
        allow_extra: accept floats behind the last layer.

    Returns:
        The header, tensor name → float32 array, and notes for the user.

    Raises:
        ModelError: not Darknet weights; fewer or more floats than the network needs (with their number and the
            layer); a value that is not finite; a negative variance.
    """
    try:
        size = Path(path).stat().st_size
        with open_regular(path) as file:
            header = read_header(file.read(20), str(path))
            notes = _check_length(str(path), size - header.size, order, allow_extra)
            file.seek(header.size)
            needed = sum(stored.convolution.stored_values for stored in order)
            values = np.fromfile(file, "<f4", needed)
    except OSError as error:
        raise ModelError(f"{path}: can't be read ({error.strerror})") from None
    tensors: dict[str, NDArray[np.float32]] = {}
    start = 0
    for stored in order:
        end = start + stored.convolution.stored_values
        _check_finite(str(path), stored, values[start:end])
        notes += _split(str(path), stored, values[start:end], tensors)
        start = end
    return header, tensors, notes


def _check_length(origin: str, given: int, order: list[Stored], allow_extra: bool) -> list[str]:
    needed = sum(stored.convolution.stored_values for stored in order)
    floats, rest = divmod(given, 4)
    if floats < needed:
        missing, total = order[0], 0
        for missing in order:
            total += missing.convolution.stored_values
            if total > floats:
                break
        raise ModelError(
            f"{origin}: has {_count(floats, 'float')}, the cfg needs {needed:,} ({needed - floats:,} missing, "
            f"first in {missing.layer}); expected the weights that belong to this cfg, whole"
        )
    if floats == needed and not rest:
        return []
    over = " and ".join(_count(many, what) for many, what in ((floats - needed, "float"), (rest, "byte")) if many)
    message = f"{origin}: has {over} more than the cfg needs ({needed:,}), left over after {order[-1].layer}"
    if not allow_extra:
        raise ModelError(f"{message}; expected the weights that belong to this cfg (--allow-extra ignores the rest)")
    return [message]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _check_finite(origin: str, stored: Stored, values: NDArray[np.float32]) -> None:
    if not np.isfinite(values).all():
        index = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ModelError(f"{origin}: {stored.layer}: value {index} is {values[index]}, expected finite numbers")


def _split(
    origin: str, stored: Stored, values: NDArray[np.float32], tensors: dict[str, NDArray[np.float32]]
) -> list[str]:
    """Cut one convolution's values: bias, scale, mean, variance, weights; or bias, weights."""
    convolution = stored.convolution
    out = convolution.channels
    notes: list[str] = []
    if convolution.batch_norm:
        bias, scale, mean, variance = values[: 4 * out].reshape(4, out)
        if (variance < 0).any():
            index = int(np.flatnonzero(variance < 0)[0])
            raise ModelError(
                f"{origin}: {stored.layer}: the variance of filter {index} is {variance[index]}, expected 0 or more"
            )
        dead = int((variance == 0).sum())
        if dead:
            notes.append(f"{origin}: {stored.layer}: {_count(dead, 'filter')} with variance 0 (dead)")
        parts = {"weight": scale, "bias": bias, "running_mean": mean, "running_var": variance}
        tensors |= {f"{convolution.name}.bn.{part}": array for part, array in parts.items()}
    else:
        tensors[convolution.bias_name] = values[:out]
    weight = values[-convolution.weight_count :].reshape(convolution.weight_shape)
    tensors[convolution.weight_name] = weight if stored.permutation is None else weight[:, stored.permutation]
    return notes
