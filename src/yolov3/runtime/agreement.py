"""How far two engines' results for one picture lie apart, judged by what becomes of raw heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..postprocess import decode_boxes, sigmoid
from ..spec import Head

Float32 = NDArray[np.float32]

# Boxes are compared where the model sees something: scores from here on, and at any rate the best hundred.
VISIBLE = 0.05
AT_LEAST = 100


def decode_all(raw: Sequence[NDArray[Any]], heads: Sequence[Head], nc: int) -> tuple[Float32, Float32]:
    """Boxes (candidates, 4) in pixels of the input and scores (candidates, classes) of every anchor and cell."""
    boxes, scores = [], []
    for values, head in zip(raw, heads, strict=True):
        _, height, width = values.shape
        # (A · (5 + nc), H, W) → (A, 5 + nc, H · W) → (A · H · W, 5 + nc)
        flat = values.reshape(len(head.anchors), 5 + nc, -1).transpose(0, 2, 1).reshape(-1, 5 + nc)
        cell = np.tile(np.arange(height * width), len(head.anchors))
        cells_xy = np.stack([cell % width, cell // width], axis=1).astype(np.float32)
        anchors_wh = np.repeat(np.array(head.anchors, np.float32), height * width, axis=0)
        boxes.append(decode_boxes(flat, cells_xy, anchors_wh, head))
        scores.append(sigmoid(flat[:, 4:5]) * sigmoid(flat[:, 5:]))
    return np.concatenate(boxes), np.concatenate(scores)


def differences(one: tuple[Float32, Float32], other: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """The largest differences of boxes that the model sees, and of all scores.

    Args:
        one: boxes (N, 4) and scores (N, classes), as `decode_all` gives them; they decide which boxes count.
        other: the same of another engine.
    """
    boxes, scores = one
    best = scores.max(axis=1)
    count = min(AT_LEAST, len(best))
    visible = best >= min(VISIBLE, np.partition(best, -count)[-count])
    return largest(boxes[visible], other[0][visible]), largest(scores, other[1])


def largest(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest difference; NaN where only one is NaN."""
    with np.errstate(invalid="ignore"):  # infinite values of both are equal
        difference = np.abs(one.astype(np.float64) - other)
    difference[(one == other) | (np.isnan(one) & np.isnan(other))] = 0
    return float(difference.max(initial=0))
