"""Pictures: the header gate, decoding, EXIF orientation, colour. One way to read a picture, everywhere."""

from __future__ import annotations

from .colour import BACKGROUND
from .decode import (
    Decoded,
    Enough,
    decode_enough,
    decode_image,
    read_image,
    read_picture_bytes,
    take_picture_bytes,
    write_image,
)
from .header import MAX_PIXELS, MAX_SIDE, PICTURE_SUFFIXES, display_name, open_regular, read_header
from .layout import ImageHeader
from .quiet import quiet_decoders

__all__ = [
    "BACKGROUND",
    "MAX_PIXELS",
    "MAX_SIDE",
    "PICTURE_SUFFIXES",
    "Decoded",
    "Enough",
    "ImageHeader",
    "decode_enough",
    "decode_image",
    "display_name",
    "open_regular",
    "quiet_decoders",
    "read_header",
    "read_image",
    "read_picture_bytes",
    "take_picture_bytes",
    "write_image",
]
