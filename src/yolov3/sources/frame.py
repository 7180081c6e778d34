"""`Frame`, what every source gives, and `Source`, what every kind of source is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..geometry import UInt8Array


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture on its way in, or the reason why there is none. Exactly one of `image` and `error` is set.

    Attributes:
        name: the picture as shown to the user and written to results: its path, `-`, `camera 0`.
        image: RGB uint8 (H, W, 3), C-contiguous.
        error: one line that begins with the name.
        path: the file it comes from, if any.
        index: in a video or of a camera, the frame's number from 0, counting the frames left out by `every`.
        time: in a video or of a camera, seconds from its beginning; None where the stream doesn't say.
        rate: of a video, the frames a second that are given (its own rate divided by `every`), where it says one.
        note: something that the user should know, such as "the first of 12 frames".
    """

    name: str
    image: UInt8Array | None
    error: str | None = None
    path: Path | None = None
    index: int | None = None
    time: float | None = None
    rate: float | None = None
    note: str | None = None


class Source(Protocol):
    """One argument of the command line, opened."""

    def count(self) -> int | None:
        """How many frames to expect, where that is known before reading them."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Read them one after the other. Closing the iterator releases what is open."""
        ...
