"""What a picture file says about itself, read from its first bytes: kind, size, frames, orientation.

The kind is told by the content, never by the file's name. Nothing is decoded here, so a picture that would
take gigabytes is refused in well under a millisecond.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from typing import BinaryIO

from .. import files
from ..errors import DataError, printable
from .formats import parse_bmp, parse_gif, parse_jpeg, parse_png, parse_webp
from .layout import ImageHeader, Layout, RefusedError
from .tiff import parse_tiff

MAX_PIXELS = 200_000_000
"""Pictures with more pixels are refused: decoded, they would take over 600 MB."""

MAX_SIDE = 65_535
"""Pictures with a longer side are refused (the longest that a JPEG can have)."""

PICTURE_SUFFIXES = frozenset(
    (
        *(".apng", ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"),
        *(".avif", ".heic", ".heif"),  # can't be read, but must not be passed over in silence
    )
)
"""What a folder's pictures are told by, in small or capital letters; what a file is, its content tells."""

EXPECTED = "JPEG, PNG, WebP, BMP, TIFF, GIF expected"


def display_name(path: str | os.PathLike[str]) -> str:
    """A path as one line of valid Unicode: bytes that aren't UTF-8 appear as `\\xe9`, a newline as `\\n`."""
    return printable(os.fsencode(path).decode("utf-8", "backslashreplace"))


def read_header(source: bytes | str | os.PathLike[str], name: str | None = None) -> ImageHeader:
    """Read what a picture says about itself, without decoding it.

    Args:
        source: a picture's bytes, or the path of a file, of which only the needed bytes are read.
        name: what to call it in errors; by default the path.

    Raises:
        DataError: it is no JPEG, PNG, WebP, BMP, TIFF or GIF, its header is damaged, or it has more pixels
            than `MAX_PIXELS` or a side longer than `MAX_SIDE`.
    """
    if isinstance(source, bytes):
        return parse_layout(io.BytesIO(source), name or "image").header
    name = name or display_name(source)
    with open_regular(source, name) as file:
        return parse_layout(file, name).header


def open_regular(path: str | os.PathLike[str], name: str) -> BinaryIO:
    """Open a regular file for reading; a pipe or device, which could block for ever, is refused.

    Raises:
        DataError: it is missing, unreadable or no regular file.
    """
    try:
        return files.open_regular(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise DataError(f"{name}: can't be read ({reason or error})") from error


def parse_layout(file: BinaryIO, name: str) -> Layout:
    """Read the header of an open, seekable picture file. Raises DataError as `read_header` does."""
    try:
        layout = _parser_for(file.read(64))(file)
        _check_size(layout.stored_wh)
    except (RefusedError, OSError, struct.error) as error:
        raise DataError(f"{name}: {error}") from error
    return layout


def _parser_for(start: bytes) -> Callable[[BinaryIO], Layout]:
    """The parser for a file that begins with `start`."""
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return parse_webp
    for magic, parser in _PARSERS:
        if start.startswith(magic):
            return parser
    raise RefusedError(f"not a picture that can be read ({EXPECTED}): {_describe(start)}")


def _describe(start: bytes) -> str:
    """Name what a file with this beginning is, in words that help its owner."""
    if not start:
        return "it is empty"
    if start[4:8] == b"ftyp":
        brand = start[8:12]
        return f"it is {_BRANDS[brand]}" if brand in _BRANDS else "it is a video or another MP4-like file"
    for magic, words in _OTHER_KINDS:
        if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(magic):
            return f"it is {words}"
    return f"it begins with the bytes {start[:8].hex(' ')}"


def _check_size(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    if width < 1 or height < 1:
        raise RefusedError(f"the picture has no pixels ({width}×{height})")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise RefusedError(
            f"{width}×{height} pixels; at most {MAX_PIXELS // 1_000_000} million, and {MAX_SIDE} a side, "
            "are read: scale the picture down or cut it"
        )


_PARSERS: tuple[tuple[bytes, Callable[[BinaryIO], Layout]], ...] = (
    (b"\xff\xd8\xff", parse_jpeg),
    (b"\x89PNG\r\n\x1a\n", parse_png),
    (b"GIF87a", parse_gif),
    (b"GIF89a", parse_gif),
    (b"BM", parse_bmp),
    (b"II*\0", parse_tiff),
    (b"MM\0*", parse_tiff),
    (b"II+\0", parse_tiff),
    (b"MM\0+", parse_tiff),
)

_BRANDS = {
    b"avif": "an AVIF picture: convert it to JPEG or PNG",
    b"avis": "an AVIF sequence: convert it to JPEG or PNG",
    b"heic": "a HEIC picture: convert it to JPEG or PNG",
    b"heix": "a HEIC picture: convert it to JPEG or PNG",
    b"hevc": "a HEIC sequence: convert it to JPEG or PNG",
    b"mif1": "a HEIF picture: convert it to JPEG or PNG",
    b"msf1": "a HEIF sequence: convert it to JPEG or PNG",
}

_OTHER_KINDS = (
    (b"%PDF", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an SVG drawing or other XML"),
    (b"<!DOCTYPE", "a web page"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"<HTML", "a web page"),
    (b"8BPS", "a Photoshop document"),
    (b"\0\0\0\x0cjP", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\0\0\x01\0", "an icon"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL", "a JPEG XL picture"),
    (b"version https://git-lfs", "a pointer of Git LFS: fetch the real file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"#EXTM3U", "a playlist: name the files in it"),
    (b"ffconcat", "a list of videos: name the files in it"),
)
