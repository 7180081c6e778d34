"""Is a picture file whole? Decoders fill what is missing, so that is asked before they see it."""

from __future__ import annotations

import re
import struct
import zlib

from .layout import MAX_PARTS

MAX_SCANS = 100
"""JPEGs of more scans are refused: a usual one has at most a dozen, and each goes over every pixel again."""


class DamagedError(Exception):
    """A picture whose bytes can't be decoded whole."""


_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")  # every marker with a segment, and SOI, EOI, SOS
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA


def check_jpeg(data: bytes) -> None:
    """Follow the markers to the end of the picture; decoders quietly fill what is missing with grey."""
    position, scans = 2, 0
    for _ in range(MAX_PARTS):
        match = _MARKER.search(data, position)
        if match is None:
            raise DamagedError("it has no end marker")
        code, position = data[match.start() + 1], match.end()
        if code == _EOI:
            break
        if code == _SOI:
            continue
        position += int.from_bytes(data[position : position + 2], "big")
        scans += code == _SOS
        if scans > MAX_SCANS:
            raise DamagedError(f"over {MAX_SCANS} scans, a usual JPEG has a dozen")
    if not scans:
        raise DamagedError("it has no scan")


_PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def bare_png(data: bytes) -> bytes:
    """The PNG with only the chunks that make its pixels; their checksums are verified.

    Decoders treat the others (colour profiles, animation, text of any length) in different ways.
    """
    view, position = memoryview(data), 8
    kept = [view[:8]]
    for _ in range(MAX_PARTS):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise DamagedError("it ends within a chunk")
        if kind in _PNG_KEPT:
            if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
                raise DamagedError(f"the checksum of a chunk {kind.decode()} is wrong")
            kept.append(view[position:end])
        if kind == b"IEND":
            break
        position = end
    return b"".join(kept)


def check_webp(data: bytes) -> None:
    """Compare the RIFF header's length with the bytes that are there."""
    if int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise DamagedError("it is shorter than it says")
