"""Samples of any kind to RGB uint8, by the rules of docs/pictures.md."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..geometry import UInt8Array
from .whole import DamagedError

if TYPE_CHECKING:
    from PIL import Image

BACKGROUND = 255
"""The grey level (white) that shows where a picture is transparent."""


class UndefinedError(Exception):
    """A picture whose samples have no defined RGB."""


def samples_to_rgb(image: NDArray[Any]) -> UInt8Array:
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


def decode_with_pillow(data: bytes, kind: str) -> UInt8Array:
    """The rarer kinds, through Pillow's own reader of that one format."""
    with _PILLOW_LOCK, warnings.catch_warnings():  # catch_warnings changes state that all threads share
        warnings.simplefilter("ignore")
        try:
            picture = _open_with_pillow(io.BytesIO(data), kind)
            picture.load()
        except Exception as error:  # its readers raise a dozen kinds on hostile bytes
            raise DamagedError(str(error) or type(error).__name__) from error
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
        return samples_to_rgb(np.asarray(picture).astype(np.uint16))
    if picture.mode == "F":
        return samples_to_rgb(np.asarray(picture))
    if picture.mode in ("I", "LAB", "HSV"):
        raise UndefinedError(f"samples of kind {picture.mode} have no defined colours: save it as RGB or greyscale")
    if picture.mode in ("LA", "PA", "La", "RGBa", "RGBA") or "transparency" in picture.info:
        return _over_background(np.asarray(picture.convert("RGBA")))
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))
