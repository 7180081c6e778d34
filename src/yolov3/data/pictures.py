"""Finding picture files: folders walked once, lists read, nothing opened that could block."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import DataError
from ..images import PICTURE_SUFFIXES, display_name
from ..images.header import open_regular
from .problems import Problem, ProblemError, problem_of, quote

MAX_TEXT_BYTES = 1 << 28
"""The largest list of pictures that is read."""


def is_picture_name(name: str) -> bool:
    """Whether a file's name is a picture's; hidden files aren't."""
    dot = name.rfind(".")
    return dot > 0 and name[dot:].lower() in PICTURE_SUFFIXES and not name.startswith(".")


def stem_of(path: str) -> str:
    """A path without its suffix, as `os.path.splitext` gives it."""
    return os.path.splitext(path)[0]  # noqa: PTH122


def read_bytes(path: Path, limit: int) -> bytes:
    """A regular file's bytes, at most `limit`.

    Raises:
        DataError: it is missing, no regular file, can't be read, or is larger.
    """
    name = display_name(path)
    with open_regular(path, name) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            data = file.read(limit + 1) if size <= limit else b""
        except OSError as error:
            raise DataError(f"{name}: can't be read ({error.strerror or error})") from error
    if max(size, len(data)) > limit:
        raise DataError(f"{name}: {size:,} bytes, expected at most {limit:,}")
    return data


def read_text(path: Path, limit: int = MAX_TEXT_BYTES) -> str:
    """A description file's text: UTF-8, with or without a byte order mark.

    Raises:
        ProblemError: it can't be read or isn't UTF-8.
    """
    try:
        return read_bytes(path, limit).decode("utf-8-sig")
    except DataError as error:
        raise ProblemError(problem_of("description", path, error)) from error
    except UnicodeDecodeError as error:
        words = f"not UTF-8 text (byte {error.start:,}), expected UTF-8: save it so"
        raise ProblemError(Problem("description", path, words)) from error


def is_file(path: str | Path) -> bool:
    """Whether a path leads to a regular file; unlike `Path.is_file` never an error, whatever the text in it."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | Path) -> bool:
    """Whether a path leads to a folder; never an error."""
    return os.path.isdir(path)  # noqa: PTH112


class Folders:
    """What stands in each folder, listed once. Reports what it can't use to `problems`."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self._listings: dict[str, dict[str, bool]] = {}

    def listing(self, folder: str) -> dict[str, bool]:
        """The names in a folder, each with whether it is a regular file; empty where there is no such folder."""
        if folder not in self._listings:
            try:
                with os.scandir(folder) as entries:
                    self._listings[folder] = {entry.name: _is_regular(entry) for entry in entries}
            except (FileNotFoundError, NotADirectoryError, ValueError):
                self._listings[folder] = {}
            except OSError as error:
                self._listings[folder] = {}
                words = f"can't be listed ({error.strerror or error}), expected a readable folder"
                self.problems.append(Problem("folder-unreadable", Path(folder), words))
        return self._listings[folder]

    def walk(self, folder: Path, split: str) -> list[Path]:
        """All picture files under a folder, sorted; links are followed, but never round in a circle."""
        found: list[str] = []
        todo: list[tuple[str, frozenset[tuple[int, int]]]] = [(os.fspath(folder), frozenset())]
        while todo:
            path, above = todo.pop()
            key = _identity(path)
            if key in above:
                words = "a link back to a folder around it, expected none: it was not followed"
                self.problems.append(Problem("symlink-loop", Path(path), words, split=split))
            elif key is not None:
                todo += [(inner, above | {key}) for inner in self._visit(path, split, found)]
        return [Path(name) for name in sorted(found)]

    def _visit(self, folder: str, split: str, found: list[str]) -> list[str]:
        """Add a folder's pictures to `found` and return its folders."""
        inner = []
        for name, regular in self.listing(folder).items():
            path = os.path.join(folder, name)  # noqa: PTH118
            if regular:
                if is_picture_name(name):
                    found.append(path)
            elif is_picture_name(name):
                self.problems.append(self._no_file(Path(path), split))
            elif is_folder(path):
                inner.append(path)
        return inner

    def _no_file(self, path: Path, split: str) -> Problem:
        if is_folder(path):
            words = "a folder with a picture's name, expected a picture: rename or remove it"
        elif path.is_symlink() and not path.exists():
            return Problem("picture-missing", path, "a link to a missing file, expected a picture", split=split)
        else:
            words = "a pipe, socket or device with a picture's name, expected a picture: remove it"
        return Problem("not-a-file", path, words, split=split, image=path)

    def from_list(self, file: Path, bases: tuple[Path, ...], split: str) -> list[Path]:
        """The pictures named in a list file, one a line, in its order.

        A relative path counts from the first of `bases` in which it leads somewhere. Missing pictures are reported
        and left out.
        """
        pictures = []
        for number, line in enumerate(read_text(file).split("\n"), 1):
            name = line.strip()
            if not name:
                continue
            choices = [os.path.normpath(base / name) for base in bases]
            found = next((path for path in choices if self._is_there(path)), None)
            if found is not None:
                pictures.append(Path(found))
                continue
            path = Path(choices[0])
            if os.path.exists(path):  # noqa: PTH110
                self.problems.append(self._no_file(path, split))
                continue
            words = f"{quote(name, 200)} isn't there, expected a picture: correct the path or take the line out"
            self.problems.append(Problem("picture-missing", file, words, number, split, path))
        return pictures

    def _is_there(self, path: str) -> bool:
        folder, name = os.path.split(path)
        return self.listing(folder).get(name, False)


def _is_regular(entry: os.DirEntry[str]) -> bool:
    """Whether an entry leads to a regular file; no error for a link to itself."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _identity(folder: str) -> tuple[int, int] | None:
    """What tells a folder from every other, whatever links lead to it; None where there is none."""
    try:
        status = os.stat(folder)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
