"""`score`: predictions and truth → `Evaluation`, everything that there is to say about a detector's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .bootstrap import RESAMPLES, Interval, bootstrap_interval
from .coco import CocoScores, coco_scores
from .curves import CONFIDENCES, ConfidenceCurves, confidence_curves
from .findings import suspected_labels
from .matching import Matches, match
from .mistakes import Mistakes, find_mistakes
from .predictions import Predictions
from .running import Speed
from .truth import GroundTruth

MOST_SUSPECTS = 24


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class. Scores are None where they mean nothing: AP and recall without objects, precision without detections.

    Attributes:
        name: of the class.
        pictures: in which it has an object.
        objects: how many there are to find.
        detections: how many there are at all scores.
        AP, AP50, AP75, AR100: COCO's.
        precision, recall, f1: at IoU 0.50 and the confidence of `Evaluation.best`.
    """

    name: str
    pictures: int
    objects: int
    detections: int
    AP: float | None
    AP50: float | None
    AP75: float | None
    AR100: float | None
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class BestF1:
    """The confidence at which F1, the mean over classes with objects, is largest at IoU 0.50, and what it gives.

    Attributes:
        confidence: 0 to 1, in steps of 0.001.
        f1, precision, recall: means over classes; precision over those with detections. None where none is.
    """

    confidence: float
    f1: float | None
    precision: float | None
    recall: float | None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that scoring gives; `to_dict` has the numbers.

    Attributes:
        metrics: `AP, AP50, AP75, AP_small, AP_medium, AP_large, AR1, AR10, AR100, AR_small, AR_medium, AR_large`; None
            where there is no object of the kind.
        per_class: every class of the dataset, also those without objects, which no mean includes.
        interval: of AP and AP50; None when it wasn't asked for.
        speed: None when nothing was run.
        best: the confidence of the best F1.
        notes: what the reader should know, a line each.
        about: what was scored how, for reports.
        truth, predictions, matches, coco, curves, mistakes: what the numbers were made of.
    """

    metrics: dict[str, float | None]
    per_class: list[ClassScore]
    interval: Interval | None
    speed: Speed | None
    best: BestF1
    notes: tuple[str, ...]
    about: Mapping[str, str]
    truth: GroundTruth = field(repr=False)
    predictions: Predictions = field(repr=False)
    matches: Matches = field(repr=False)
    coco: CocoScores = field(repr=False)
    curves: ConfidenceCurves = field(repr=False)
    mistakes: Mistakes = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "about": dict(self.about),
            "metrics": self.metrics,
            "interval": self.interval and self.interval.to_dict(),
            "best_f1": asdict(self.best),
            "per_class": [asdict(score) for score in self.per_class],
            "confusion": self._confusion(),
            "suspected_labels": [
                finding.to_dict(self.truth)
                for finding in suspected_labels(self.truth, self.predictions, self.mistakes, MOST_SUSPECTS)
            ],
            "speed": self.speed and self.speed.to_dict(),
            "pictures": len(self.truth.samples),
            "objects": int(self.truth.objects.sum()),
            "detections": len(self.predictions),
            "notes": list(self.notes),
        }

    def _confusion(self) -> list[dict[str, Any]]:
        """The cells of the confusion matrix that aren't 0; None stands for "nothing"."""
        names = [*self.truth.names, None]
        rows, columns = np.nonzero(self.mistakes.confusion)
        return [
            {"true": names[row], "predicted": names[column], "count": int(self.mistakes.confusion[row, column])}
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        ]


def score(
    truth: GroundTruth,
    predictions: Predictions,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    speed: Speed | None = None,
    notes: Sequence[str] = (),
    about: Mapping[str, str] | None = None,
) -> Evaluation:
    """Score predictions, whatever they came from.

    Raises:
        Yolov3Error: the evaluator isn't installed.
    """
    coco = coco_scores(truth, predictions)
    matches = match(truth, predictions)
    curves = confidence_curves(matches)
    mistakes = find_mistakes(truth, predictions, matches, float(CONFIDENCES[curves.best]))
    interval = bootstrap_interval(truth, matches, resamples=resamples, seed=seed) if resamples else None
    remarks = list(notes)
    if not truth.objects.any():
        remarks.append("there is no object to find, so nothing can be scored")
    return Evaluation(
        coco.metrics(),
        _per_class(truth, predictions, coco, curves),
        interval,
        speed,
        _best_f1(curves),
        tuple(remarks),
        about or {},
        truth,
        predictions,
        matches,
        coco,
        curves,
        mistakes,
    )


def _per_class(
    truth: GroundTruth, predictions: Predictions, coco: CocoScores, curves: ConfidenceCurves
) -> list[ClassScore]:
    """One row a class, in the dataset's order."""
    counted = ~truth.ignored
    with_pictures = np.unique(np.stack([truth.labels[counted], truth.image[counted]]), axis=1)[0]
    pictures = np.bincount(with_pictures, minlength=len(truth.names)).tolist()
    detections = np.bincount(predictions.labels, minlength=len(truth.names)).tolist()
    return [
        ClassScore(
            name,
            pictures[label],
            int(truth.objects[label]),
            detections[label],
            **coco.of_class(label),
            precision=_number(curves.precision[label, curves.best]),
            recall=_number(curves.recall[label, curves.best]),
            f1=_number(curves.f1[label, curves.best]),
        )
        for label, name in enumerate(truth.names)
    ]


def _best_f1(curves: ConfidenceCurves) -> BestF1:
    present = ~np.isnan(curves.recall[:, 0])
    columns = (table[present, curves.best] for table in (curves.f1, curves.precision, curves.recall))
    means = [_number(column[~np.isnan(column)].mean()) if not np.isnan(column).all() else None for column in columns]
    return BestF1(float(CONFIDENCES[curves.best]), *means)


def _number(value: float) -> float | None:
    """A float for JSON, None for NaN."""
    return None if np.isnan(value) else float(value)
