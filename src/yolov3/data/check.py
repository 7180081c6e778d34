"""Checking a dataset: everything that is wrong with it, in one pass, and what is in it. Nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..geometry import box_area
from ..images import display_name
from .dataset import Dataset, Kind, Sample
from .load import detect_kind, read_dataset
from .looks import find_leaks, look_at_pictures
from .problems import Problem, ProblemError, problem_of

SMALL, MEDIUM = 32.0**2, 96.0**2
"""COCO's limits between small, medium and large boxes, in square pixels."""

_SEVERITIES = ("error", "warning", "note")
_PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """What one split holds.

    Attributes:
        pictures: how many pictures.
        boxes: how many boxes are written in its files, sound or not.
        unusable: how many of those can't be used.
        background: how many pictures have no usable box.
        unlabelled: how many pictures have no label file at all.
        classes: usable boxes of each class, in the order of the names.
        sizes: usable boxes that are small, medium and large by COCO's limits; None where sizes aren't known.
        side_percentiles: 5, 25, 50, 75, 95 % of the boxes' sides (the root of the area) as parts of the picture's; None
            where sizes aren't known or there is no box.
    """

    pictures: int
    boxes: int
    unusable: int
    background: int
    unlabelled: int
    classes: tuple[int, ...]
    sizes: tuple[int, int, int] | None
    side_percentiles: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Report:
    """What `check_dataset` found.

    Attributes:
        path: the dataset.
        kind: what it is.
        names: the class names.
        labels_only: pictures were not looked at.
        splits: what each split holds.
        problems: all that was found, errors first.
    """

    path: Path
    kind: Kind
    names: tuple[str, ...] = ()
    labels_only: bool = False
    splits: Mapping[str, SplitSummary] = field(default_factory=dict)
    problems: Sequence[Problem] = ()

    def count(self, severity: str) -> int:
        """How many problems are "error", "warning" or "note"."""
        return sum(problem.severity == severity for problem in self.problems)

    @property
    def exit_code(self) -> int:
        """3 when something is wrong (an error or a warning), else 0."""
        return 3 if self.count("error") or self.count("warning") else 0

    def summary_rows(self) -> list[tuple[str, ...]]:
        """A table, head first: a row a split."""
        head = ("split", "pictures", "boxes", "unusable", "background", "classes", "small", "medium", "large")
        rows: list[tuple[str, ...]] = [head]
        for split, found in self.splits.items():
            sizes = found.sizes or ("", "", "")
            classes = sum(count > 0 for count in found.classes)
            numbers = (found.pictures, found.boxes, found.unusable, found.background, classes, *sizes)
            rows.append((split, *(str(number) for number in numbers)))
        return rows

    def class_rows(self) -> list[tuple[str, ...]]:
        """A table, head first: a row a class with its usable boxes in each split."""
        rows = [("class", *self.splits)]
        for label, name in enumerate(self.names):
            rows.append((name, *(str(found.classes[label]) for found in self.splits.values())))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the summary of each split and every problem."""
        return {
            "path": display_name(self.path),
            "kind": self.kind,
            "names": list(self.names),
            "labels_only": self.labels_only,
            "ok": self.exit_code == 0,
            "counts": {f"{severity}s": self.count(severity) for severity in _SEVERITIES},
            "splits": {split: self._split_dict(found) for split, found in self.splits.items()},
            "problems": [problem.to_dict() for problem in self.problems],
        }

    def _split_dict(self, found: SplitSummary) -> dict[str, Any]:
        sizes = found.sizes and dict(zip(("small", "medium", "large"), found.sizes, strict=True))
        sides = found.side_percentiles and dict(
            zip(map(str, _PERCENTILES), (round(side, 6) for side in found.side_percentiles), strict=True)
        )
        return {
            "pictures": found.pictures,
            "boxes": found.boxes,
            "unusable": found.unusable,
            "background": found.background,
            "unlabelled": found.unlabelled,
            "classes": dict(zip(self.names, found.classes, strict=True)),
            "sizes": sizes,
            "side_percentiles": sides,
        }


def check_dataset(
    path: str | os.PathLike[str],
    *,
    split: str | None = None,
    images: str | os.PathLike[str] | None = None,
    labels_only: bool = False,
) -> Report:
    """Find everything that is wrong with a dataset, and count what it holds.

    Args:
        path: a data.yaml, a COCO JSON, a Pascal VOC root, a Darknet .data file, or a folder with one.
        split: the one split to check; None for all, with leakage between them.
        images: the pictures' folder, for COCO files and VOC roots that don't stand beside it.
        labels_only: don't open pictures (and where a YOLO folder holds none, check its label files all the same).

    Raises:
        DataError: `path` is no dataset.
        UsageError: there is no such split, or an option doesn't fit the kind.
    """
    kind, file = detect_kind(Path(path))
    try:
        dataset = read_dataset(path, split=split, images=images, labels_only=labels_only)
    except ProblemError as error:
        return Report(file, kind, labels_only=labels_only, problems=(error.problem,))
    except DataError as error:
        problem = problem_of("description", file, error)
        return Report(file, kind, labels_only=labels_only, problems=(problem,))
    problems = list(dataset.problems)
    if not labels_only:
        looks = look_at_pictures(dataset, problems)
        for sample in _all_samples(dataset):
            if sample.image in looks:
                sample.note_size(looks[sample.image].size_wh)
        problems += find_leaks(dataset.samples, looks)
    problems += _class_balance(dataset)
    splits = {name: _summarise(dataset, name, members, problems) for name, members in dataset.samples.items()}
    return Report(dataset.path, kind, dataset.names, labels_only, splits, _in_order(problems))


def _all_samples(dataset: Dataset) -> Iterable[Sample]:
    return (sample for members in dataset.samples.values() for sample in members)


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Errors first; each finding once, though two splits may share a picture."""
    unique: dict[tuple[str, Path, int | None, str], Problem] = {}
    for problem in problems:
        unique.setdefault((problem.code, problem.file, problem.line, problem.message), problem)
    return tuple(sorted(unique.values(), key=lambda problem: _SEVERITIES.index(problem.severity)))


def _count_classes(members: Iterable[Sample], count: int) -> NDArray[np.int64]:
    labels = [sample.labels for sample in members if len(sample.labels)]
    if not labels or not count:
        return np.zeros(count, np.int64)
    return np.bincount(np.concatenate(labels), minlength=count).astype(np.int64)


def _class_balance(dataset: Dataset) -> Iterable[Problem]:
    """Classes that never occur, and those that are scored but never trained."""
    count = len(dataset.names)
    found = {split: _count_classes(members, count) for split, members in dataset.samples.items()}
    total = sum(found.values(), np.zeros(count, np.int64))
    for label, name in enumerate(dataset.names):
        if not total[label]:
            yield Problem("class-absent", dataset.path, f"no box of class {label}, {name}")
        elif "train" in found and not found["train"][label]:
            elsewhere = ", ".join(split for split, counts in found.items() if counts[label])
            words = f"class {label}, {name}, occurs in {elsewhere} but not in train, expected some there"
            yield Problem("class-unseen", dataset.path, words)


def _summarise(dataset: Dataset, split: str, members: Sequence[Sample], problems: Iterable[Problem]) -> SplitSummary:
    usable = sum(len(sample.labels) for sample in members)
    kept_repeats = dataset.kind == "coco"
    bad_rows = {
        (problem.file, problem.row)
        for problem in problems
        if problem.split == split and problem.scope == "row"
        if problem.severity == "error" or not kept_repeats
    }
    return SplitSummary(
        pictures=len(members),
        boxes=usable + len(bad_rows),
        unusable=len(bad_rows),
        background=sum(not len(sample.labels) for sample in members),
        unlabelled=sum(sample.label_file is None for sample in members),
        classes=tuple(_count_classes(members, len(dataset.names)).tolist()),
        sizes=_sizes(members),
        side_percentiles=_side_percentiles(members),
    )


def _sizes(members: Sequence[Sample]) -> tuple[int, int, int] | None:
    """How many boxes are small, medium and large, in the pictures whose size is known; None where none is."""
    known = [sample.areas for sample in members if sample.known_wh]
    if not known:
        return None
    areas = np.concatenate(known)
    small, large = int((areas < SMALL).sum()), int((areas > MEDIUM).sum())
    return small, len(areas) - small - large, large


def _side_percentiles(members: Iterable[Sample]) -> tuple[float, ...] | None:
    """Percentiles of the boxes' sides as parts of their pictures'."""
    boxes = [sample.relative_boxes() for sample in members if len(sample.labels)]
    known = [part for part in boxes if part is not None]
    if not known:
        return None
    return tuple(np.percentile(np.sqrt(box_area(np.concatenate(known))), _PERCENTILES).tolist())
