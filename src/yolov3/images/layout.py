"""What the readers of picture headers share: their result, their error, reading so many bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

MAX_PARTS = 1_000_000
"""So many segments, chunks or blocks of a file are walked through (half a second's work), no more."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a picture file says about itself.

    Attributes:
        format: "JPEG", "PNG", "WebP", "BMP", "TIFF" or "GIF".
        size_wh: (width, height) in pixels as displayed, that is after the EXIF orientation.
        frames: 1 for a still picture; more for an animation or several pages, of which the first is read.
        orientation: EXIF's, 1 to 8; 1 where the file gives none or an impossible one.
    """

    format: str
    size_wh: tuple[int, int]
    frames: int
    orientation: int


@dataclass(frozen=True, slots=True)
class Layout:
    """An `ImageHeader` with what the decoder must know besides.

    Attributes:
        header: the public part.
        stored_wh: (width, height) in the file, before the EXIF orientation.
        decoder: "colour" (OpenCV, straight to 8-bit BGR), "samples" (OpenCV, samples as stored) or "pillow".
    """

    header: ImageHeader
    stored_wh: tuple[int, int]
    decoder: str


class RefusedError(Exception):
    """Why a file isn't a readable picture; the caller adds the file's name."""


def make_layout(
    kind: str, stored_wh: tuple[int, int], decoder: str, *, frames: int = 1, orientation: int = 1
) -> Layout:
    size_wh = stored_wh if orientation < 5 else (stored_wh[1], stored_wh[0])
    return Layout(ImageHeader(kind, size_wh, frames, orientation), stored_wh, decoder)


def take(file: BinaryIO, count: int) -> bytes:
    """Read exactly `count` bytes."""
    data = file.read(count)
    if len(data) != count:
        raise RefusedError("the file ends within its header: it is truncated")
    return data
