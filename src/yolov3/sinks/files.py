"""Sinks that write one file for the whole run."""

from __future__ import annotations

import csv
import json
import os
import stat
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from ..errors import Yolov3Error
from ..files import atomic_path
from ..runtime.pipeline import Result
from .record import record_of
from .sink import Sink


class _FileSink(Sink):
    """A text file that appears under its name when all is written; `-` is standard output.

    A pipe or device (`/dev/stdout`, `>(jq .label)` in a shell) is written to as results come.
    """

    def __init__(self, target: str | os.PathLike[str]) -> None:
        self._target = os.fspath(target)
        self._stack = ExitStack()
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        if self._target == "-":
            self._file = sys.stdout
            return self
        target = Path(self._target)
        path = target if _is_stream(target) else self._stack.enter_context(atomic_path(target))
        try:
            self._file = self._stack.enter_context(path.open("w", encoding="utf-8", newline=""))
        except OSError as error:
            self._stack.close()
            raise Yolov3Error(f"{self._target}: could not be written ({error.strerror})") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stack.__exit__(kind, error, trace)
        except BrokenPipeError:
            raise
        except OSError as failure:  # a device or pipe; for files `atomic_path` says it
            raise Yolov3Error(f"{self._target}: could not be written ({failure.strerror})") from None

    @property
    def file(self) -> TextIO:
        """The open file."""
        assert self._file is not None, "use it as a context manager"
        return self._file

    def as_json(self, value: Any) -> str:
        """One line of JSON: UTF-8 in a file, ASCII on standard output, whose encoding may be any."""
        return json.dumps(value, ensure_ascii=self._target == "-")


def _is_stream(path: Path) -> bool:
    """Whether this is a pipe or device, which can't be replaced by a file that is whole."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


class JsonLines(_FileSink):
    """One JSON object a line, see `record_of`."""

    def write(self, result: Result) -> None:
        """Write one line."""
        print(self.as_json(record_of(result)), file=self.file)


class CsvTable(_FileSink):
    """One line an object: `image, frame, time, label, class_id, score, x1, y1, x2, y2, width, height`."""

    COLUMNS = ("image", "frame", "time", "label", "class_id", "score", "x1", "y1", "x2", "y2", "width", "height")

    def __enter__(self) -> Self:
        super().__enter__()
        self._writer = csv.writer(self.file, lineterminator="\n")
        self._writer.writerow(self.COLUMNS)
        return self

    def write(self, result: Result) -> None:
        """Write a line for each object of one picture or frame."""
        record = record_of(result)
        for found in record.get("detections", ()):
            place = (record["image"], record.get("frame"), record.get("time"))
            what = (found["label"], found["class_id"], found["score"])
            self._writer.writerow([*place, *what, *found["box"], record["width"], record["height"]])


class CocoResults(_FileSink):
    """COCO's results format: a JSON list of `image_id, category_id, bbox [x, y, width, height], score`.

    `image_id` is the file's name without suffix, as a number where it is one (COCO's own pictures); of a video's
    frame `NAME:FRAME`. `category_id` is as in `Detections.to_coco`.
    """

    def __enter__(self) -> Self:
        super().__enter__()
        self._separator = "[\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            print("[]" if self._separator == "[\n" else "\n]", file=self.file)
        super().__exit__(kind, error, trace)

    def write(self, result: Result) -> None:
        """Write the objects of one picture or frame."""
        if result.detections is None:
            return
        stem = Path(result.frame.name).stem
        image_id: Any = int(stem) if stem.isascii() and stem.isdigit() else stem
        if result.frame.index is not None:
            image_id = f"{stem}:{result.frame.index}"
        for found in result.detections.to_coco(image_id):
            self.file.write(self._separator + self.as_json(found))
            self._separator = ",\n"
