"""`Frame`, what every source gives, and `Source`, what every kind of source is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..geometry import UInt8Array
from ..images import Decoded, Enough


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
        factor, size_wh: as of `images.Decoded`; `size_wh` is None where `image` holds all pixels.
    """

    name: str
    image: UInt8Array | None
    error: str | None = None
    path: Path | None = None
    index: int | None = None
    time: float | None = None
    rate: float | None = None
    note: str | None = None
    factor: int = 1
    size_wh: tuple[int, int] | None = None

    @property
    def decoded(self) -> Decoded | None:
        """The pixels and how much of the picture they are; None where there are none."""
        if self.image is None:
            return None
        return Decoded(self.image, self.size_wh or (self.image.shape[1], self.image.shape[0]), self.factor)


class Unread(Protocol):
    """A frame that is still to be read, wherever and whenever that suits; any thread may do it."""

    def read(self, enough: Enough | None = None) -> Frame:
        """Read it.

        Args:
            enough: how large a picture must at least be, see `images.decode_enough`; None for all its pixels.
        """
        ...


class Source(Protocol):
    """One argument of the command line, opened."""

    def count(self) -> int | None:
        """How many frames to expect, where that is known before reading them."""
        ...

    def frames(self) -> Iterator[Frame | Unread]:
        """Give them one after the other, files of pictures unread. Closing the iterator releases what is open."""
        ...
