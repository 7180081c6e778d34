"""How far AP would move with other pictures of the same kind: a bootstrap over pictures, from cached matches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .coco import RECALL_POINTS
from .matching import Matches
from .truth import GroundTruth

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """Where AP and AP50 lie with other pictures of the same kind.

    Attributes:
        AP, AP50: (low, high); None where there is nothing to score.
        resamples: how often pictures were drawn.
        seed: of the draws.
        level: the share of resamples inside.
    """

    AP: tuple[float, float] | None
    AP50: tuple[float, float] | None
    resamples: int
    seed: int
    level: float = LEVEL

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "AP": self.AP and list(self.AP),
            "AP50": self.AP50 and list(self.AP50),
            "level": self.level,
            "resamples": self.resamples,
            "seed": self.seed,
            "method": "bootstrap over pictures, percentiles centred on the score",
        }


def bootstrap_interval(truth: GroundTruth, matches: Matches, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Draw as many pictures as there are, with replacement, and score those, `resamples` times.

    A picture drawn n times counts n times, with all its objects and detections; a class without an object in a draw
    is left out of that draw's mean. Scores of draws are somewhat high (a picture that is drawn twice brings no new
    false positives), so their percentiles are moved by the distance of their mean from the score itself; what that
    covers stands in docs/evaluation.md. The interval tells what the choice of pictures does, not what another
    training run would do.

    Args:
        truth, matches: from `match`.
        resamples: how often.
        seed: equal seeds give equal intervals.
    """
    pictures = len(truth.samples)
    if not matches.objects.any():
        return Interval(None, None, resamples, seed)
    scorer = WeightedScorer(truth, matches)
    rng = np.random.default_rng(seed)
    score = _means(scorer.average_precision(np.ones(pictures, np.int64)))
    chances = np.full(pictures, 1 / pictures)
    tables = (scorer.average_precision(rng.multinomial(pictures, chances)) for _ in range(resamples))
    draws = np.array([_means(table) for table in tables if not np.isnan(table).all()]).reshape(-1, 2)
    if not len(draws):
        return Interval(None, None, resamples, seed)
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0) + score - draws.mean(axis=0)
    (low_ap, low_ap50), (high_ap, high_ap50) = np.clip([low, high], 0, 1).tolist()
    return Interval((low_ap, high_ap), (low_ap50, high_ap50), resamples, seed)


def _means(table: Float64) -> tuple[float, float]:
    """AP and AP50 over classes that have objects."""
    return float(np.nanmean(table)), float(np.nanmean(table[0]))


class WeightedScorer:
    """AP of every class at every IoU threshold when each picture counts a whole number of times.

    A "group" is a class at a threshold. Precision peaks at true positives, so only these are looked at. All places
    in the sorted lists are found once; a draw is then a few running sums over flat arrays.
    """

    def __init__(self, truth: GroundTruth, matches: Matches) -> None:
        self._classes = np.flatnonzero(matches.objects)
        self._all_classes, self._thresholds = len(matches.objects), len(matches.found)
        self._object_image, self._object_label = truth.image[~truth.ignored], truth.labels[~truth.ignored]
        self._image = matches.image
        total = len(matches.image)

        # True positives, and detections that don't count, of all thresholds in one list: threshold · D + place.
        hit_row, hit_place = np.nonzero(matches.hits)
        ignored_row, ignored_place = np.nonzero(matches.ignored)
        hit_key, ignored_key = hit_row * total + hit_place, ignored_row * total + ignored_place
        edges = (np.arange(self._thresholds)[:, None] * total + matches.starts[:-1]).ravel()

        self._hit_image, self._ignored_image = matches.image[hit_place], matches.image[ignored_place]
        self._hit_end = hit_place + 1
        self._hit_class_start = matches.starts[matches.labels[hit_place]]
        self._group = hit_row * self._all_classes + matches.labels[hit_place]
        self._group_start = np.searchsorted(hit_key, edges)
        self._group_end = np.append(self._group_start[1:], len(hit_key))
        self._ignored_before = np.searchsorted(ignored_key, hit_key)
        self._ignored_at_start = np.searchsorted(ignored_key, edges)[self._group]

    def average_precision(self, weights: Int64) -> Float64:
        """AP (thresholds, classes), NaN for a class without an object.

        Args:
            weights: int (pictures,), how often each picture counts.
        """
        detections = _running(weights[self._image])
        ignored = _running(weights[self._ignored_image])
        hits = _running(weights[self._hit_image])
        # After each true positive: how many of its group's detections and true positives there are.
        counted = detections[self._hit_end] - detections[self._hit_class_start]
        counted -= ignored[self._ignored_before] - ignored[self._ignored_at_start]
        true = hits[1:] - hits[self._group_start[self._group]]
        precision = true / np.maximum(counted, 1)
        peak = _best_from_here_on(precision, self._group, self._thresholds * self._all_classes)

        objects = np.bincount(self._object_label, weights[self._object_image], self._all_classes).astype(np.int64)
        present = self._classes[objects[self._classes] > 0]
        table = np.full((self._thresholds, self._all_classes), np.nan)
        groups = (np.arange(self._thresholds)[:, None] * self._all_classes + present).ravel()
        needed = np.tile(_needed_hits(objects[present]), (self._thresholds, 1))
        # Within a group `true` never falls, so group · span + true is sorted through all groups.
        span = int(objects.max(initial=0)) + 2
        index = np.searchsorted(self._group * span + true, groups[:, None] * span + needed)
        reached = index < self._group_end[groups][:, None]
        values = np.append(peak, 0.0)[np.where(reached, index, len(peak))]
        table[:, present] = values.mean(axis=1).reshape(self._thresholds, len(present))
        return table


def _running(values: Int64) -> Int64:
    """Sums of the first 0, 1, 2, … values."""
    return np.concatenate([[0], np.cumsum(values, dtype=np.int64)])


def _best_from_here_on(precision: Float64, group: Int64, groups: int) -> Float64:
    """The largest precision from each place to the end of its group."""
    lifted = precision + 2.0 * (groups - group)  # an earlier group always lies above a later one
    return np.asarray(np.maximum.accumulate(lifted[::-1])[::-1] - 2.0 * (groups - group))


def _needed_hits(objects: Int64) -> Int64:
    """For each class and each of COCO's 101 recalls the least number of true positives that reaches it, (classes, 101).

    Compared as the evaluator does: hits / objects ≥ recall in float64.
    """
    count = objects[:, None]
    needed = np.ceil(RECALL_POINTS * count)
    needed -= (needed - 1) / count >= RECALL_POINTS
    needed += needed / count < RECALL_POINTS
    return np.asarray(np.maximum(needed, 0), np.int64)
