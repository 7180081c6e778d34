"""Pictures: the header gate, decoding, EXIF orientation, colour. One way to read a picture, everywhere."""

from __future__ import annotations

from .decode import BACKGROUND, decode_image, read_image, read_picture_bytes, take_picture_bytes, write_image
from .header import MAX_PIXELS, MAX_SIDE, ImageHeader, display_name, open_regular, read_header

__all__ = [
    "BACKGROUND",
    "MAX_PIXELS",
    "MAX_SIDE",
    "ImageHeader",
    "decode_image",
    "display_name",
    "open_regular",
    "read_header",
    "read_image",
    "read_picture_bytes",
    "take_picture_bytes",
    "write_image",
]
