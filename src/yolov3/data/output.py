"""Writing a dataset's folder: whole or not at all, never over something that is there."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ..errors import UsageError, Yolov3Error
from ..images import display_name
from .dataset import Sample

Pictures = Literal["copy", "link"]


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; on success rename it to `path`, on failure remove it.

    Raises:
        UsageError: `path` is there already and isn't an empty folder.
        Yolov3Error: it can't be written.
    """
    name = display_name(path)
    try:
        if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
            raise UsageError(f"{name}: is there already, expected a new or empty folder: name another")
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        temporary.mkdir(parents=True)
    except OSError as error:
        raise Yolov3Error(f"{name}: could not be written ({error.strerror or error})") from error
    try:
        yield temporary
        if path.is_dir():
            path.rmdir()
        temporary.rename(path)
    except OSError as error:
        raise Yolov3Error(f"{name}: could not be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def place_picture(source: Path, target: Path, how: Pictures) -> None:
    """Copy a picture's bytes to `target`, or link to it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if how == "link":
        target.symlink_to(source.resolve())
    else:
        shutil.copyfile(source, target)


def picture_names(splits: Mapping[str, list[Sample]], *, shared: bool) -> dict[str, list[str]]:
    """A file name for each picture: its own, numbered where two would share a name or a label file.

    Letters that lists and XML can't hold become `_`, blanks around a name go.

    Args:
        splits: the samples of each split.
        shared: all splits go to one folder.
    """
    taken: set[str] = set()
    names: dict[str, list[str]] = {}
    for split, members in splits.items():
        taken = taken if shared else set()
        names[split] = [_free_name(sample.image.name, taken) for sample in members]
    return names


def _free_name(name: str, taken: set[str]) -> str:
    """A name whose stem isn't taken, whatever the case of its letters."""
    printable = "".join(letter if letter.isprintable() else "_" for letter in name)
    stem, suffix = os.path.splitext(printable)  # noqa: PTH122
    stem = stem.strip() or "_"
    free, number = stem, 1
    while free.lower() in taken:
        number += 1
        free = f"{stem}-{number}"
    taken.add(free.lower())
    return free + suffix
