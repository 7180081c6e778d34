"""Thumbnails of findings: the part of the picture around a box, with the detection and the label drawn on it."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..images import read_image
from .findings import Finding
from .truth import GroundTruth

SIDE = 220
PREDICTED_RGB, LABEL_RGB = (255, 120, 0), (0, 200, 255)
_QUALITY = 80


def thumbnails(truth: GroundTruth, findings: Sequence[Finding]) -> list[str | None]:
    """A JPEG for each finding as base64; None where the picture can't be read or has another size than its labels.

    Each picture is read once and only one is in memory.
    """
    result: list[str | None] = [None] * len(findings)
    places: dict[int, list[int]] = {}
    for place, finding in enumerate(findings):
        places.setdefault(finding.image, []).append(place)
    for image, members in places.items():
        sample = truth.samples[image]
        try:
            picture = read_image(sample.image)
        except DataError:
            continue
        if (picture.shape[1], picture.shape[0]) == sample.size_wh:
            for place in members:
                result[place] = base64.b64encode(_thumbnail(picture, findings[place])).decode()
    return result


def _thumbnail(picture: NDArray[np.uint8], finding: Finding) -> bytes:
    """A JPEG of at most `SIDE` pixels a side."""
    boxes = [
        (xywh, color)
        for xywh, color in ((finding.true_xywh, LABEL_RGB), (finding.predicted_xywh, PREDICTED_RGB))
        if xywh is not None
    ]
    left, top, right, bottom = _crop(np.array([xywh for xywh, _ in boxes]), picture.shape[1], picture.shape[0])
    part = picture[top:bottom, left:right]
    scale = SIDE / max(part.shape[:2])
    size = (max(round(part.shape[1] * scale), 1), max(round(part.shape[0] * scale), 1))
    small = np.ascontiguousarray(
        cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    )
    for xywh, color in boxes:
        x, y, width, height = xywh.tolist()
        corners = [(x - left) * scale, (y - top) * scale, (x - left + width) * scale, (y - top + height) * scale]
        x1, y1, x2, y2 = (round(min(max(value, -9.0), SIDE + 9.0)) for value in corners)
        cv2.rectangle(small, (x1, y1), (x2, y2), (0, 0, 0), 4)
        cv2.rectangle(small, (x1, y1), (x2, y2), color, 2)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return encoded.tobytes()


def _crop(boxes_xywh: NDArray[np.float64], width: int, height: int) -> tuple[int, int, int, int]:
    """The part of the picture to show, left, top, right, bottom: all boxes and as much again around them."""
    low = boxes_xywh[:, :2].min(axis=0)
    high = (boxes_xywh[:, :2] + boxes_xywh[:, 2:]).max(axis=0)
    half = max(*(high - low), 60.0) * 0.9
    centre = np.clip((low + high) / 2, 0, (width, height))
    left, top = np.floor(np.clip(centre - half, 0, (width - 1, height - 1))).astype(int).tolist()
    right, bottom = np.ceil(np.clip(centre + half, (left + 1, top + 1), (width, height))).astype(int).tolist()
    return left, top, right, bottom
