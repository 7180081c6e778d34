"""The interval: seeded, centred, as wide as the choice of pictures makes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from yolov3.evaluation.bootstrap import bootstrap_interval
from yolov3.evaluation.matching import match
from yolov3.evaluation.scoring import score

from .makers import box, found, predictions_of, truth_of


def scene(pictures: int, seed: int = 0) -> tuple[dict[int, list[dict[str, Any]]], list[dict[str, Any]]]:
    """Pictures with four objects each, of which about two in three are found, and false positives."""
    rng = np.random.default_rng(seed)
    boxes, entries = {}, []
    for picture in range(pictures):
        labels = rng.integers(0, 3, 4).tolist()
        boxes[picture] = [box(place * 100, 0, 80, 80, label) for place, label in enumerate(labels)]
        for place, label in enumerate(labels):
            if rng.random() < 0.65:
                entries.append(found(picture, place * 100 + rng.normal(0, 5), 0, 80, 80, label, rng.beta(3, 2)))
            entries.append(found(picture, place * 100, 300, 80, 80, label, rng.beta(2, 3)))
    return boxes, entries


def test_equal_seeds_give_equal_intervals_around_the_score() -> None:
    boxes, entries = scene(40)
    truth = truth_of(boxes)
    predictions = predictions_of(truth, entries)
    result = score(truth, predictions, resamples=200, seed=1)
    again = bootstrap_interval(truth, match(truth, predictions), resamples=200, seed=1)
    other = bootstrap_interval(truth, match(truth, predictions), resamples=200, seed=2)
    assert result.interval == again != other
    for bounds, name in ((again.AP, "AP"), (again.AP50, "AP50")):
        assert bounds is not None
        assert bounds[0] < result.metrics[name] < bounds[1]
    assert again.to_dict()["AP"] == list(again.AP or ())
    assert again.to_dict()["resamples"] == 200


def test_more_pictures_give_a_narrower_interval() -> None:
    widths = []
    for pictures in (20, 320):
        boxes, entries = scene(pictures)
        truth = truth_of(boxes)
        interval = bootstrap_interval(truth, match(truth, predictions_of(truth, entries)), resamples=200)
        assert interval.AP is not None
        widths.append(interval.AP[1] - interval.AP[0])
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.4)


def test_a_perfect_score_has_no_width_and_no_objects_no_interval() -> None:
    truth = truth_of({1: [box(0, 0, 50, 50)], 2: [box(0, 0, 50, 50)]})
    hits = predictions_of(truth, [found(id_, 0, 0, 50, 50, 0, 0.9) for id_ in (1, 2)])
    assert bootstrap_interval(truth, match(truth, hits), resamples=50).AP == (1.0, 1.0)
    empty = truth_of({1: []})
    assert bootstrap_interval(empty, match(empty, predictions_of(empty, [])), resamples=50).AP is None


def test_an_interval_that_is_not_asked_for_is_not_made() -> None:
    truth = truth_of({1: [box(0, 0, 50, 50)]})
    assert score(truth, predictions_of(truth, []), resamples=0).interval is None
