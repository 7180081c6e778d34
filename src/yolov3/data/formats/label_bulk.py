"""Reading many label files at once: plain ones are parsed and judged together, the others one by one.

A file that differs in any way from the plainest form, or holds a row that might be wrong, goes to `label_text`, which
says what is wrong and where. So this file decides nothing; it only recognises what is certainly sound.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..rows import NO_OBJECTS, PARTS, Objects

CHUNK_FILES = 4096
MAX_PLAIN_BYTES = 1 << 20

_PLAIN = re.compile(rb"(?:[0-9]{1,9}(?:[ \t]+[01]?\.?[0-9]{1,20}(?:e-[0-9]{1,2})?){4}[ \t]*(?:\r?\n(?=[0-9]|\Z)|\Z))*")
"""Rows without signs or empty lines between them; empty text too."""

_WEIGHTS = (1.0, np.pi, np.e, 2**0.5, 3**0.5)
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def read_plain(files: Sequence[str], class_count: int) -> Iterator[Objects | bytes | None]:
    """The boxes of each label file, in order; its bytes where they need a closer look, None where it can't be read.

    Args:
        files: the label files' paths.
        class_count: how many classes the dataset has.
    """
    for start in range(0, len(files), CHUNK_FILES):
        chunk = _Chunk([_read(file) for file in files[start : start + CHUNK_FILES]])
        yield from chunk.objects(class_count)


def _read(file: str) -> bytes | None:
    """A label file's bytes if it is regular and not large. Opening never waits, not even for a pipe."""
    try:
        descriptor = os.open(file, _FLAGS)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_PLAIN_BYTES:
            return None
        data = os.read(descriptor, MAX_PLAIN_BYTES + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return data if len(data) == status.st_size else None


def _count_rows(data: bytes | None) -> int:
    """How many rows a file holds; −1 where it isn't plain."""
    if data is None or not _PLAIN.fullmatch(data):
        return -1
    return data.count(b"\n") + (bool(data) and not data.endswith(b"\n"))


class _Chunk:
    """Some label files, parsed together."""

    def __init__(self, texts: list[bytes | None]) -> None:
        self.texts = texts
        self.counts = [_count_rows(text) for text in texts]

    def objects(self, class_count: int) -> Iterator[Objects | bytes | None]:
        """The boxes of each file; its bytes where it isn't plain or a row isn't certainly sound."""
        counts = np.maximum(self.counts, 0)
        plain = [text for text, count in zip(self.texts, self.counts, strict=True) if text and count > 0]
        rows = np.fromstring(b"\n".join(plain), sep=" ").reshape(-1, 5)
        owners = np.repeat(np.arange(len(counts)), counts)
        boxes, sound = _judge(rows, class_count)
        doubtful = set(owners[~sound].tolist()) | _with_repeats(rows, owners)
        labels = rows[:, 0].astype(np.int64)
        most = int(counts.max(initial=0))
        no_flags = np.zeros(most, np.bool_)
        lines = np.arange(1, most + 1).astype(object)
        stop = 0
        for index, count in enumerate(self.counts):
            start, stop = stop, stop + max(count, 0)
            if count < 0 or index in doubtful:
                yield self.texts[index]
            elif count == 0:
                yield NO_OBJECTS
            else:
                flags = no_flags[:count]
                yield Objects(boxes[start:stop], labels[start:stop], flags, flags, lines[:count])


def _judge(rows: NDArray[np.float64], class_count: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """xyxy boxes (N, 4) cut to the picture, and whether each row is sound (N,)."""
    centre, size = rows[:, 1:3], rows[:, 3:5]
    corners = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    low, high = corners[:, :2], corners[:, 2:]
    inside = (low >= -PARTS.tolerance) & (high <= 1 + PARTS.tolerance) & (high > 0) & (low < 1)
    sound = (inside & (size > 0)).all(axis=1) & (rows[:, 0] < class_count)
    return np.clip(corners, 0.0, 1.0), sound


def _with_repeats(rows: NDArray[np.float64], owners: NDArray[np.int64]) -> set[int]:
    """The files in which two rows may be equal: their weighted sums are."""
    sums = sum((rows[:, column] * weight for column, weight in enumerate(_WEIGHTS)), np.zeros(len(rows)))
    order = np.lexsort((sums, owners))
    same = (np.diff(sums[order]) == 0) & (np.diff(owners[order]) == 0)
    return set(owners[order][1:][same].tolist())
