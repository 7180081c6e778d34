"""Score detections against true boxes: COCO's metrics, per class, with an interval, curves and mistakes.

One code for every engine and for training: whatever gives `Detections` can be scored.

    >>> evaluation = evaluate_detector(Detector("yolov3-tiny", **SCORING), load_dataset("data.yaml"))
    >>> print(evaluation.metrics["AP50"], evaluation.interval)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import Dataset
from .detections import Detections
from .evaluation.bootstrap import RESAMPLES
from .evaluation.classes import match_classes
from .evaluation.coco import require_evaluator
from .evaluation.predictions import Predictions, read_results, write_results
from .evaluation.running import Detect, Stopwatch, run_detector
from .evaluation.scoring import ClassScore, Evaluation, score
from .evaluation.truth import GroundTruth, Id

__all__ = [
    "SCORING",
    "ClassScore",
    "Evaluation",
    "GroundTruth",
    "Predictions",
    "evaluate",
    "evaluate_detector",
    "evaluate_results",
    "ground_truth",
    "read_results",
    "write_results",
]

SCORING: dict[str, Any] = {"conf": 0.001, "iou": 0.45, "max_det": 100, "multi_label": True}
"""The options of `Detector` with which models are scored; they decide the third digit of AP."""


def evaluate_detector(
    detector: Detect,
    dataset: Dataset,
    split: str | None = None,
    *,
    batch: int = 1,
    resamples: int = RESAMPLES,
    seed: int = 0,
    notes: Sequence[str] = (),
    about: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Run a detector over a split and score what it finds.

    Args:
        detector: anything that gives `Detections` for a picture, RGB uint8 (H, W, 3): a `Detector` with the options of
            `SCORING`, a network in training.
        dataset: from `load_dataset`.
        split: by default val, else test, else the only one.
        batch: how many pictures are given together to the detector's method `batch`, where it has one.
        resamples, seed: of the interval; 0 resamples leave it out.
        notes, about: carried into the result.
        progress: called with the numbers of pictures done and of all.

    Raises:
        UsageError: no such split.
        DataError: a picture can't be read, or the model lacks a class of the dataset.
        Yolov3Error: the evaluator isn't installed.
    """
    require_evaluator()
    truth = ground_truth(dataset, split)
    names = getattr(detector, "names", None)
    if names is not None:
        match_classes(names, truth.names, truth.objects)  # an unknown class shows before the hours, not after
    stopwatch = Stopwatch()
    pairs = run_detector(detector, truth.samples, stopwatch, batch=batch, progress=progress)
    predictions, class_notes = gather(pairs, truth)
    return score(
        truth,
        predictions,
        resamples=resamples,
        seed=seed,
        speed=stopwatch.speed(),
        notes=(*notes, *class_notes),
        about=about,
    )


def evaluate(
    pairs: Iterable[tuple[Id, Detections]],
    dataset: Dataset,
    split: str | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Score detections that are there already.

    Args:
        pairs: (the sample's `image_id`, its detections); a picture that doesn't come has none.
        dataset, split, resamples, seed: as in `evaluate_detector`.

    Raises:
        DataError: a picture that isn't the split's or comes twice, a box or score that isn't finite, a class of the
            dataset that the detections don't know.
        UsageError, Yolov3Error: as in `evaluate_detector`.
    """
    require_evaluator()
    truth = ground_truth(dataset, split)
    predictions, notes = gather(pairs, truth)
    return score(truth, predictions, resamples=resamples, seed=seed, notes=notes)


def ground_truth(dataset: Dataset, split: str | None = None) -> GroundTruth:
    """The true boxes of a split."""
    return GroundTruth.from_samples(dataset.split(split), dataset.names, dataset.category_ids)


def gather(pairs: Iterable[tuple[Id, Detections]], truth: GroundTruth) -> tuple[Predictions, tuple[str, ...]]:
    """Predictions in the dataset's classes, and notes about classes that don't match."""
    maps: dict[tuple[str, ...], NDArray[np.int64]] = {}
    notes: list[str] = []

    def class_map(names: Sequence[str]) -> NDArray[np.int64]:
        key = tuple(names)
        if key not in maps:
            found = match_classes(key, truth.names, truth.objects)
            maps[key] = found.to_dataset
            notes.extend(note for note in found.notes if note not in notes)
        return maps[key]

    return Predictions.from_detections(pairs, truth, class_map), tuple(notes)


def evaluate_results(
    path: str | os.PathLike[str],
    dataset: Dataset,
    split: str | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    about: Mapping[str, str] | None = None,
) -> Evaluation:
    """Score a COCO result file: a list of `{image_id, category_id, bbox, score}`.

    Ids are those of the samples (`Sample.image_id`) and the dataset's category ids, elsewhere as in
    `Detections.to_coco`.

    Raises:
        DataError: the file can't be read, or an entry can't be scored.
        UsageError, Yolov3Error: as in `evaluate_detector`.
    """
    require_evaluator()
    truth = ground_truth(dataset, split)
    return score(truth, read_results(path, truth), resamples=resamples, seed=seed, about=about)
