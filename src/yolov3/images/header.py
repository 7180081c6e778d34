"""What a picture file says about itself, read from its first bytes: kind, size, frames, orientation.

The kind is told by the content, never by the file's name. Nothing is decoded here, so a picture that would
take gigabytes is refused in well under a millisecond. Sources: ITU-T T.81 annex B (JPEG), the PNG specification
(third edition), RFC 9649 (WebP), GIF89a, Adobe's TIFF 6.0, CIPA DC-008 (EXIF).
"""

from __future__ import annotations

import io
import os
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from yolov3.errors import DataError

MAX_PIXELS = 200_000_000
"""Pictures with more pixels are refused: decoded, they would take over 600 MB."""

MAX_SIDE = 65_535
"""Pictures with a longer side are refused (the longest that a JPEG can have)."""

EXPECTED = "JPEG, PNG, WebP, BMP, TIFF, GIF expected"


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


class _RefusedError(Exception):
    """Why a file isn't a readable picture; the caller adds the file's name."""


def display_name(path: str | os.PathLike[str]) -> str:
    """A path as one line of valid Unicode: bytes that aren't UTF-8 appear as `\\xe9`, a newline as `\\n`."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


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
        mode = Path(path).stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
            raise DataError(f"{name}: {kind}, a regular file expected")
        return Path(path).open("rb")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise DataError(f"{name}: can't be read ({reason or error})") from error


def parse_layout(file: BinaryIO, name: str) -> Layout:
    """Read the header of an open, seekable picture file. Raises DataError as `read_header` does."""
    try:
        layout = _parser_for(file.read(64))(file)
        _check_size(layout.stored_wh)
    except (_RefusedError, OSError, struct.error) as error:
        raise DataError(f"{name}: {error}") from error
    return layout


def _parser_for(start: bytes) -> Callable[[BinaryIO], Layout]:
    """The parser for a file that begins with `start`."""
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return _parse_webp
    for magic, parser in _PARSERS:
        if start.startswith(magic):
            return parser
    raise _RefusedError(f"not a picture that can be read ({EXPECTED}): {_describe(start)}")


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
        raise _RefusedError(f"the picture has no pixels ({width}×{height})")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise _RefusedError(
            f"{width}×{height} pixels; at most {MAX_PIXELS // 1_000_000} million, and {MAX_SIDE} a side, "
            "are read: scale the picture down or cut it"
        )


def _layout(kind: str, stored_wh: tuple[int, int], decoder: str, *, frames: int = 1, orientation: int = 1) -> Layout:
    size_wh = stored_wh if orientation < 5 else (stored_wh[1], stored_wh[0])
    return Layout(ImageHeader(kind, size_wh, frames, orientation), stored_wh, decoder)


def _take(file: BinaryIO, count: int) -> bytes:
    """Read exactly `count` bytes."""
    data = file.read(count)
    if len(data) != count:
        raise _RefusedError("the file ends within its header: it is truncated")
    return data


# ------------------------------------------------------------------------------------------------ JPEG

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _parse_jpeg(file: BinaryIO) -> Layout:
    """Walk the marker segments up to the frame header (T.81 B.2.2), noting the first EXIF block."""
    file.seek(2)
    orientation = None
    while True:
        marker = _next_marker(file)
        if marker in (0xD9, 0xDA):
            raise _RefusedError("a JPEG without a frame header")
        (length,) = struct.unpack(">H", _take(file, 2))
        if length < 2:
            raise _RefusedError("a JPEG segment of impossible length")
        if marker in _START_OF_FRAME:
            return _jpeg_frame(_take(file, 6), orientation or 1)
        if marker == 0xE1 and orientation is None and length > 8:
            block = _take(file, length - 2)
            orientation = exif_orientation(block[6:]) if block.startswith(b"Exif\0") else None
        else:
            file.seek(length - 2, os.SEEK_CUR)


def _next_marker(file: BinaryIO) -> int:
    """The code of the next marker that has a segment; fill and stray bytes before it are passed over."""
    for _ in range(0x10000):
        if _take(file, 1) != b"\xff":
            continue
        code = b"\xff"
        while code == b"\xff":
            code = _take(file, 1)
        if code[0] not in (0x00, 0x01) and not 0xD0 <= code[0] <= 0xD8:
            return code[0]
    raise _RefusedError("a JPEG with rubbish in place of its header")


def _jpeg_frame(frame: bytes, orientation: int) -> Layout:
    precision, height, width, components = struct.unpack(">BHHB", frame)
    if precision != 8 or components not in (1, 3, 4):
        raise _RefusedError(f"a JPEG of {components} × {precision} bits, 1, 3 or 4 × 8 expected: save it anew")
    decoder = "pillow" if components == 4 else "colour"
    return _layout("JPEG", (width, height), decoder, orientation=orientation)


# ------------------------------------------------------------------------------------------------- PNG


def _parse_png(file: BinaryIO) -> Layout:
    """Read IHDR, and acTL, tRNS and eXIf where they come before the pixels, as the specification asks."""
    file.seek(8)
    length, kind = struct.unpack(">I4s", _take(file, 8))
    if kind != b"IHDR" or length != 13:
        raise _RefusedError("a PNG without its IHDR chunk")
    width, height, depth, colour = struct.unpack(">IIBB", _take(file, 10))
    file.seek(7, os.SEEK_CUR)
    frames, orientation, keyed = 1, 1, False
    while True:
        length, kind = struct.unpack(">I4s", _take(file, 8))
        if kind in (b"IDAT", b"IEND"):
            break
        content = _take(file, length) if kind in (b"acTL", b"eXIf") and length < 1 << 20 else b""
        file.seek(length - len(content) + 4, os.SEEK_CUR)
        if kind == b"acTL" and length == 8:
            frames = max(struct.unpack(">I", content[:4])[0], 1)
        elif kind == b"eXIf":
            orientation = exif_orientation(content)
        keyed = keyed or kind == b"tRNS"
    decoder = _png_decoder(depth, colour, keyed=keyed)
    return _layout("PNG", (width, height), decoder, frames=frames, orientation=orientation)


def _png_decoder(depth: int, colour: int, *, keyed: bool) -> str:
    """Which decoder keeps docs/pictures.md's promises. Colour 0: grey, 2: RGB, 3: palette, 4 and 6: with alpha."""
    if depth == 16:
        return "samples"
    if depth == 8 and colour in (0, 2) and not keyed:
        return "colour"
    return "samples" if depth == 8 and colour == 6 else "pillow"


# ------------------------------------------------------------------------------------------------ WebP


def _parse_webp(file: BinaryIO) -> Layout:
    """Walk the RIFF chunks: size from VP8X, VP8L or VP8, frames from ANMF, orientation from EXIF."""
    file.seek(12)
    size_wh: tuple[int, int] | None = None
    frames, orientation, decoder = 0, 1, "colour"
    while len(chunk := file.read(8)) == 8:
        kind, length = struct.unpack("<4sI", chunk)
        start = file.tell()
        if size_wh is None:
            size_wh, decoder = _webp_size(kind, _take(file, min(length, 10)))
        elif kind == b"ALPH":
            decoder = "pillow"
        elif kind == b"ANMF":
            frames += 1
        elif kind == b"EXIF" and length < 1 << 20:
            orientation = exif_orientation(_take(file, length).removeprefix(b"Exif\0\0"))
        file.seek(start + length + length % 2)
    if size_wh is None:
        raise _RefusedError("a WebP without a picture")
    return _layout("WebP", size_wh, decoder, frames=max(frames, 1), orientation=orientation)


def _webp_size(kind: bytes, content: bytes) -> tuple[tuple[int, int], str]:
    """(width, height) and the decoder from the first chunk of a WebP (RFC 9649 sections 2.5 to 2.7)."""
    if kind == b"VP8X" and len(content) == 10:
        width = int.from_bytes(content[4:7], "little") + 1
        height = int.from_bytes(content[7:10], "little") + 1
        return (width, height), "pillow" if content[0] & 0x12 else "colour"
    if kind == b"VP8L" and len(content) >= 5 and content[0] == 0x2F:
        bits = int.from_bytes(content[1:5], "little")
        return ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1), "pillow" if bits >> 28 & 1 else "colour"
    if kind == b"VP8 " and len(content) == 10 and content[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", content[6:])
        return (width & 0x3FFF, height & 0x3FFF), "colour"
    raise _RefusedError("a WebP whose first chunk is damaged")


# ------------------------------------------------------------------------------------------------- GIF


def _parse_gif(file: BinaryIO) -> Layout:
    """Walk the blocks and count the pictures among them."""
    file.seek(6)
    width, height, flags = struct.unpack("<HHB", _take(file, 5))
    file.seek(2 + _gif_palette_bytes(flags), os.SEEK_CUR)
    frames = 0
    while (block := file.read(1)) and block != b";":
        if block == b",":
            frames += 1
            flags = _take(file, 9)[8]
            file.seek(_gif_palette_bytes(flags) + 1, os.SEEK_CUR)
            _skip_gif_blocks(file)
        elif block == b"!":
            file.seek(1, os.SEEK_CUR)
            _skip_gif_blocks(file)
    if not frames:
        raise _RefusedError("a GIF without a picture")
    return _layout("GIF", (width, height), "pillow", frames=frames)


def _gif_palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_gif_blocks(file: BinaryIO) -> None:
    while size := file.read(1):
        if size == b"\0":
            return
        file.seek(size[0], os.SEEK_CUR)


# ------------------------------------------------------------------------------------------------- BMP


def _parse_bmp(file: BinaryIO) -> Layout:
    """Read the size from the DIB header, whose own length tells its kind (12: OS/2's, ≥ 40: Windows')."""
    file.seek(14)
    (header_size,) = struct.unpack("<I", _take(file, 4))
    if header_size == 12:
        width, height, _, bits = struct.unpack("<HHHH", _take(file, 8))
    elif 16 <= header_size <= 256:
        width, height, _, bits = struct.unpack("<iiHH", _take(file, 12))
    else:
        raise _RefusedError(f"a BMP whose header claims {header_size} bytes")
    return _layout("BMP", (width, abs(height)), "colour" if bits == 24 else "pillow")


# --------------------------------------------------------------------------------------- TIFF and EXIF

_BYTE, _SHORT, _LONG = 1, 3, 4
_WIDTHS = {_BYTE: 1, _SHORT: 2, _LONG: 4}
_MAX_PAGES = 100_000
_SUBFILE, _COLUMNS, _ROWS, _BITS, _PHOTOMETRIC, _ORIENTATION = 254, 256, 257, 258, 262, 274
_SAMPLE_FORMAT, _DNG_VERSION = 339, 50706
_WANTED = frozenset({_SUBFILE, _COLUMNS, _ROWS, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLE_FORMAT, _DNG_VERSION})


def exif_orientation(block: bytes) -> int:
    """The orientation (1 to 8) in an EXIF block, which is a small TIFF; 1 where it has none or is damaged."""
    try:
        order, offset = _tiff_start(block[:8])
        orientation = _read_ifd(io.BytesIO(block), order, offset)[0].get(_ORIENTATION, 1)
    except (_RefusedError, struct.error):
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def _tiff_start(start: bytes) -> tuple[str, int]:
    """The byte order ("<" or ">") and the offset of the first directory."""
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None:
        raise _RefusedError("neither II nor MM")
    version, offset = struct.unpack(order + "HI", start[2:8])
    if version != 42:
        raise _RefusedError("a BigTIFF: save it as an ordinary TIFF, PNG or JPEG")
    return order, offset


def _read_ifd(file: BinaryIO, order: str, offset: int) -> tuple[dict[int, int], int]:
    """The first value of each wanted tag in the directory at `offset`, and the next directory's offset."""
    file.seek(offset)
    (count,) = struct.unpack(order + "H", _take(file, 2))
    entries = _take(file, 12 * count)
    following = file.read(4)
    values: dict[int, int] = {}
    for tag, kind, length, inline in struct.iter_unpack(order + "HHI4s", entries):
        if tag in _WANTED and kind in _WIDTHS and length:
            if _WIDTHS[kind] * length > 4:
                file.seek(struct.unpack(order + "I", inline)[0])
                inline = _take(file, 4)
            values.setdefault(tag, struct.unpack_from(order + {1: "B", 3: "H", 4: "I"}[kind], inline)[0])
    return values, struct.unpack(order + "I", following)[0] if len(following) == 4 else 0


def _parse_tiff(file: BinaryIO) -> Layout:
    """Read the first directory and count the others."""
    file.seek(0)
    order, offset = _tiff_start(_take(file, 8))
    first, following = _read_ifd(file, order, offset)
    if _DNG_VERSION in first or first.get(_SUBFILE, 0) & 1:
        raise _RefusedError("a camera's raw file, its first picture is a preview: develop it to JPEG or PNG")
    seen = {offset}
    while following and following not in seen and len(seen) < _MAX_PAGES:
        seen.add(following)
        following = _read_ifd(file, order, following)[1]
    orientation = first.get(_ORIENTATION, 1)
    return _layout(
        "TIFF",
        (first.get(_COLUMNS, 0), first.get(_ROWS, 0)),
        _tiff_decoder(first),
        frames=len(seen),
        orientation=orientation if 1 <= orientation <= 8 else 1,
    )


def _tiff_decoder(tags: dict[int, int]) -> str:
    """Pillow knows every 8-bit kind but cuts deeper samples down; OpenCV gives those whole."""
    bits, kind = tags.get(_BITS, 1), tags.get(_SAMPLE_FORMAT, 1)
    if bits <= 8:
        return "pillow"
    if (bits, kind) == (16, 1) or (bits in (32, 64) and kind == 3):
        return "samples" if tags.get(_PHOTOMETRIC) in (1, 2) else "pillow"
    raise _RefusedError(f"a TIFF of {bits}-bit samples of kind {kind}; 1 to 16 bits or 32-bit float expected")


_PARSERS: tuple[tuple[bytes, Callable[[BinaryIO], Layout]], ...] = (
    (b"\xff\xd8\xff", _parse_jpeg),
    (b"\x89PNG\r\n\x1a\n", _parse_png),
    (b"GIF87a", _parse_gif),
    (b"GIF89a", _parse_gif),
    (b"BM", _parse_bmp),
    (b"II*\0", _parse_tiff),
    (b"MM\0*", _parse_tiff),
    (b"II+\0", _parse_tiff),
    (b"MM\0+", _parse_tiff),
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
)
