"""Video containers: which one a file is, by its first bytes, and whether its end is there."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1")
_TS_PACKETS = 4
_MAGIC = (
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"\0\0\x01\xba", "mpeg"),
    (b"\0\0\x01\xb3", "mpegvideo"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"FLV\x01", "flv"),
    (b"OggS\0", "ogg"),
)


def container_of(file: BinaryIO) -> str | None:
    """The name of FFmpeg's reader for a file, from its first bytes; None for anything but a video container."""
    file.seek(0)
    start = file.read(192 * _TS_PACKETS)
    if start[4:8] in _BOXES:
        return None if start[4:8] == b"ftyp" and start[8:12] in _PICTURE_BRANDS else "mov"
    if start.startswith(b"RIFF") and start[8:12] == b"AVI ":
        return "avi"
    if _is_transport_stream(start):
        return "mpegts"
    return next((name for magic, name in _MAGIC if start.startswith(magic)), None)


def _is_transport_stream(start: bytes) -> bool:
    """MPEG-TS has the byte 0x47 every 188 bytes; on Blu-ray and AVCHD every 192, four bytes in."""
    plain, timed = start[: 188 * _TS_PACKETS : 188], start[4 : 192 * _TS_PACKETS : 192]
    return b"\x47" * _TS_PACKETS in (plain, timed)


def missing_bytes(path: Path) -> int:
    """How many bytes a video file lacks of what its container announces; 0 where it can't be told.

    MP4, MOV, Matroska, WebM and AVI announce their length; transport streams and MPEG may end anywhere.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            ends = {"mov": _mov_end, "matroska": _matroska_end, "avi": _avi_end}
            end_of = ends.get(container_of(file) or "")
            return max(end_of(file, size) - size, 0) if end_of else 0
    except (OSError, struct.error):
        return 0


def _mov_end(file: BinaryIO, size: int) -> int:
    """Where the last of the top-level boxes ends (ISO/IEC 14496-12, 4.2)."""
    end = 0
    while end + 8 <= size:
        file.seek(end)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
        if length < 8 or not kind.isalnum():
            break  # 0: the last box, up to the file's end; else no box any more
        end += length
    return end


def _matroska_end(file: BinaryIO, _: int) -> int:
    """Where the segment ends (RFC 9559); 0 when it was written without a length, as live streams are."""
    file.seek(4)
    header = _vint(file)
    file.seek(header or 0, os.SEEK_CUR)
    if header is None or file.read(4) != b"\x18\x53\x80\x67":
        return 0
    length = _vint(file)
    return 0 if length is None else file.tell() + length


def _vint(file: BinaryIO) -> int | None:
    """An EBML length (RFC 8794, 4): the leading zeros tell its bytes; all ones mean unknown, None."""
    (first,) = struct.unpack("B", file.read(1))
    if not first:
        return None
    extra = 8 - first.bit_length()
    value = int.from_bytes(bytes([first & (1 << (7 - extra)) - 1]) + file.read(extra), "big")
    return None if value == (1 << 7 * (extra + 1)) - 1 else value


def _avi_end(file: BinaryIO, size: int) -> int:
    """Where the last RIFF chunk ends; a long AVI has several. 0 or all ones: the recorder never wrote the length."""
    end = 0
    while end + 8 <= size:
        file.seek(end)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF" or length in (0, 0xFFFFFFFF):
            break
        end += 8 + length + length % 2
    return end
