"""What went wrong at one confidence: the confusion matrix, and each false positive and missed object with its kind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ..geometry import FloatArray, box_iou
from .matching import Matches
from .predictions import Predictions
from .truth import GroundTruth

Int64 = NDArray[np.int64]

CLOSE, NEAR = 0.5, 0.1


class Kind(StrEnum):
    """Why a detection is a false positive (after TIDE, arXiv 2008.08115, section 2.2)."""

    WRONG_CLASS = "wrong class"
    DUPLICATE = "found twice"
    POOR_BOX = "box is off"
    BACKGROUND = "nothing there"


@dataclass(frozen=True, slots=True)
class FalsePositive:
    """A detection that found nothing.

    Attributes:
        prediction: its index in the predictions.
        kind: why.
        object: index in the truth of the object that it comes nearest to; None where nothing is there.
        iou: with that object, else 0.
        missed: whether that object is found by no detection of its own class.
    """

    prediction: int
    kind: Kind
    object: int | None
    iou: float
    missed: bool


@dataclass(frozen=True, slots=True, eq=False)
class Mistakes:
    """All mistakes at one confidence and IoU 0.50.

    Attributes:
        confidence: detections below it are left out.
        confusion: int64 (classes + 1, classes + 1), rows the truth and columns what was predicted; the last row counts
            detections of nothing, the last column objects that weren't found. A row's sum is the number of objects, a
            column's that of the detections that count, the diagonal the true positives.
        false_positives: best score first.
        missed: indices of objects that no detection of their class found.
    """

    confidence: float
    confusion: Int64
    false_positives: list[FalsePositive]
    missed: list[int]


def find_mistakes(truth: GroundTruth, predictions: Predictions, matches: Matches, confidence: float) -> Mistakes:
    """Sort detections of at least `confidence` and objects into found, confused, false and missed.

    True positives are those of COCO's matching within classes. What is left is then paired across classes: best score
    first, with the free object of the best IoU from 0.50 on.
    """
    classes = len(truth.names)
    kept = matches.scores >= confidence
    hits = matches.hits[0] & kept
    free = ~truth.ignored
    free[matches.found[0][hits]] = False
    confusion = np.zeros((classes + 1, classes + 1), np.int64)
    np.add.at(confusion, (matches.labels[hits], matches.labels[hits]), 1)
    missed = np.flatnonzero(free)

    false = np.flatnonzero(kept & ~hits & ~matches.ignored[0])
    false = false[np.argsort(-matches.scores[false], kind="stable")]
    kinds: dict[int, FalsePositive] = {}
    for members, objects in _by_picture(truth, matches.image[false]):
        chosen = matches.order[false[members]]
        iou = box_iou(_xyxy(predictions.boxes_xywh[chosen]), _xyxy(truth.boxes_xywh[objects]))
        found = _kinds(chosen, predictions.labels[chosen], iou, objects, truth.labels[objects], free[objects])
        kinds.update(zip(members.tolist(), found, strict=True))
        _confuse(confusion, predictions.labels[chosen], truth.labels[objects], iou, free[objects])
    np.add.at(confusion, (truth.labels[missed], np.full(len(missed), classes)), 1)
    confusion[:classes, classes] -= confusion[:classes, :classes].sum(axis=1) - np.diag(confusion)[:classes]
    return Mistakes(confidence, confusion, [kinds[place] for place in range(len(false))], missed.tolist())


def _by_picture(truth: GroundTruth, image: Int64) -> list[tuple[Int64, Int64]]:
    """For each picture with false positives their places, best score first, and the picture's objects."""
    if not len(image):
        return []
    order = np.argsort(image, kind="stable")
    pictures, starts = np.unique(image[order], return_index=True)
    by_image = np.lexsort((np.arange(len(truth)), truth.image))
    sorted_image = truth.image[by_image]
    groups = []
    for picture, members in zip(pictures, np.split(order, starts[1:]), strict=True):
        objects = by_image[slice(*np.searchsorted(sorted_image, [picture, picture + 1]))]
        groups.append((members, objects[~truth.ignored[objects]]))
    return groups


def _xyxy(boxes_xywh: FloatArray) -> FloatArray:
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1)


def _kinds(
    chosen: Int64, predicted: Int64, iou: FloatArray, objects: Int64, labels: Int64, free: NDArray[np.bool_]
) -> list[FalsePositive]:
    """Why each of one picture's false positives is one, from its IoU with each of the picture's objects."""
    if not len(objects):
        return [FalsePositive(prediction, Kind.BACKGROUND, None, 0.0, False) for prediction in chosen.tolist()]
    own = predicted[:, None] == labels
    same, other = np.where(own, iou, 0), np.where(own, 0, iou)
    best_same, best_other = same.max(axis=1), other.max(axis=1)
    choice = np.where((best_same < CLOSE) & (best_other >= CLOSE), other.argmax(axis=1), same.argmax(axis=1))
    rows = zip(chosen.tolist(), best_same.tolist(), best_other.tolist(), choice.tolist(), strict=True)
    result = []
    for prediction, with_same, with_other, nearest in rows:
        if with_same >= CLOSE:
            kind, overlap = Kind.DUPLICATE, with_same
        elif with_other >= CLOSE:
            kind, overlap = Kind.WRONG_CLASS, with_other
        elif with_same >= NEAR:
            kind, overlap = Kind.POOR_BOX, with_same
        else:
            result.append(FalsePositive(prediction, Kind.BACKGROUND, None, 0.0, False))
            continue
        result.append(FalsePositive(prediction, kind, int(objects[nearest]), overlap, bool(free[nearest])))
    return result


def _confuse(confusion: Int64, predicted: Int64, labels: Int64, iou: FloatArray, free: NDArray[np.bool_]) -> None:
    """Count one picture's false positives, each with the free object of another class that it takes, or nothing."""
    for row, label in enumerate(predicted):
        overlap = np.where(free & (labels != label), iou[row], 0)
        choice = int(overlap.argmax()) if len(overlap) else -1
        if choice >= 0 and overlap[choice] >= CLOSE:
            free[choice] = False
            confusion[labels[choice], label] += 1
        else:
            confusion[-1, label] += 1
