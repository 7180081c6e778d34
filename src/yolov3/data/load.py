"""Loading a dataset of any kind, told by what is given."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..errors import DataError, UsageError
from ..images import display_name
from .dataset import Dataset, Kind
from .formats.coco import read_coco
from .formats.darknet import read_darknet
from .formats.voc import read_voc
from .formats.yolo import read_yolo
from .pictures import is_file, is_folder
from .problems import Problem, Scope, raise_first

BadLabels = Literal["error", "skip-row", "skip-image"]
_BAD_LABELS = ("error", "skip-row", "skip-image")
_ADVICE: dict[Scope, str] = {
    "row": "`--bad-labels skip-row` leaves it out",
    "image": "`--bad-labels skip-image` leaves the picture out",
}


class NoSplitError(UsageError):
    """A split is asked for that the dataset doesn't have."""


def load_dataset(
    path: str | os.PathLike[str],
    *,
    split: str | Sequence[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    bad_labels: BadLabels = "error",
    need_pictures: bool = True,
) -> Dataset:
    """Load a dataset: a data.yaml, a COCO JSON, a Pascal VOC root, a Darknet .data file, or a folder with one.

    Pictures aren't opened, unless an annotation in pixels doesn't say their size. A box that reaches out of its picture
    by less than the tolerance (a thousandth of the side in YOLO and Darknet files, a pixel in the others) is clipped,
    save in COCO files, which are kept to the digit. A repeated box is kept out, again save in COCO files.

    Args:
        path: what to load.
        split: the one split to load, and of several names the first that the dataset has; all where it has none of
            them, or for None. A single COCO file is one split, whatever its name.
        images: the pictures' folder, for COCO files and VOC roots that don't stand beside it.
        bad_labels: what to do about rows that can't be used: "error", or leave them out ("skip-row"), or leave out
            their pictures ("skip-image"); what was left out stands in the result's `problems`.
        need_pictures: False for who uses the boxes alone: COCO and VOC files that say the pictures' sizes will do.

    Raises:
        DataError: the dataset, or one of its rows, can't be used; one line, with the number of further problems.
        UsageError: there is no such split, or an option doesn't fit the kind.
    """
    if bad_labels not in _BAD_LABELS:
        raise UsageError(f"bad labels: {bad_labels!r}, expected one of {', '.join(_BAD_LABELS)}")
    dataset = _read_one_of(path, split, images)
    if not need_pictures and dataset.kind in ("coco", "voc"):
        problems = [problem for problem in dataset.problems if problem.code != "picture-missing"]
        dataset = replace(dataset, problems=problems)
    tolerated = {"error": (), "skip-row": ("row",), "skip-image": ("row", "image")}[bad_labels]
    raise_first((problem for problem in dataset.problems if problem.scope not in tolerated), _ADVICE)
    if bad_labels == "skip-image":
        dataset = _without_bad_images(dataset)
    if not len(dataset):
        raise DataError(f"{display_name(dataset.path)}: no picture is left, expected some")
    return dataset


def _read_one_of(
    path: str | os.PathLike[str], split: str | Sequence[str] | None, images: str | os.PathLike[str] | None
) -> Dataset:
    if split is None or isinstance(split, str):
        return read_dataset(path, split=split, images=images)
    for name in split:
        with suppress(NoSplitError):
            return read_dataset(path, split=name, images=images)
    return read_dataset(path, images=images)


def _without_bad_images(dataset: Dataset) -> Dataset:
    bad = {problem.image for problem in dataset.problems if problem.severity == "error" and problem.image is not None}
    samples = {
        split: [sample for sample in members if sample.image not in bad] for split, members in dataset.samples.items()
    }
    return replace(dataset, samples=samples)


def read_dataset(
    path: str | os.PathLike[str],
    *,
    split: str | None = None,
    images: str | os.PathLike[str] | None = None,
    labels_only: bool = False,
) -> Dataset:
    """Read a dataset with everything that is wrong with it in `problems`; rows that can't be used are left out.

    Args:
        path, split, images: as in `load_dataset`.
        labels_only: pictures needn't be there.

    Raises:
        DataError: `path` is no dataset, or there is nothing to go on (`problems.ProblemError`, with the problem).
        UsageError: as in `load_dataset`.
    """
    kind, file = detect_kind(Path(path))
    folder = None if images is None else Path(images)
    if folder is not None and kind not in ("coco", "voc"):
        raise UsageError(f"{display_name(path)}: a folder of pictures can only be given for COCO and VOC datasets")
    if folder is not None and not is_folder(folder):
        raise UsageError(f"{display_name(folder)}: no such folder, expected the one that holds the pictures")
    if kind == "coco":
        dataset = read_coco(file, images=folder, only=split, labels_only=labels_only)
    elif kind == "voc":
        dataset = read_voc(file, images=folder, only=split, labels_only=labels_only)
    elif kind == "darknet":
        dataset = read_darknet(file, only=split)
    else:
        dataset = read_yolo(file, only=split, labels_only=labels_only)
    single = kind == "coco" and is_file(file)
    if split is not None and split not in dataset.samples and not single:
        raise NoSplitError(f"{display_name(path)}: no split {split}")
    return replace(dataset, problems=[*dataset.problems, *_across(dataset)])


def detect_kind(path: Path) -> tuple[Kind, Path]:
    """What kind of dataset a path is, and the file or folder to read.

    Raises:
        DataError: it is none.
    """
    suffixes: dict[str, Kind] = {".yaml": "yolo", ".yml": "yolo", ".json": "coco", ".data": "darknet"}
    if is_file(path) and path.suffix.lower() in suffixes:
        return suffixes[path.suffix.lower()], path
    if is_folder(path):
        for name in ("data.yaml", "data.yml", "dataset.yaml"):
            if is_file(path / name):
                return "yolo", path / name
        if any((path / "annotations").glob("*.json")):
            return "coco", path / "annotations"
        if is_folder(path / "Annotations"):
            return "voc", path
    found = "isn't there" if not is_folder(path) and not is_file(path) else "no dataset"
    expected = "a data.yaml, a COCO .json, a Darknet .data file, or a folder with data.yaml or VOC's Annotations"
    raise DataError(f"{display_name(path)}: {found}, expected {expected}")


def _across(dataset: Dataset) -> Sequence[Problem]:
    """What only shows when a split is looked at as a whole, or beside another."""
    problems = []
    for split, members in dataset.samples.items():
        blamed = any(problem.split == split and problem.severity == "error" for problem in dataset.problems)
        if not members and not blamed:
            words = f"{split}: no picture, expected some"
            problems.append(Problem("no-pictures", dataset.path, words, split=split))
        elif (
            members and not any(map(len, (sample.objects for sample in members))) and dataset.samples.keys() != {split}
        ):
            words = f"{split}: no box in {len(members):,} pictures, expected some"
            problems.append(Problem("split-without-boxes", dataset.path, words, split=split))
    everything = [sample for members in dataset.samples.values() for sample in members]
    if everything and not any(len(sample.objects) for sample in everything):
        words = f"no usable box in {len(everything):,} pictures, expected some: is this the right dataset?"
        problems.append(Problem("no-boxes", dataset.path, words))
    return problems + _overlaps(dataset)


def _overlaps(dataset: Dataset) -> list[Problem]:
    problems = []
    for (split, members), (other, others) in itertools.combinations(dataset.samples.items(), 2):
        common = {sample.image for sample in members} & {sample.image for sample in others}
        if common:
            words = f"{len(common):,} of {other}'s {len(others):,} pictures are in {split} too, expected none"
            problems.append(Problem("split-overlap", dataset.path, f"{words}: scores will flatter", split=other))
    return problems
