"""What is worth looking at: the worst false positives, the largest misses, labels that may be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import box_iou
from ..images import display_name
from .mistakes import FalsePositive, Kind, Mistakes
from .predictions import Predictions
from .truth import GroundTruth

SUSPECT_SCORE = 0.5
WRONG_CLASS_IOU = 0.7
TWICE_IOU = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """One box to look at.

    Attributes:
        image: index of the picture in the truth.
        words: what it is about, with class names.
        predicted_xywh: the detection, if there is one.
        true_xywh: the label, if there is one.
        score: of the detection.
        place: where the label stands in the user's files, or should stand.
    """

    image: int
    words: str
    predicted_xywh: NDArray[np.float64] | None
    true_xywh: NDArray[np.float64] | None
    score: float | None
    place: str

    def to_dict(self, truth: GroundTruth) -> dict[str, Any]:
        """JSON-ready; boxes are [x, y, width, height] in pixels."""

        def box(xywh: NDArray[np.float64] | None) -> list[float] | None:
            return None if xywh is None else [round(value, 2) for value in xywh.tolist()]

        return {
            "image_id": truth.samples[self.image].image_id,
            "what": self.words,
            "place": self.place,
            "score": self.score,
            "predicted": box(self.predicted_xywh),
            "label": box(self.true_xywh),
        }


def worst_false_positives(truth: GroundTruth, predictions: Predictions, mistakes: Mistakes, most: int) -> list[Finding]:
    """The false positives with the best scores."""
    return [
        _of_detection(truth, predictions, mistake, _false_words(truth, predictions, mistake))
        for mistake in mistakes.false_positives[:most]
    ]


def largest_misses(truth: GroundTruth, mistakes: Mistakes, most: int) -> list[Finding]:
    """The objects that weren't found, those that fill most of their picture first."""
    missed = np.array(mistakes.missed, np.int64)
    sizes = np.array([truth.samples[image].size_wh for image in truth.image[missed].tolist()]).reshape(-1, 2)
    share = truth.boxes_xywh[missed, 2] * truth.boxes_xywh[missed, 3] / sizes.prod(axis=1)
    order = np.argsort(-share, kind="stable")[:most]
    return [
        _of_label(truth, box, f"{truth.names[truth.labels[box]]} not found ({part:.0%} of the picture)")
        for box, part in zip(missed[order].tolist(), share[order].tolist(), strict=True)
    ]


def suspected_labels(truth: GroundTruth, predictions: Predictions, mistakes: Mistakes, most: int) -> list[Finding]:
    """Labels that a person should look at: where a sure detection and the labels contradict each other.

    A detection of score 0.5 or more is taken for a hint when nothing is labelled there, when it lies on an object of
    another class that wasn't found (IoU ≥ 0.7), or when the label of its class beside it has an IoU from 0.1 to 0.5
    and no better detection. Two labels of one class with an IoU of 0.9 or more are hints too, and come first.
    """
    found = _labelled_twice(truth)
    for mistake in mistakes.false_positives:
        if len(found) >= most or predictions.scores[mistake.prediction] < SUSPECT_SCORE:
            break
        words = _suspicion(truth, predictions, mistake)
        if words is not None:
            found.append(_of_detection(truth, predictions, mistake, words))
    return found[:most]


def _suspicion(truth: GroundTruth, predictions: Predictions, mistake: FalsePositive) -> str | None:
    name = truth.names[predictions.labels[mistake.prediction]]
    if mistake.kind is Kind.BACKGROUND:
        return f"{name} not labelled?"
    if mistake.object is None or not mistake.missed:
        return None
    if mistake.kind is Kind.WRONG_CLASS and mistake.iou >= WRONG_CLASS_IOU:
        return f"labelled {truth.names[truth.labels[mistake.object]]}, is it {name}?"
    return f"box of {name} drawn badly?" if mistake.kind is Kind.POOR_BOX else None


def _false_words(truth: GroundTruth, predictions: Predictions, mistake: FalsePositive) -> str:
    name = truth.names[predictions.labels[mistake.prediction]]
    if mistake.kind is Kind.WRONG_CLASS and mistake.object is not None:
        return f"{name}, labelled {truth.names[truth.labels[mistake.object]]}"
    return f"{name}: {mistake.kind}"


def _labelled_twice(truth: GroundTruth) -> list[Finding]:
    """Pairs of labels of one class in one picture that are nearly the same box, the most alike first."""
    xyxy = np.concatenate([truth.boxes_xywh[:, :2], truth.boxes_xywh[:, :2] + truth.boxes_xywh[:, 2:]], axis=1)
    group = truth.image * len(truth.names) + truth.labels
    group[truth.crowd] = -1
    order = np.argsort(group, kind="stable")
    keys, starts = np.unique(group[order], return_index=True)
    pairs = []
    for key, members in zip(keys.tolist(), np.split(order, starts[1:]), strict=False):
        if key < 0 or len(members) < 2:
            continue
        iou = np.triu(box_iou(xyxy[members], xyxy[members]), 1)
        pairs += [(float(iou[a, b]), int(members[a]), int(members[b])) for a, b in np.argwhere(iou >= TWICE_IOU)]
    pairs.sort(key=lambda pair: -pair[0])
    return [
        _of_label(truth, box, f"{truth.names[truth.labels[box]]} labelled twice? also {Path(truth.place(other)).name}")
        for _, other, box in pairs
    ]


def _of_detection(truth: GroundTruth, predictions: Predictions, mistake: FalsePositive, words: str) -> Finding:
    image = int(predictions.image[mistake.prediction])
    sample = truth.samples[image]
    return Finding(
        image,
        words,
        predictions.boxes_xywh[mistake.prediction],
        None if mistake.object is None else truth.boxes_xywh[mistake.object],
        float(predictions.scores[mistake.prediction]),
        display_name(sample.label_file or sample.image) if mistake.object is None else truth.place(mistake.object),
    )


def _of_label(truth: GroundTruth, box: int, words: str) -> Finding:
    return Finding(int(truth.image[box]), words, None, truth.boxes_xywh[box], None, truth.place(box))
