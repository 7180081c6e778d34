"""The headers of JPEG, PNG, WebP, GIF and BMP files.

Sources: ITU-T T.81 annex B (JPEG), the PNG specification (third edition), RFC 9649 (WebP), GIF89a.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from .layout import MAX_PARTS, Layout, RefusedError, make_layout, take
from .tiff import exif_orientation

# ------------------------------------------------------------------------------------------------ JPEG

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def parse_jpeg(file: BinaryIO) -> Layout:
    """Walk the marker segments up to the frame header (T.81 B.2.2), noting the first EXIF block."""
    file.seek(2)
    orientation = None
    for _ in range(MAX_PARTS):
        marker = _next_marker(file)
        if marker in (0xD9, 0xDA):
            raise RefusedError("a JPEG without a frame header")
        (length,) = struct.unpack(">H", take(file, 2))
        if length < 2:
            raise RefusedError("a JPEG segment of impossible length")
        if marker in _START_OF_FRAME:
            return _jpeg_frame(take(file, 6), orientation or 1)
        if marker == 0xE1 and orientation is None and length > 8:
            block = take(file, length - 2)
            orientation = exif_orientation(block[6:]) if block.startswith(b"Exif\0") else None
        else:
            file.seek(length - 2, os.SEEK_CUR)
    raise RefusedError(f"a JPEG of over {MAX_PARTS} segments")


def _next_marker(file: BinaryIO) -> int:
    """The code of the next marker that has a segment; fill and stray bytes before it are passed over."""
    for _ in range(0x1000):
        if take(file, 1) != b"\xff":
            continue
        code = b"\xff"
        while code == b"\xff":
            code = take(file, 1)
        if code[0] not in (0x00, 0x01) and not 0xD0 <= code[0] <= 0xD8:
            return code[0]
    raise RefusedError("a JPEG with rubbish in place of its header")


def _jpeg_frame(frame: bytes, orientation: int) -> Layout:
    precision, height, width, components = struct.unpack(">BHHB", frame)
    if precision != 8 or components not in (1, 3, 4):
        raise RefusedError(f"a JPEG of {components} × {precision} bits, 1, 3 or 4 × 8 expected: save it anew")
    decoder = "pillow" if components == 4 else "colour"
    return make_layout("JPEG", (width, height), decoder, orientation=orientation)


# ------------------------------------------------------------------------------------------------- PNG


def parse_png(file: BinaryIO) -> Layout:
    """Read IHDR, and acTL, tRNS and eXIf where they come before the pixels, as the specification asks."""
    file.seek(8)
    length, kind = struct.unpack(">I4s", take(file, 8))
    if kind != b"IHDR" or length != 13:
        raise RefusedError("a PNG without its IHDR chunk")
    width, height, depth, colour = struct.unpack(">IIBB", take(file, 10))
    file.seek(7, os.SEEK_CUR)
    frames, orientation, keyed = 1, 1, False
    for _ in range(MAX_PARTS):
        length, kind = struct.unpack(">I4s", take(file, 8))
        if kind in (b"IDAT", b"IEND"):
            break
        content = take(file, length) if kind in (b"acTL", b"eXIf") and length < 1 << 20 else b""
        file.seek(length - len(content) + 4, os.SEEK_CUR)
        if kind == b"acTL" and length == 8:
            frames = max(struct.unpack(">I", content[:4])[0], 1)
        elif kind == b"eXIf":
            orientation = exif_orientation(content)
        keyed = keyed or kind == b"tRNS"
    decoder = _png_decoder(depth, colour, keyed=keyed)
    return make_layout("PNG", (width, height), decoder, frames=frames, orientation=orientation)


def _png_decoder(depth: int, colour: int, *, keyed: bool) -> str:
    """Which decoder keeps docs/pictures.md's promises. Colour 0: grey, 2: RGB, 3: palette, 4 and 6: with alpha."""
    if depth == 16:
        return "samples"
    if depth == 8 and colour in (0, 2) and not keyed:
        return "colour"
    return "samples" if depth == 8 and colour == 6 else "pillow"


# ------------------------------------------------------------------------------------------------ WebP


def parse_webp(file: BinaryIO) -> Layout:
    """Walk the RIFF chunks: size from VP8X, VP8L or VP8, frames from ANMF, orientation from EXIF."""
    file.seek(12)
    size_wh: tuple[int, int] | None = None
    frames, orientation, decoder = 0, 1, "colour"
    for _ in range(MAX_PARTS):
        chunk = file.read(8)
        if len(chunk) < 8:
            break
        kind, length = struct.unpack("<4sI", chunk)
        start = file.tell()
        if size_wh is None:
            size_wh, decoder = _webp_size(kind, take(file, min(length, 10)))
        elif kind == b"ALPH":
            decoder = "pillow"
        elif kind == b"ANMF":
            frames += 1
        elif kind == b"EXIF" and length < 1 << 20:
            orientation = exif_orientation(take(file, length).removeprefix(b"Exif\0\0"))
        file.seek(start + length + length % 2)
    if size_wh is None:
        raise RefusedError("a WebP without a picture")
    return make_layout("WebP", size_wh, decoder, frames=max(frames, 1), orientation=orientation)


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
    raise RefusedError("a WebP whose first chunk is damaged")


# ------------------------------------------------------------------------------------------------- GIF


def parse_gif(file: BinaryIO) -> Layout:
    """Walk the blocks and count the pictures among them."""
    file.seek(6)
    width, height, flags = struct.unpack("<HHB", take(file, 5))
    file.seek(2 + _gif_palette_bytes(flags), os.SEEK_CUR)
    frames = 0
    for _ in range(MAX_PARTS):
        block = file.read(1)
        if block in (b"", b";"):
            break
        if block == b",":
            frames += 1
            flags = take(file, 9)[8]
            file.seek(_gif_palette_bytes(flags) + 1, os.SEEK_CUR)
            _skip_gif_blocks(file)
        elif block == b"!":
            file.seek(1, os.SEEK_CUR)
            _skip_gif_blocks(file)
    if not frames:
        raise RefusedError("a GIF without a picture")
    return make_layout("GIF", (width, height), "pillow", frames=frames)


def _gif_palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_gif_blocks(file: BinaryIO) -> None:
    for _ in range(MAX_PARTS):
        size = file.read(1)
        if size in (b"", b"\0"):
            break
        file.seek(size[0], os.SEEK_CUR)


# ------------------------------------------------------------------------------------------------- BMP


def parse_bmp(file: BinaryIO) -> Layout:
    """Read the size from the DIB header, whose own length tells its kind (12: OS/2's, ≥ 40: Windows')."""
    file.seek(14)
    (header_size,) = struct.unpack("<I", take(file, 4))
    if header_size == 12:
        width, height, _, bits = struct.unpack("<HHHH", take(file, 8))
    elif 16 <= header_size <= 256:
        width, height, _, bits = struct.unpack("<iiHH", take(file, 12))
    else:
        raise RefusedError(f"a BMP whose header claims {header_size} bytes")
    return make_layout("BMP", (width, abs(height)), "colour" if bits == 24 else "pillow")
