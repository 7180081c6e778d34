"""How often the interval on AP holds what it should: python benchmarks/interval.py [--datasets 150] [--draws 200]

Invents datasets with a detector of known habits, so that the AP which datasets of a size have on average is known, and
counts in how many of them the interval of that one dataset contains it. A perfect 95 % interval would in 95 %.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from yolov3.data import Sample
from yolov3.data.rows import NO_OBJECTS
from yolov3.evaluation.bootstrap import WeightedScorer, bootstrap_interval
from yolov3.evaluation.matching import match
from yolov3.evaluation.predictions import Predictions
from yolov3.evaluation.truth import GroundTruth

PLACES = 12
"""Objects stand in so many cells of a picture, far from each other, so that none is taken for another."""


def invent(rng: np.random.Generator, pictures: int, classes: int) -> tuple[GroundTruth, Predictions]:
    """Pictures with 0 to 12 objects, most of the first classes, and what a middling detector makes of them."""
    share = 1 / np.arange(1, classes + 1)
    cells = rng.random((pictures, PLACES)) < rng.beta(1.5, 2, (pictures, 1))
    image, place = np.nonzero(cells)
    labels = rng.choice(classes, len(image), p=share / share.sum())
    boxes = np.column_stack([place * 100.0, np.zeros(len(place)), np.full((len(place), 2), 80.0)])
    samples = tuple(Sample(Path("picture.png"), number, None, NO_OBJECTS) for number in range(pictures))
    nothing = np.zeros(len(image), np.bool_)
    truth = GroundTruth(
        tuple(map(str, range(classes))), tuple(range(classes)), samples, image, boxes, labels,
        np.full(len(image), 6400.0), nothing, np.zeros(len(image), np.int64),
    )  # fmt: skip
    found = rng.random(len(image)) < 0.65
    near = boxes[found] + rng.normal(0, 5, (found.sum(), 4))
    ghosts = rng.poisson(4, pictures)
    ghost_boxes = np.column_stack([rng.integers(0, PLACES, ghosts.sum()) * 100.0, np.full((ghosts.sum(), 3), 80.0)])
    ghost_boxes[:, 1] = 300.0
    predictions = Predictions(
        np.concatenate([image[found], np.repeat(np.arange(pictures), ghosts)]),
        np.concatenate([near, ghost_boxes]),
        np.concatenate([labels[found], rng.choice(classes, ghosts.sum(), p=share / share.sum())]),
        np.concatenate([rng.beta(3, 2, found.sum()), rng.beta(2, 3, ghosts.sum())]),
    )
    return truth, predictions


def coverage(pictures: int, classes: int, datasets: int, draws: int) -> tuple[float, float, float]:
    """The mean AP of datasets of this size, the intervals' mean width, and the share of them that contain the mean."""
    rng = np.random.default_rng(pictures * 1000 + classes)
    scores, intervals = [], []
    for index in range(datasets):
        truth, predictions = invent(rng, pictures, classes)
        matches = match(truth, predictions)
        table = WeightedScorer(truth, matches).average_precision(np.ones(pictures, np.int64))
        interval = bootstrap_interval(truth, matches, resamples=draws, seed=index)
        assert interval.AP is not None
        scores.append(float(np.nanmean(table)))
        intervals.append(interval.AP)
    mean = float(np.mean(scores))
    low, high = np.array(intervals).T
    return mean, float((high - low).mean()), float(((low <= mean) & (mean <= high)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=150)
    parser.add_argument("--draws", type=int, default=200)
    options = parser.parse_args()
    for pictures, classes in ((100, 3), (500, 20), (128, 60)):
        mean, width, share = coverage(pictures, classes, options.datasets, options.draws)
        words = f"{pictures} pictures, {classes} classes: mean AP {mean:.3f}, intervals {width:.3f} wide"
        print(f"{words}, {share:.0%} contain the mean", flush=True)


if __name__ == "__main__":
    main()
