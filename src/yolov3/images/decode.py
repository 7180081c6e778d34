"""The one way to turn a picture file into RGB pixels, and the one way back. Rules: docs/pictures.md."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from ..errors import DataError, UsageError
from ..files import write_atomic
from ..geometry import UInt8Array
from .colour import UndefinedError, decode_with_pillow, samples_to_rgb
from .header import display_name, open_regular, parse_layout
from .layout import Layout
from .tiff import stored_upright
from .whole import DamagedError, bare_png, check_jpeg, check_webp

MAX_FILE_BYTES = 1 << 30
"""Longer picture files are refused before they are read."""

JPEG_QUALITY = 95

Enough = Callable[[tuple[int, int]], tuple[int, int]]
"""From a picture's size, (width, height), to the size that is enough of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A picture's pixels, all of them or fewer.

    Attributes:
        pixels: RGB uint8 (H, W, 3), C-contiguous.
        size_wh: the picture's own size, (width, height).
        factor: 1 for all pixels; else each is the mean of about factor × factor of the picture's, and the last column
            and row may reach beyond its edge.
        frames: how many pictures the file holds.
    """

    pixels: UInt8Array
    size_wh: tuple[int, int]
    factor: int = 1
    frames: int = 1

    @property
    def covered_wh(self) -> tuple[int, int]:
        """What the pixels show, (width, height) in the picture's own pixels."""
        if self.factor == 1:
            return self.size_wh
        return self.pixels.shape[1] * self.factor, self.pixels.shape[0] * self.factor


def read_image(path: str | os.PathLike[str]) -> UInt8Array:
    """Read a picture file: RGB uint8 (H, W, 3), C-contiguous, turned as its EXIF orientation asks.

    Raises:
        DataError: it is missing, no regular file, no picture that can be read, truncated or too large.
    """
    name = display_name(path)
    return decode_image(read_picture_bytes(path, name), name)


def read_picture_bytes(path: str | os.PathLike[str], name: str) -> bytes:
    """Read a picture file, still encoded; what is no picture is refused by its first bytes.

    Raises:
        DataError: as `read_image`, except for what only decoding shows.
    """
    with open_regular(path, name) as file:
        parse_layout(file, name)
        if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
            raise _too_long(name)
        file.seek(0)
        return take_picture_bytes(file, name)


def take_picture_bytes(file: BinaryIO, name: str) -> bytes:
    """Read an open file to its end.

    Raises:
        DataError: it is longer than any picture should be, or reading fails.
    """
    try:
        data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DataError(f"{name}: can't be read ({error.strerror or error})") from error
    if len(data) > MAX_FILE_BYTES:
        raise _too_long(name)
    return data


def _too_long(name: str) -> DataError:
    return DataError(f"{name}: over {MAX_FILE_BYTES >> 20} MB, that is no picture to detect on")


def decode_image(data: bytes, name: str = "image") -> UInt8Array:
    """Decode a picture: RGB uint8 (H, W, 3), C-contiguous, turned as its EXIF orientation asks.

    Greyscale, palette, CMYK, 16-bit, float and transparent pictures become RGB by the rules of docs/pictures.md.
    Of an animation or several pages the first is taken (`read_header` tells how many there are).

    Args:
        data: the file's bytes.
        name: what to call it in errors.

    Raises:
        DataError: it is no picture that can be read, truncated or too large.
    """
    return decode_enough(data, name, None).pixels


def decode_enough(data: bytes, name: str, enough: Enough | None) -> Decoded:
    """Decode a picture, or of a JPEG only as many pixels as are enough: half, a quarter or an eighth of each side.

    JPEG's transform gives those directly, without the work for the others, and averages where resizing would skip.

    Args:
        data: the file's bytes.
        name: what to call it in errors.
        enough: asked for the size that the pixels must have at least, as displayed; None for all.

    Raises:
        DataError: as `decode_image`.
    """
    layout = parse_layout(io.BytesIO(data), name)
    factor = 1 if enough is None else _factor(layout, enough(layout.header.size_wh))
    try:
        image = _decode(data, layout, factor)
    except UndefinedError as error:
        raise DataError(f"{name}: {error}") from error
    except (DamagedError, cv2.error, struct.error) as error:
        raise DataError(f"{name}: the {layout.header.format} is truncated or damaged ({error})") from error
    width, height = (-(-side // factor) for side in layout.stored_wh)
    if image.shape != (height, width, 3):
        raise DataError(f"{name}: the pixels are {image.shape}, not the {layout.stored_wh} of the header")
    header = layout.header
    return Decoded(_turn(image, header.orientation), header.size_wh, factor, header.frames)


_REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def _factor(layout: Layout, least_wh: tuple[int, int]) -> int:
    """By how much a picture may be decoded smaller and still be at least so large."""
    if layout.header.format != "JPEG" or layout.decoder != "colour":
        return 1
    (width, height), orientation = layout.header.size_wh, layout.header.orientation
    for factor in (8, 4, 2):
        # Where the last column or row reaches beyond the edge, a turned picture would begin with it.
        whole = width % factor == 0 and height % factor == 0
        if width >= least_wh[0] * factor and height >= least_wh[1] * factor and (whole or orientation == 1):
            return factor
    return 1


def write_image(path: str | os.PathLike[str], image: UInt8Array) -> None:
    """Write RGB uint8 (H, W, 3) pixels as JPEG (quality 95) or PNG, told by the suffix, whole or not at all.

    The file holds pixels only: no EXIF, no place, no thumbnail.

    Raises:
        UsageError: the suffix is none of .jpg, .jpeg and .png.
        Yolov3Error: the file can't be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".jpg", ".jpeg", ".png"):
        raise UsageError(f"{display_name(path)}: pictures are written as .jpg, .jpeg or .png")
    options = [] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    write_atomic(path, encoded.tobytes())


def _decode(data: bytes, layout: Layout, factor: int) -> UInt8Array:
    """RGB uint8 (H, W, 3) as stored, not yet turned; sides are divided by the factor and rounded up."""
    kind = layout.header.format
    if kind == "JPEG":
        check_jpeg(data)
    elif kind == "PNG":
        data = bare_png(data)
    elif kind == "WebP":
        check_webp(data)
    elif kind == "TIFF" and layout.header.orientation != 1:
        data = stored_upright(data)
    if layout.decoder == "pillow":
        return decode_with_pillow(data, kind)
    flags = cv2.IMREAD_UNCHANGED
    if layout.decoder == "colour":
        flags = _REDUCED.get(factor, cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise DamagedError("the decoder gave no picture")
    if layout.decoder == "colour":
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
    return samples_to_rgb(image)


# ----------------------------------------------------------------------------------------- orientation

_TURNS = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}


def _turn(image: UInt8Array, orientation: int) -> UInt8Array:
    """The stored pixels as displayed (EXIF 2.32, tag 274); C-contiguous."""
    if orientation in _TURNS:
        image = np.asarray(cv2.rotate(image, _TURNS[orientation]), np.uint8)
    elif orientation in (2, 4):
        image = np.asarray(cv2.flip(image, 1 if orientation == 2 else 0), np.uint8)
    elif orientation in (5, 7):
        image = np.asarray(cv2.transpose(image), np.uint8)
        image = image if orientation == 5 else np.asarray(cv2.rotate(image, cv2.ROTATE_180), np.uint8)
    return np.ascontiguousarray(image)
