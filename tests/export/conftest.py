"""A small model, and its outputs by a slow decoding written on its own."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from models import random_model, small_spec
from yolov3.graph import lower
from yolov3.modelfile import Model
from yolov3.runtime.engines import make_engine


@pytest.fixture(scope="session")
def small() -> Model:
    """Ten rows, two scales, two classes, at 64×64."""
    return random_model(small_spec())


@pytest.fixture(scope="session")
def pictures() -> np.ndarray:
    """Three pictures of 96×64 pixels."""
    return np.random.default_rng(1).integers(0, 256, (3, 64, 96, 3), np.uint8)


def raw_heads(model: Model, images: np.ndarray) -> list[np.ndarray]:
    """By ncnn, which exports don't go through."""
    return make_engine("ncnn", lower(model), 1)(images)


def slow_boxes(model: Model, raw: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores of one picture, a candidate at a time, as YOLOv3's section 2.1 has it."""

    def sigma(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    boxes, scores = [], []
    for values, head in zip(raw, model.spec.network.heads, strict=True):
        parts = values.reshape(len(head.anchors), -1, *values.shape[1:])
        for anchor, (width, height) in enumerate(head.anchors):
            for y in range(values.shape[1]):
                for x in range(values.shape[2]):
                    tx, ty, tw, th, objectness, *classes = map(float, parts[anchor, :, y, x])
                    stretch = head.xy_scale
                    cx = (x + 0.5 + (sigma(tx) - 0.5) * stretch) * head.stride
                    cy = (y + 0.5 + (sigma(ty) - 0.5) * stretch) * head.stride
                    if head.wh == "exp":
                        w, h = width * math.exp(tw), height * math.exp(th)
                    else:
                        w, h = width * (2 * sigma(tw)) ** 2, height * (2 * sigma(th)) ** 2
                    boxes.append((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
                    scores.append([sigma(objectness) * sigma(each) for each in classes])
    return np.array(boxes), np.array(scores)


def slow_suppression(
    boxes: np.ndarray, scores: np.ndarray, conf: float, iou: float, most: int
) -> list[tuple[int, int, float]]:
    """(candidate, class, score) of the boxes that stay, each candidate in its best class, best first."""

    def overlap(one: np.ndarray, other: np.ndarray) -> float:
        width = min(one[2], other[2]) - max(one[0], other[0])
        height = min(one[3], other[3]) - max(one[1], other[1])
        shared = max(width, 0) * max(height, 0)
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
        return shared / (sum(areas) - shared)

    found = [(int(index), int(row.argmax()), float(row.max())) for index, row in enumerate(scores) if row.max() > conf]
    found.sort(key=lambda each: -each[2])
    kept: list[tuple[int, int, float]] = []
    for index, label, score in found:
        if all(label != other or overlap(boxes[index], boxes[place]) <= iou for place, other, _ in kept):
            kept.append((index, label, score))
    return kept[:most]


def files(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, hidden things too."""
    return {path.name: path.read_bytes() if path.is_file() else b"" for path in folder.iterdir()}
