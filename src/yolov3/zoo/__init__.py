"""What ships with the package: the bundled model, class names, sample photos; and the official weights' registry."""

from __future__ import annotations

from pathlib import Path

from .coco import COCO_NAMES
from .registry import OFFICIAL_WEIGHTS, OfficialWeights, file_sha256, recognise_weights

_FOLDER = Path(__file__).parent
BUNDLED = {"yolov3-tiny": _FOLDER / "yolov3-tiny.safetensors"}


def sample_photos() -> list[Path]:
    """The photographs that `yolov3 detect` shows without arguments."""
    return sorted((_FOLDER / "photos").glob("*.jpg"))


def default_names(count: int) -> tuple[str, ...]:
    """COCO's names for 80 classes, else `class_0`, `class_1`, …"""
    return COCO_NAMES if count == len(COCO_NAMES) else tuple(f"class_{index}" for index in range(count))


__all__ = [
    "BUNDLED",
    "COCO_NAMES",
    "OFFICIAL_WEIGHTS",
    "OfficialWeights",
    "default_names",
    "file_sha256",
    "recognise_weights",
    "sample_photos",
]
