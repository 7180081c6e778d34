"""Which label file belongs to which picture, for YOLO's and Darknet's layouts."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from ..dataset import Sample
from ..pictures import Folders, is_picture_name, stem_of
from ..problems import Problem
from ..rows import NO_OBJECTS, Objects
from .label_bulk import read_plain
from .label_text import read_label_file

_SEPARATOR = re.escape(os.sep)
_LAST_IMAGES = re.compile(rf"(.*{_SEPARATOR}|)(?:images|JPEGImages)({_SEPARATOR}.*|)", re.DOTALL)
_NO_LABELS = frozenset({"classes.txt", "labels.txt", "train.txt", "val.txt", "valid.txt", "test.txt"})
"""Text files that stand among labels without being any."""


def label_folder(folder: str, folders: Folders) -> str:
    """Where the labels of a folder's pictures stand.

    The last `images` (or Pascal VOC's `JPEGImages`) in the path becomes `labels`, as Darknet does it; where there is
    no such folder, the labels stand beside the pictures, as in AlexeyAB's examples.
    """
    match = _LAST_IMAGES.fullmatch(folder)
    if match is None:
        return folder
    swapped = f"{match[1]}labels{match[2]}"
    return swapped if folders.listing(swapped) or not _has_labels(folder, folders) else folder


def _has_labels(folder: str, folders: Folders) -> bool:
    return any(_is_label_name(name) for name in folders.listing(folder))


def _is_label_name(name: str) -> bool:
    return name.lower().endswith(".txt") and name.lower() not in _NO_LABELS and not name.startswith(".")


def read_split(
    split: str, pictures: list[Path], names: tuple[str, ...], folders: Folders, problems: list[Problem]
) -> list[Sample]:
    """Read the labels of a split's pictures. Pictures without a label file are background, and reported."""
    parents = dict.fromkeys(os.path.dirname(picture) for picture in pictures)  # noqa: PTH120
    places = {folder: label_folder(folder, folders) for folder in parents}
    start = _common_length(places)
    files: list[str | None] = []
    owners: dict[str, Path] = {}
    for picture in pictures:
        folder, name = os.path.split(stem_of(os.fspath(picture)) + ".txt")
        there = name in folders.listing(places[folder])
        file = os.path.join(places[folder], name) if there else None  # noqa: PTH118
        files.append(file)
        if file is not None and (first := owners.setdefault(file, picture)) is not picture:
            words = f"shares its label file with {first.name}, expected one picture a label: rename one"
            problems.append(Problem("shared-label", picture, words, None, split, picture))
    samples = _read_samples(split, pictures, files, names, start, problems)
    missing = [_missing(picture, split) for picture, file in zip(pictures, files, strict=True) if file is None]
    _report_missing(split, pictures, missing, places, problems)
    _report_left_over(split, places, folders, problems)
    return samples


def _common_length(folders: Iterable[str]) -> int:
    """How many letters of all paths are the folder that they share; 0 where they share none."""
    try:
        return len(os.path.commonpath(list(folders)))
    except ValueError:  # absolute and relative ones, other drives, or no path at all
        return 0


def _read_samples(
    split: str,
    pictures: list[Path],
    files: list[str | None],
    names: tuple[str, ...],
    root_length: int,
    problems: list[Problem],
) -> list[Sample]:
    plain = read_plain([file for file in files if file is not None], len(names))
    samples = []
    for picture, file in zip(pictures, files, strict=True):
        image_id = stem_of(os.fspath(picture))[root_length:].replace(os.sep, "/").lstrip("/")
        if file is None:
            samples.append(Sample(picture, image_id, None, NO_OBJECTS, relative=True))
            continue
        label_file = Path(file)
        objects = next(plain)
        if not isinstance(objects, Objects):
            objects = read_label_file(label_file, picture, split, names, problems, objects)
        samples.append(Sample(picture, image_id, label_file, objects, relative=True))
    return samples


def _missing(picture: Path, split: str) -> Problem:
    words = "no label file, taken as background: an empty label file says so for certain"
    return Problem("missing-label", picture, words, None, split, picture)


def _report_missing(
    split: str, pictures: list[Path], missing: list[Problem], places: dict[str, str], problems: list[Problem]
) -> None:
    if pictures and len(missing) == len(pictures):
        words = f"none of the {len(pictures):,} pictures of {split} has a label file, expected some here"
        problems.append(Problem("no-labels", Path(next(iter(places.values()))), words, split=split))
    else:
        problems += missing


def _report_left_over(split: str, places: dict[str, str], folders: Folders, problems: list[Problem]) -> None:
    """Label files that belong to no picture in the folders that the split uses."""
    known: dict[str, set[str]] = defaultdict(set)
    for folder, labels in places.items():
        known[labels] |= {stem_of(name) for name in folders.listing(folder) if is_picture_name(name)}
    for labels, stems in known.items():
        for name in sorted(filter(_is_label_name, folders.listing(labels))):
            if not name.endswith(".txt"):
                words = f"suffix {name[-4:]}, expected .txt in small letters: rename it"
                problems.append(Problem("label-suffix", Path(labels, name), words, split=split))
            elif stem_of(name) not in stems:
                words = "a label file without a picture, expected one of the same name: add it or take this away"
                problems.append(Problem("label-without-picture", Path(labels, name), words, split=split))


def read_labels_alone(
    split: str, folder: Path, names: tuple[str, ...], folders: Folders, problems: list[Problem]
) -> list[Sample]:
    """Read the label files that belong to a folder, although it holds no picture: to check labels alone."""
    labels = Path(label_folder(os.fspath(folder), folders))
    found = sorted(file for file in labels.rglob("*.txt") if _is_label_name(file.name))
    pictures = [folder / file.relative_to(labels).with_suffix(".jpg") for file in found]
    files: list[str | None] = [os.fspath(file) for file in found]
    return _read_samples(split, pictures, files, names, len(os.fspath(folder)), problems)
