"""The headers of TIFF files, and of the EXIF block in other pictures, which is a small TIFF.

Sources: Adobe's TIFF 6.0, CIPA DC-008 (EXIF).
"""

from __future__ import annotations

import io
import os
import struct
from typing import BinaryIO

from .layout import Layout, RefusedError, make_layout, take

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
        orientation = _read_ifd(io.BytesIO(block), order, offset).get(_ORIENTATION, 1)
    except (RefusedError, struct.error):
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def _tiff_start(start: bytes) -> tuple[str, int]:
    """The byte order ("<" or ">") and the offset of the first directory."""
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None:
        raise RefusedError("neither II nor MM")
    version, offset = struct.unpack(order + "HI", start[2:8])
    if version != 42:
        raise RefusedError("a BigTIFF: save it as an ordinary TIFF, PNG or JPEG")
    return order, offset


def _read_ifd(file: BinaryIO, order: str, offset: int) -> dict[int, int]:
    """The first value of each wanted tag in the directory at `offset`."""
    file.seek(offset)
    (count,) = struct.unpack(order + "H", take(file, 2))
    entries = take(file, 12 * count)
    values: dict[int, int] = {}
    for tag, kind, length, inline in struct.iter_unpack(order + "HHI4s", entries):
        if tag in _WANTED and kind in _WIDTHS and length:
            if _WIDTHS[kind] * length > 4:
                file.seek(struct.unpack(order + "I", inline)[0])
                inline = take(file, 4)
            values.setdefault(tag, struct.unpack_from(order + {1: "B", 3: "H", 4: "I"}[kind], inline)[0])
    return values


def _following_ifd(file: BinaryIO, order: str, offset: int) -> int:
    """The offset of the directory behind the one at `offset`; 0 behind the last, or where the chain breaks."""
    file.seek(offset)
    count = file.read(2)
    if len(count) < 2:
        return 0
    file.seek(12 * struct.unpack(order + "H", count)[0], os.SEEK_CUR)
    following = file.read(4)
    return int(struct.unpack(order + "I", following)[0]) if len(following) == 4 else 0


def parse_tiff(file: BinaryIO) -> Layout:
    """Read the first directory and count the others."""
    file.seek(0)
    order, offset = _tiff_start(take(file, 8))
    first, following = _read_ifd(file, order, offset), offset
    if _DNG_VERSION in first or first.get(_SUBFILE, 0) & 1:
        raise RefusedError("a camera's raw file, its first picture is a preview: develop it to JPEG or PNG")
    seen: set[int] = set()
    while following and following not in seen and len(seen) < _MAX_PAGES:
        seen.add(following)
        following = _following_ifd(file, order, following)
    orientation = first.get(_ORIENTATION, 1)
    return make_layout(
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
    raise RefusedError(f"a TIFF of {bits}-bit samples of kind {kind}; 1 to 16 bits or 32-bit float expected")
