"""The one way to turn a picture file into RGB pixels, and the one way back. Rules: docs/pictures.md."""

from __future__ import annotations

import io
import os
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from yolov3.errors import DataError, UsageError
from yolov3.files import write_atomic
from yolov3.geometry import UInt8Array

from .header import Layout, display_name, open_regular, parse_layout

if TYPE_CHECKING:
    from PIL import Image

MAX_FILE_BYTES = 1 << 30
"""Longer picture files are refused before they are read."""

MAX_SCANS = 100
"""JPEGs of more scans are refused: a usual one has at most a dozen, and each goes over every pixel again."""

BACKGROUND = 255
"""The grey level (white) that shows where a picture is transparent."""

JPEG_QUALITY = 95


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
        raise DataError(f"{name}: over {MAX_FILE_BYTES >> 20} MB, that is no picture to detect on")
    return data


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
    layout = parse_layout(io.BytesIO(data), name)
    try:
        image = _decode(data, layout)
    except _UndefinedError as error:
        raise DataError(f"{name}: {error}") from error
    except _DAMAGE as error:
        raise DataError(f"{name}: the {layout.header.format} is truncated or damaged ({error})") from error
    if image.shape != (layout.stored_wh[1], layout.stored_wh[0], 3):
        raise DataError(f"{name}: the pixels are {image.shape}, not the {layout.stored_wh} of the header")
    return _turn(image, layout.header.orientation)


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


class _UndefinedError(Exception):
    """A picture whose samples have no defined RGB."""


class _DamagedError(Exception):
    """A picture whose bytes can't be decoded whole."""


_DAMAGE = (_DamagedError, cv2.error, OSError, ValueError, SyntaxError, EOFError, struct.error)
# What OpenCV and Pillow raise on damaged files.


def _decode(data: bytes, layout: Layout) -> UInt8Array:
    """RGB uint8 (H, W, 3) as stored, not yet turned."""
    kind = layout.header.format
    if kind == "JPEG":
        _check_jpeg(data)
    elif kind == "PNG":
        data = _bare_png(data)
    elif kind == "WebP":
        _check_webp(data)
    if layout.decoder == "pillow":
        return _decode_with_pillow(data, kind)
    flags = cv2.IMREAD_UNCHANGED
    if layout.decoder == "colour":
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise _DamagedError("the decoder gave no picture")
    if layout.decoder == "colour":
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
    return _samples_to_rgb(image)


# ---------------------------------------------------------------------------------- is the file whole?

_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")  # every marker with a segment, and SOI, EOI, SOS
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA


def _check_jpeg(data: bytes) -> None:
    """Follow the markers to the end of the picture; decoders quietly fill what is missing with grey."""
    position, scans = 2, 0
    while match := _MARKER.search(data, position):
        code, position = data[match.start() + 1], match.end()
        if code == _EOI:
            break
        if code == _SOI:
            continue
        position += int.from_bytes(data[position : position + 2], "big")
        scans += code == _SOS
        if scans > MAX_SCANS:
            raise _DamagedError(f"over {MAX_SCANS} scans, a usual JPEG has a dozen")
    else:
        raise _DamagedError("it has no end marker")
    if not scans:
        raise _DamagedError("it has no scan")


_PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def _bare_png(data: bytes) -> bytes:
    """The PNG with only the chunks that make its pixels; their checksums are verified.

    Decoders treat the others (colour profiles, animation, text of any length) in different ways.
    """
    view, position = memoryview(data), 8
    kept = [view[:8]]
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise _DamagedError("it ends within a chunk")
        if kind in _PNG_KEPT:
            if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
                raise _DamagedError(f"the checksum of a chunk {kind.decode()} is wrong")
            kept.append(view[position:end])
        position = end
    return b"".join(kept)


def _check_webp(data: bytes) -> None:
    if int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise _DamagedError("it is shorter than it says")


# -------------------------------------------------------------------------------------- any kind → RGB


def _samples_to_rgb(image: NDArray[Any]) -> UInt8Array:
    """OpenCV's stored samples, (H, W) grey or (H, W, 3 or 4) BGR(A), uint8, uint16 or float, to RGB uint8."""
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=1 / 257)
    elif image.dtype.kind == "f":
        image = cv2.convertScaleAbs(np.clip(np.nan_to_num(image, nan=0.0), 0, 1), alpha=255)
    if image.ndim == 2:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)
    if image.shape[2] == 4:
        return _over_background(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA), np.uint8))
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _over_background(rgba: UInt8Array) -> UInt8Array:
    """RGBA (H, W, 4), alpha not premultiplied, laid over the background: RGB (H, W, 3)."""
    shortfall = (BACKGROUND - rgba[..., :3]).astype(np.uint16)
    shortfall *= rgba[..., 3:]
    return BACKGROUND - ((shortfall + 127) // 255).astype(np.uint8)


_PILLOW_LOCK = threading.Lock()


def _decode_with_pillow(data: bytes, kind: str) -> UInt8Array:
    """The rarer kinds, through Pillow's own reader of that one format."""
    with _PILLOW_LOCK, warnings.catch_warnings():  # catch_warnings changes state that all threads share
        warnings.simplefilter("ignore")
        picture = _open_with_pillow(io.BytesIO(data), kind)
        picture.load()
        return _pillow_to_rgb(picture)


def _open_with_pillow(file: io.BytesIO, kind: str) -> Image.Image:
    """Not by `Image.open`, which tries every format and has a size limit of its own in a global variable."""
    from PIL import (
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    readers: dict[str, Callable[[io.BytesIO], Image.Image]] = {
        "JPEG": JpegImagePlugin.JpegImageFile,
        "PNG": PngImagePlugin.PngImageFile,
        "WebP": WebPImagePlugin.WebPImageFile,
        "BMP": BmpImagePlugin.BmpImageFile,
        "TIFF": TiffImagePlugin.TiffImageFile,
        "GIF": GifImagePlugin.GifImageFile,
    }
    return readers[kind](file)


def _pillow_to_rgb(picture: Image.Image) -> UInt8Array:
    """Any of Pillow's modes to RGB uint8 (H, W, 3)."""
    if picture.mode.startswith("I;16"):
        return _samples_to_rgb(np.asarray(picture).astype(np.uint16))
    if picture.mode == "F":
        return _samples_to_rgb(np.asarray(picture))
    if picture.mode in ("I", "LAB", "HSV"):
        raise _UndefinedError(f"samples of kind {picture.mode} have no defined colours: save it as RGB or greyscale")
    if picture.mode in ("LA", "PA", "La", "RGBa", "RGBA") or "transparency" in picture.info:
        return _over_background(np.asarray(picture.convert("RGBA")))
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


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
