"""The folder of a run, and the names of what is in it."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import Yolov3Error
from ..sources.frame import Frame

DEFAULT_FOLDER = Path("runs/detect/exp")

MAX_NAME_BYTES = 200
"""Names of pictures and classes are cut there: file systems take 255 bytes, and a number and suffix are to come."""


def file_name(text: str, otherwise: str) -> str:
    """`text` as the name of a file or folder on any system: letters, digits, `_`, `-`, `.` and space, not too long."""
    plain = re.sub(r"[^\w.\- ]", "_", text).encode()[:MAX_NAME_BYTES].decode(errors="ignore")
    return plain.strip(". ") or otherwise


def new_folder(wanted: Path, *, take_empty: bool) -> Path:
    """Make a folder that nothing else is in: `wanted`, else `wanted2`, `wanted3`, …

    Two processes never get the same one, but for an empty folder that is there already and may be taken.

    Raises:
        Yolov3Error: it can't be made.
    """
    if take_empty and wanted.is_dir() and not any(wanted.iterdir()):
        return wanted
    number = 1
    while True:
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise Yolov3Error(f"{folder}: the folder can't be made ({error.strerror})") from None
        else:
            return folder


class RunFolder:
    """Where a run's pictures, videos, labels and crops go; made when the first of them comes.

    Attributes:
        path: the folder; None before the first use.
    """

    def __init__(self, wanted: Path | None = None) -> None:
        self._wanted = wanted
        self._stems: dict[str, int] = {}  # in small letters, how many had it
        self._last: tuple[Frame, str] | None = None
        self.path: Path | None = None

    def folder(self, part: str = "") -> Path:
        """The run's folder, or a folder in it, made if need be.

        Raises:
            Yolov3Error: it can't be made.
        """
        if self.path is None:
            self.path = new_folder(self._wanted or DEFAULT_FOLDER, take_empty=self._wanted is not None)
        folder = self.path / part
        try:
            folder.mkdir(exist_ok=True, parents=True)
        except OSError as error:
            raise Yolov3Error(f"{folder}: the folder can't be made ({error.strerror})") from None
        return folder

    def stem(self, frame: Frame) -> str:
        """The name that results of this picture or video have: its own, numbered where two have the same.

        Every frame of a video has the video's; the sinks of one run agree on it.
        """
        if self._last is not None and (self._last[0] is frame or _same_video(self._last[0], frame)):
            return self._last[1]
        plain = "stdin" if frame.name == "-" else file_name(Path(frame.name).stem, "picture")
        stem, number = plain, self._stems.get(plain.lower(), 0)
        while stem.lower() in self._stems:
            number += 1
            stem = f"{plain}-{number}"
        self._stems[stem.lower()] = 1
        if stem != plain:
            self._stems[plain.lower()] = number
        self._last = (frame, stem)
        return stem

    def frame_stem(self, frame: Frame) -> str:
        """As `stem`, with the frame's number for one of a video."""
        stem = self.stem(frame)
        return stem if frame.index is None else f"{stem}_{frame.index:06d}"


def _same_video(one: Frame, other: Frame) -> bool:
    later = one.index is not None and other.index is not None and other.index > one.index
    return later and one.name == other.name
