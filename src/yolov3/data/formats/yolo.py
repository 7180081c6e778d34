"""YOLO datasets: a data.yaml, folders or lists of pictures, a label file a picture."""

from __future__ import annotations

import os
from pathlib import Path

from ..dataset import Dataset, Sample, remap
from ..pictures import Folders, is_file, is_folder
from ..problems import Problem, quote
from .label_folders import read_labels_alone, read_split
from .yolo_config import YoloConfig, read_config


def read_yolo(path: Path, *, only: str | None = None, labels_only: bool = False) -> Dataset:
    """Read a data.yaml and the labels of its splits.

    Args:
        path: the data.yaml.
        only: the one split to read; None for all.
        labels_only: pictures needn't be there.

    Raises:
        ProblemError: the file isn't a mapping of plain values, so that there is nothing to go on.
    """
    config = read_config(path)
    folders = Folders(config.problems)
    samples = {
        split: _read_split(config, split, folders, labels_only=labels_only)
        for split in config.entries
        if only in (None, split)
    }
    dataset = Dataset("yolo", path, config.names, samples, problems=config.problems)
    return remap(dataset, config.classes) if config.classes else dataset


def _read_split(config: YoloConfig, split: str, folders: Folders, *, labels_only: bool) -> list[Sample]:
    pictures: list[Path] = []
    alone: list[Sample] = []
    for entry, line in config.entries[split]:
        place = _place(config.root, entry)
        if is_file(place):
            bases = (place.parent, config.root, Path.cwd())
            pictures += folders.from_list(place, bases, split)
            continue
        found = folders.walk(place, split)
        pictures += found
        if labels_only and not found:
            alone += read_labels_alone(split, place, config.names, folders, config.problems)
        elif not is_folder(place):
            words = f"{split}: {quote(entry, 200)} isn't there, looked for {quote(place, 300)}: correct the path"
            config.problems.append(Problem("split-missing", config.file, words, line, split))
        elif not found:
            words = f"{split}: no picture in {quote(place, 300)}, expected some: correct the path"
            config.problems.append(Problem("no-pictures", config.file, words, line, split))
    unique = list(dict.fromkeys(pictures))
    return read_split(split, unique, config.names, folders, config.problems) + alone


def _place(root: Path, entry: str) -> Path:
    """Where an entry leads: from the root, or inside it where a leading `../` leads nowhere (Roboflow's exports)."""
    place = Path(os.path.normpath(root / entry))
    inside = root / entry.removeprefix("../")
    if entry.startswith("../") and not (is_file(place) or is_folder(place)) and is_folder(inside):
        return inside
    return place
