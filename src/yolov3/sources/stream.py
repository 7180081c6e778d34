"""From the arguments of the command line to a stream of frames."""

from __future__ import annotations

import glob
import re
from collections.abc import Generator, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType

from ..errors import DataError, UsageError
from ..images import display_name
from .files import Files, Missing, StandardInput, open_folder, open_list, open_pattern
from .frame import Frame, Source, Unread

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class SourceStream:
    """The frames of several sources, one after the other. A context manager; iterate over it once.

    Attributes:
        live: a camera is among them, whose frames must not wait for each other.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._frames = self._read()
        self.live = any(getattr(source, "live", False) for source in sources)

    @cached_property
    def total(self) -> int | None:
        """How many frames to expect (a video's own claim is taken at its word), or None where that is unknown."""
        total = 0
        for source in self._sources:
            count = source.count()
            if count is None:
                return None
            total += count
        return total

    def __iter__(self) -> Iterator[Frame]:
        for item in self._frames:
            yield item if isinstance(item, Frame) else item.read()

    def unread(self) -> Iterator[Frame | Unread]:
        """The same, files of pictures unread, so that several threads can read them."""
        return self._frames

    def __enter__(self) -> SourceStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file or camera that is open. Nothing more can be read."""
        self._frames.close()

    def _read(self) -> Generator[Frame | Unread]:
        for source in self._sources:
            yield from source.frames()


def open_sources(arguments: Sequence[str], *, every: int = 1) -> SourceStream:
    """Open what the user named: frames are read as they are asked for, so that memory stays flat.

    An argument is a picture or video file; a folder (its own pictures and videos, not its subfolders'); a pattern
    such as `photos/**/*.jpg`; a `.txt` file with one path a line; `-`, a picture on standard input; the number of
    a camera. A file that exists always wins over another meaning of its name.

    Args:
        arguments: at least one.
        every: of videos and cameras, give each so-manieth frame.

    Raises:
        UsageError: an address on the network, or an option out of range.
        DataError: the arguments name nothing. One beside others, or a file that can't be read, is no error here: its
            `Frame` says so.
    """
    if not arguments:
        raise UsageError("no picture named: give files, folders, patterns, videos, `-` or a camera's number")
    if every < 1:
        raise UsageError(f"--every {every}: a number from 1 expected")
    opened = [_try_open(argument, every) for argument in arguments]
    sources = [
        Missing(display_name(argument), str(source)) if isinstance(source, DataError) else source
        for argument, source in zip(arguments, opened, strict=True)
    ]
    if isinstance(opened[0], DataError) and all(isinstance(source, Missing) for source in sources):
        raise opened[0]
    return SourceStream(sources)


def _try_open(argument: str, every: int) -> Source | DataError:
    try:
        return _open(argument, every)
    except DataError as error:
        return error


def _open(argument: str, every: int) -> Source:
    if argument == "-":
        return StandardInput()
    path = Path(argument)
    if argument and _exists(path):
        if path.is_dir():
            return open_folder(path, every)
        return open_list(path, every) if path.suffix.lower() == ".txt" else Files([argument], every)
    if argument.isascii() and argument.isdigit() and len(argument) <= 3:
        from .camera import Camera  # for who has one

        return Camera(int(argument), every)
    if _URL.match(argument):
        raise UsageError(f"{display_name(argument)}: nothing is read from the network; download it first")
    if glob.has_magic(argument):
        return open_pattern(argument, every)
    raise DataError(f"{display_name(argument) or 'an empty name'}: no such file or folder")


def _exists(path: Path) -> bool:
    """Whether something has this name, be it a broken link: reading that says what is wrong."""
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True
