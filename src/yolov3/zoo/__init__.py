"""Models by name: the bundled one, official weights and where to get them; class names, sample photos."""

from __future__ import annotations

from pathlib import Path

from .coco import COCO_NAMES
from .registry import OFFICIAL_WEIGHTS, OfficialWeights, file_sha256, recognise_weights
from .shelf import BUNDLED, KnownModel, cache_folder, find_model, known_models


def sample_photos() -> list[Path]:
    """The photographs that `yolov3 detect` shows without arguments."""
    return sorted((Path(__file__).parent / "photos").glob("*.jpg"))


def default_names(count: int) -> tuple[str, ...]:
    """COCO's names for 80 classes, else `class_0`, `class_1`, …"""
    return COCO_NAMES if count == len(COCO_NAMES) else tuple(f"class_{index}" for index in range(count))


__all__ = [
    "BUNDLED",
    "COCO_NAMES",
    "OFFICIAL_WEIGHTS",
    "KnownModel",
    "OfficialWeights",
    "cache_folder",
    "default_names",
    "file_sha256",
    "find_model",
    "known_models",
    "recognise_weights",
    "sample_photos",
]
