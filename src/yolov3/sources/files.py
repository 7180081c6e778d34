"""Pictures from files, folders, patterns, lists and standard input."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import DataError
from ..images import (
    PICTURE_SUFFIXES,
    Enough,
    decode_enough,
    display_name,
    open_regular,
    read_picture_bytes,
    take_picture_bytes,
)
from .container import container_of
from .frame import Frame, Source, Unread

VIDEO_SUFFIXES = frozenset(
    (
        *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"),
        *(".ogv", ".ts", ".vob", ".webm", ".wmv"),
    )
)
_KNOWN_SUFFIXES = PICTURE_SUFFIXES | VIDEO_SUFFIXES
MAX_LIST_LINE = 65_536
FEW_VIDEOS = 20  # so many are asked for their number of frames, some 10 ms each, before the first picture is read

_SLASH = "/" if os.sep == "/" else r"[/\\]"
_ANY_DEPTH = re.compile(rf"(?P<before>(?:.*?{_SLASH})?)\*\*(?:{_SLASH}+(?P<after>.*))?", re.DOTALL)
"""A pattern with a part `**`: what stands before the first and behind it."""


@dataclass(frozen=True, slots=True)
class Files:
    """Files by path, each a picture or a video, told by its content.

    Attributes:
        paths: as text, which takes a fifth of the memory of `Path` objects.
        every: of a video, take each so-manieth frame.
    """

    paths: Sequence[str]
    every: int

    def count(self) -> int | None:
        """One a picture, a video's own claim; unknown where a video doesn't say, or for more than a few videos."""
        if len(self.paths) == 1 and _is_video(Path(self.paths[0])):
            return _video(Path(self.paths[0]), self.every).count()
        videos = [path for path in self.paths if _suffix(path) in VIDEO_SUFFIXES]
        if len(videos) > FEW_VIDEOS:
            return None
        total = len(self.paths) - len(videos)
        for path in videos:
            count = _video(Path(path), self.every).count()
            if count is None:
                return None
            total += count
        return total

    def frames(self) -> Iterator[Frame | Unread]:
        """The files in order; one that can't be read gives a `Frame` with an error."""
        for path in self.paths:
            yield from file_frames(Path(path), self.every)


def file_frames(path: Path, every: int) -> Iterator[Frame | Unread]:
    """The one frame of a picture file, unread, or the frames of a video."""
    if _is_video(path):
        yield from _video(path, every).frames()
    else:
        yield PictureFile(path)


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture file."""

    path: Path

    def read(self, enough: Enough | None = None) -> Frame:
        """Read and decode it; where that can't be done the `Frame` says why."""
        name = display_name(self.path)
        try:
            return _decoded(read_picture_bytes(self.path, name), name, name, self.path, enough)
        except DataError as error:
            return Frame(name, None, str(error), self.path)


def _decoded(data: bytes, name: str, place: str, path: Path | None, enough: Enough | None = None) -> Frame:
    """Decode a picture called `name` in results and `place` in errors. Raises DataError."""
    picture = decode_enough(data, place, enough)
    note = f"the first of {picture.frames} frames" if picture.frames > 1 else None
    size_wh = None if picture.factor == 1 else picture.size_wh
    return Frame(name, picture.pixels, path=path, note=note, factor=picture.factor, size_wh=size_wh)


def _video(path: Path, every: int) -> Source:
    from .video import Video  # for who has one

    return Video(path, every)


def _is_video(path: Path) -> bool:
    """Whether a file's first bytes are a video container's; False for what can't be read."""
    try:
        with open_regular(path, "") as file:
            return container_of(file) is not None
    except (DataError, OSError):
        return False


def _suffix(path: str) -> str:
    return path[path.rfind(".") :].lower()  # twenty times as fast as Path, for a million names


def _has_known_suffix(path: str) -> bool:
    return _suffix(path) in _KNOWN_SUFFIXES


# ------------------------------------------------------------------------------------------ folders and patterns


def open_folder(folder: Path, every: int) -> Files:
    """The pictures and videos directly in a folder, by name; hidden files and subfolders are passed over.

    Raises:
        DataError: it can't be listed or has none.
    """
    shown = display_name(folder)
    try:
        with os.scandir(folder) as entries:
            paths = sorted(entry.path for entry in entries if _is_wanted(entry))
    except OSError as error:
        raise DataError(f"{shown}: the folder can't be listed ({error.strerror or error})") from error
    if not paths:
        raise DataError(f"{shown}: no picture or video in this folder; for its subfolders too say '{shown}/**/*.jpg'")
    return Files(paths, every)


def _is_wanted(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(".") or not _has_known_suffix(entry.name):
        return False
    try:
        return not entry.is_dir()
    except OSError:  # a link to itself: let reading it say so
        return True


def open_pattern(pattern: str, every: int) -> Files:
    """The pictures and videos that a pattern with `*`, `?`, `[…]` or `**` (any depth) matches, by name.

    Raises:
        DataError: it matches none.
    """
    found = set(_matches(pattern))
    paths = sorted(path for path in found if _has_known_suffix(path) and not os.path.isdir(path))  # noqa: PTH112
    if not paths:
        hint = f"it matches {len(found)} names, but none ends like a picture or video" if found else "no match"
        raise DataError(f"{display_name(pattern)}: {hint}; check the pattern and the current folder")
    return Files(paths, every)


def _matches(pattern: str) -> Iterator[str]:
    """The paths that match a pattern. Unlike `glob.glob`, `**` doesn't follow links, which may lead in circles."""
    deep = _ANY_DEPTH.fullmatch(pattern)
    if deep is None:
        yield from glob.iglob(pattern)  # noqa: PTH207 - Path.glob takes no absolute pattern
        return
    before = deep["before"]
    for base in glob.iglob(before) if glob.has_magic(before) else [before]:  # noqa: PTH207
        for folder, inner, _ in os.walk(base or os.curdir):
            inner[:] = [name for name in inner if not name.startswith(".")]
            here = folder if base else folder[2:]  # without "./"
            yield from _matches(os.path.join(glob.escape(here), deep["after"] or "*"))  # noqa: PTH118


# --------------------------------------------------------------------------------------- lists, standard input


@dataclass(frozen=True, slots=True)
class PathList:
    """A text file with one path a line; blank lines and lines that begin with `#` are passed over.

    A relative path is looked for from the current folder, then from the list's own.
    """

    path: Path
    every: int

    def count(self) -> int | None:
        """The lines that name a file; unknown where one looks like a video."""
        count = 0
        for _, entry in self._entries():
            if _suffix(entry) in VIDEO_SUFFIXES:
                return None
            count += 1
        return count

    def frames(self) -> Iterator[Frame | Unread]:
        """The files in the list's order; a missing one gives a `Frame` with an error."""
        for number, entry in self._entries():
            path = Path(entry)
            if not os.path.exists(path):  # noqa: PTH110 - unlike Path.exists no error for names that can't be
                path = self.path.parent / entry
            if os.path.isfile(path):  # noqa: PTH113
                yield from file_frames(path, self.every)
            else:
                name = display_name(entry)
                yield Frame(name, None, f"{name}: no such file ({display_name(self.path)}:{number})", Path(entry))

    def _entries(self) -> Iterator[tuple[int, str]]:
        """Yield `(line number, path)`. Raises DataError for what is no text."""
        shown = display_name(self.path)
        with open_regular(self.path, shown) as file:
            number = 0
            while line := file.readline(MAX_LIST_LINE):
                number += 1
                if b"\0" in line or len(line) == MAX_LIST_LINE:
                    raise DataError(f"{shown}:{number}: no text; a list has one path a line")
                entry = os.fsdecode(line.removeprefix(b"\xef\xbb\xbf").strip())
                if entry and not entry.startswith("#"):
                    yield number, entry


def open_list(path: Path, every: int) -> PathList:
    """Open a list of paths.

    Raises:
        DataError: it names nothing or is no text.
    """
    paths = PathList(path, every)
    if next(paths._entries(), None) is None:
        raise DataError(f"{display_name(path)}: names no file; a list has one path a line")
    return paths


@dataclass(frozen=True, slots=True)
class Missing:
    """Something named beside others that is not there, or holds nothing.

    Attributes:
        name: as shown.
        error: why, one line that begins with the name.
    """

    name: str
    error: str

    def count(self) -> int | None:
        """One, the frame that tells of it."""
        return 1

    def frames(self) -> Iterator[Frame]:
        """One with the error."""
        yield Frame(self.name, None, self.error)


@dataclass(frozen=True, slots=True)
class StandardInput:
    """One picture on standard input, or in `file`."""

    file: BinaryIO | None = None

    def count(self) -> int | None:
        """One."""
        return 1

    def frames(self) -> Iterator[Frame]:
        """Read it to its end and decode it."""
        try:
            data = take_picture_bytes(self.file or sys.stdin.buffer, "standard input")
            yield _decoded(data, "-", "standard input", None)
        except DataError as error:
            yield Frame("-", None, str(error))
