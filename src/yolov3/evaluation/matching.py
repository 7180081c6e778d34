"""Which detection found which object, by COCO's rule, at every IoU threshold at once.

The metrics themselves come from a library (`coco.py`); it keeps its matches to itself, and curves, confusion,
intervals and the gallery need them. `average_precision` from these matches is held to the library's by tests.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .predictions import Predictions
from .truth import MAX_AREA, GroundTruth

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
MAX_PER_CLASS = 100
"""COCO counts so many detections of a class in a picture, the best scores first (its maxDets)."""

_PAIRS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Detections in COCO's order of counting (class after class, best score first) and what each found.

    Attributes:
        order: int64 (D,), index into the predictions; those beyond `MAX_PER_CLASS` are left out.
        image, labels, scores: (D,), of the detections in this order.
        found: int64 (thresholds, D), index of the object in the truth, −1 where there is none.
        ignored: bool (thresholds, D), detections that count neither for nor against.
        starts: int64 (classes + 1,), where each class begins.
        objects: int64 (classes,), how many objects there are to find.
    """

    order: Int64
    image: Int64
    labels: Int64
    scores: Float64
    found: Int64
    ignored: NDArray[np.bool_]
    starts: Int64
    objects: Int64

    @property
    def hits(self) -> NDArray[np.bool_]:
        """bool (thresholds, D): true positives."""
        return (self.found >= 0) & ~self.ignored


def match(truth: GroundTruth, predictions: Predictions, thresholds: Float64 = IOU_THRESHOLDS) -> Matches:
    """Match greedily, picture by picture and class by class: the best score takes the object of the best IoU that is
    still free, objects that must be found before those that needn't (`cocoeval.py: evaluateImg`).
    """
    order = _counting_order(truth, predictions)
    image, labels = predictions.image[order], predictions.labels[order]
    areas = predictions.boxes_xywh[order, 2] * predictions.boxes_xywh[order, 3]
    found = np.full((len(thresholds), len(order)), -1, np.int64)
    candidates = _candidates(truth, predictions, order, min(float(thresholds.min()), 1 - 1e-10))
    for row, threshold in enumerate(thresholds.tolist()):
        _match_greedily(candidates, truth, min(threshold, 1 - 1e-10), found[row])
    ignored = np.where(found >= 0, truth.ignored[found] if len(truth) else False, areas > MAX_AREA)
    starts = np.searchsorted(labels, np.arange(len(truth.names) + 1))
    return Matches(order, image, labels, predictions.scores[order], found, ignored, starts, truth.objects)


def _counting_order(truth: GroundTruth, predictions: Predictions) -> Int64:
    """Class after class, best score first; of equal scores the earlier picture, then the earlier detection."""
    group = predictions.image * len(truth.names) + predictions.labels
    in_groups = np.lexsort((-predictions.scores, group))
    sorted_group = group[in_groups]
    rank = np.arange(len(in_groups)) - np.searchsorted(sorted_group, sorted_group)
    kept = in_groups[rank < MAX_PER_CLASS]
    place = np.arange(len(kept))  # ranks are in order within a picture's class
    return np.asarray(
        kept[np.lexsort((place, predictions.image[kept], -predictions.scores[kept], predictions.labels[kept]))]
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Candidates:
    """Pairs of a detection and an object of its class in its picture that overlap enough for the lowest threshold.

    Sorted by detection; of one detection's objects those that must be found come first.
    """

    detection: list[int]
    truth: list[int]
    iou: list[float]


def _candidates(truth: GroundTruth, predictions: Predictions, order: Int64, least: float) -> _Candidates:
    """Pairs with an IoU of `least` or more, found in one sweep over sorted arrays."""
    classes = len(truth.names)
    keys = truth.image * classes + truth.labels
    sorted_truth = np.lexsort((truth.ignored, keys))
    sorted_keys = keys[sorted_truth]
    wanted = predictions.image[order] * classes + predictions.labels[order]
    first = np.searchsorted(sorted_keys, wanted, "left")
    counts = np.searchsorted(sorted_keys, wanted, "right") - first
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for start, stop in _chunks(counts):
        count = counts[start:stop]
        detection = np.repeat(np.arange(start, stop), count)
        step = np.arange(len(detection)) - np.repeat(np.cumsum(count) - count, count)
        true_box = sorted_truth[np.repeat(first[start:stop], count) + step]
        iou = _pair_iou(predictions.boxes_xywh[order[detection]], truth.boxes_xywh[true_box], truth.crowd[true_box])
        close = iou >= least
        parts.append((detection[close], true_box[close], iou[close]))
    return _Candidates(*(np.concatenate(column).tolist() for column in zip(*parts, strict=True)))


def _chunks(counts: Int64) -> list[tuple[int, int]]:
    """Ranges of detections with about `_PAIRS_AT_ONCE` pairs each."""
    busy = np.flatnonzero(counts)
    if not len(busy):
        return []
    chunk = np.cumsum(counts) // _PAIRS_AT_ONCE
    edges = [0, *(np.flatnonzero(np.diff(chunk)) + 1).tolist(), len(counts)]
    return list(itertools.pairwise(edges))


def _pair_iou(boxes: Float64, others: Float64, crowd: NDArray[np.bool_]) -> Float64:
    """IoU of each box with its partner, xywh (N, 4); with a crowd the share of the box that lies in it.

    In the steps of COCO's `bbIou` (`maskApi.c`), so that a threshold met there is met here.
    """
    low = np.maximum(boxes[:, :2], others[:, :2])
    high = np.minimum(boxes[:, 2:] + boxes[:, :2], others[:, 2:] + others[:, :2])
    side = np.maximum(high - low, 0)
    intersection = side[:, 0] * side[:, 1]
    area = boxes[:, 2] * boxes[:, 3]
    union = np.where(crowd, area, area + others[:, 2] * others[:, 3] - intersection)
    some = (intersection > 0) & (union > 0)
    return np.asarray(np.divide(intersection, union, out=np.zeros(len(boxes)), where=some))


def _match_greedily(candidates: _Candidates, truth: GroundTruth, least: float, found: Int64) -> None:
    """Write the object that each detection takes into `found`."""
    ignored, crowd = truth.ignored.tolist(), truth.crowd.tolist()
    taken = bytearray(len(truth))
    current, best, choice = -1, least, -1
    for detection, box, iou in zip(candidates.detection, candidates.truth, candidates.iou, strict=True):
        if detection != current:
            if choice >= 0:
                found[current], taken[choice] = choice, 1
            current, best, choice = detection, least, -1
        if iou < best or (taken[box] and not crowd[box]):
            continue
        if choice >= 0 and ignored[box] and not ignored[choice]:
            continue
        best, choice = iou, box
    if choice >= 0:
        found[current] = choice
