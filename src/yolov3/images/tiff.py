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
_SUBFILE, _COLUMNS, _ROWS, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES = 254, 256, 257, 258, 262, 274, 277
_PLANAR, _EXTRA, _SAMPLE_FORMAT, _DNG_VERSION = 284, 338, 339, 50706
_WANTED = frozenset(
    (_SUBFILE, _COLUMNS, _ROWS, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _PLANAR, _EXTRA, _SAMPLE_FORMAT)
) | {_DNG_VERSION}
_GREY, _RGB, _CMYK = 1, 2, 5  # photometric interpretations
_KINDS = {1: "unsigned", 2: "signed", 3: "float"}  # sample formats


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


def stored_upright(data: bytes) -> bytes:
    """A TIFF's bytes with the first page's orientation set to 1: some decoders obey that tag, some don't."""
    order, offset = _tiff_start(data[:8])
    (count,) = struct.unpack_from(order + "H", data, offset)
    changed = bytearray(data)
    for entry in range(offset + 2, offset + 2 + 12 * count, 12):
        if struct.unpack_from(order + "H", data, entry)[0] == _ORIENTATION:
            struct.pack_into(order + "HHIHH", changed, entry, _ORIENTATION, _SHORT, 1, 1, 0)
    return bytes(changed)


def _tiff_decoder(tags: dict[int, int]) -> str:
    """Pillow knows every 8-bit kind but cuts deeper samples down; OpenCV gives those whole, in the plain layouts only.

    Of those it would misread signed, planar and premultiplied samples and white-is-zero, without a word.
    """
    bits, kind, samples = tags.get(_BITS, 1), tags.get(_SAMPLE_FORMAT, 1), tags.get(_SAMPLES, 1)
    photometric = tags.get(_PHOTOMETRIC)
    if kind == 1 and (bits <= 8 or (bits == 16 and photometric == _CMYK)):
        return "pillow"
    deep = (bits, kind) in ((16, 1), (32, 3), (64, 3))
    plain = samples in (1, 3, 4) and tags.get(_PLANAR, 1) == 1 and tags.get(_EXTRA, 2) == 2
    if deep and plain and photometric in (_GREY, _RGB):
        return "samples"
    raise RefusedError(
        f"a TIFF of {samples} × {bits}-bit {_KINDS.get(kind, 'unknown')} samples in a layout that can't be read: "
        "save it as 8-bit RGB, or as PNG"
    )
