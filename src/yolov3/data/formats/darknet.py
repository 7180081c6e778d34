"""Darknet datasets: a .data file (`classes`, `train`, `valid`, `names`), a .names file and lists of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..dataset import Dataset
from ..pictures import Folders, is_file, read_text
from ..problems import Problem, ProblemError, quote
from .label_folders import read_split
from .names_file import read_names_file

MAX_DATA_BYTES = 1 << 20
_SPLITS = {"train": "train", "valid": "val", "test": "test"}
_KEYS = frozenset({"classes", "names", "backup", "results", "eval", "top", "labels", *_SPLITS})


@dataclass(frozen=True, slots=True)
class _Option:
    value: str
    line: int


def read_darknet(path: Path, *, only: str | None = None) -> Dataset:
    """Read a .data file, its names and the labels of its lists.

    Relative paths count from the .data file's folder, else the folder above it (Darknet keeps `cfg/coco.data`, which
    names `data/coco.names`), else the working directory. `valid` is the split val.

    Args:
        path: the .data file.
        only: the one split to read; None for all.

    Raises:
        ProblemError: a file can't be read as text, or there are no names.
    """
    problems: list[Problem] = []
    options = _read_options(path, problems)
    bases = (path.parent, path.parent.parent, Path.cwd())
    names = _read_names(path, options, bases, problems)
    folders = Folders(problems)
    samples = {}
    for key, split in _SPLITS.items():
        if key not in options or only not in (None, split):
            continue
        file = _find(path, options[key], bases)
        pictures = folders.from_list(file, (*bases, file.parent), split)
        samples[split] = read_split(split, list(dict.fromkeys(pictures)), names, folders, problems)
    if not any(key in options for key in _SPLITS):
        words = "no `train` or `valid`, expected lists of pictures: add them"
        problems.append(Problem("split-missing", path, words))
    return Dataset("darknet", path, names, samples, problems=problems)


def _read_options(path: Path, problems: list[Problem]) -> dict[str, _Option]:
    options: dict[str, _Option] = {}
    for number, line in enumerate(read_text(path, MAX_DATA_BYTES).split("\n"), 1):
        text = line.strip()
        if not text or text.startswith(("#", ";")):
            continue
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not value or "\0" in value:
            words = f"{quote(text)}, expected `key = value`: correct it"
            raise ProblemError(Problem("description", path, words, number))
        if key not in _KEYS:
            problems.append(Problem("extra-key", path, f"the key {quote(key)} isn't used", number))
        options[key] = _Option(value, number)
    return options


def _read_names(
    path: Path, options: dict[str, _Option], bases: tuple[Path, ...], problems: list[Problem]
) -> tuple[str, ...]:
    """The class names, one a line; `classes` must fit their number."""
    if "names" not in options:
        raise ProblemError(Problem("description", path, "no `names`, expected a file of class names: add it"))
    file = _find(path, options["names"], bases)
    names = read_names_file(file, problems)
    stated = options.get("classes")
    if stated is not None and stated.value != str(len(names)):
        words = f"classes: {quote(stated.value)}, but {file.name} has {len(names)} names: correct one"
        problems.append(Problem("names", path, words, stated.line))
    return names


def _find(path: Path, option: _Option, bases: tuple[Path, ...]) -> Path:
    """The file that an option names.

    Raises:
        ProblemError: it isn't in any of the places from which paths count.
    """
    for base in bases:
        if is_file(base / option.value):
            return base / option.value
    words = f"{quote(option.value, 200)} isn't there, looked in {', '.join(quote(base, 200) for base in bases)}"
    raise ProblemError(Problem("split-missing", path, words, option.line))
