"""Precision, recall and F1 of every class at every confidence, and the confidence of the best F1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .matching import Matches

Float64 = NDArray[np.float64]

CONFIDENCES = np.linspace(0.0, 1.0, 1001)


@dataclass(frozen=True, slots=True, eq=False)
class ConfidenceCurves:
    """What keeping only detections of at least some score gives, at IoU 0.50. All arrays are (classes, 1001).

    Attributes:
        precision: true positives among the detections kept; NaN where none is.
        recall: true positives among the objects; NaN for a class without objects.
        f1: their harmonic mean, 0 where nothing is found; NaN for a class without objects.
    """

    precision: Float64
    recall: Float64
    f1: Float64

    @property
    def mean_f1(self) -> Float64:
        """F1 (1001,), the mean over classes that have objects; zeros where none has."""
        present = self.f1[~np.isnan(self.f1[:, 0])]
        return np.asarray(present.mean(axis=0)) if len(present) else np.zeros(len(CONFIDENCES))

    @property
    def best(self) -> int:
        """Index of the confidence at which the mean F1 is largest; of equals the lowest."""
        return int(self.mean_f1.argmax())


def confidence_curves(matches: Matches) -> ConfidenceCurves:
    """Count what is left of each class at each of `CONFIDENCES`."""
    hits, counted = matches.hits[0], ~matches.ignored[0]
    kept = np.zeros((len(matches.objects), len(CONFIDENCES)))
    true = np.zeros_like(kept)
    for label, (start, stop) in enumerate(zip(matches.starts[:-1], matches.starts[1:], strict=True)):
        part = slice(start, stop)
        rank = np.searchsorted(-matches.scores[part], -CONFIDENCES, side="right")
        kept[label] = np.append(0, np.cumsum(counted[part]))[rank]
        true[label] = np.append(0, np.cumsum(hits[part]))[rank]
    objects = np.where(matches.objects > 0, matches.objects, np.nan)[:, None]
    precision = np.divide(true, kept, out=np.full_like(kept, np.nan), where=kept > 0)
    return ConfidenceCurves(precision, true / objects, 2 * true / (kept + objects))
