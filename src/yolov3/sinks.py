"""Where results go: annotated pictures, JSON lines."""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from .errors import Yolov3Error
from .files import atomic_path
from .images import write_image
from .runtime.pipeline import Result

DEFAULT_FOLDER = Path("runs/detect/exp")


class Sink(Protocol):
    """Takes results one after the other."""

    def write(self, result: Result) -> None:
        """Take one result."""
        ...


def new_folder(wanted: Path) -> Path:
    """Make a folder that nothing else is in: `wanted`, else `wanted2`, `wanted3`, …

    An empty folder that is there already is taken. Two processes never get the same one.

    Raises:
        Yolov3Error: it can't be made.
    """
    number = 1
    while True:
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if number == 1 and wanted != DEFAULT_FOLDER and folder.is_dir() and not any(folder.iterdir()):
                return folder
        except OSError as error:
            raise Yolov3Error(f"{folder}: the folder can't be made ({error.strerror})") from None
        else:
            return folder
        number += 1


class AnnotatedPictures(AbstractContextManager["AnnotatedPictures"]):
    """Saves each picture with its boxes drawn. The folder is made when the first one comes.

    Attributes:
        folder: where pictures go; None before the first.
        count: how many were saved.
    """

    def __init__(self, wanted: Path | None = None) -> None:
        self._wanted = DEFAULT_FOLDER if wanted is None else wanted
        self._names: set[str] = set()
        self.folder: Path | None = None
        self.count = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing stays open."""

    def write(self, result: Result) -> None:
        """Save one picture; what couldn't be read is left out."""
        frame = result.frame
        if result.detections is None or frame.image is None:
            return
        if self.folder is None:
            self.folder = new_folder(self._wanted)
        write_image(self.folder / self._file_name(frame.name), result.detections.annotate(frame.image))
        self.count += 1

    def _file_name(self, name: str) -> str:
        """The picture's own name, as .jpg unless it is a .png; numbered where two have the same."""
        path = Path(name)
        suffix = ".png" if path.suffix.lower() == ".png" else ".jpg"
        stem = path.stem if path.stem not in ("", "-") else "stdin"
        candidate, number = f"{stem}{suffix}", 2
        while candidate.lower() in self._names:
            candidate, number = f"{stem}-{number}{suffix}", number + 1
        self._names.add(candidate.lower())
        return candidate


class JsonLines(AbstractContextManager["JsonLines"]):
    """One JSON object a line: `image, width, height, detections`, or `image, error`.

    A file appears under its name when all is written; `-` is standard output.
    """

    def __init__(self, target: str | os.PathLike[str]) -> None:
        self._target = os.fspath(target)
        self._stack = ExitStack()
        self._file: IO[str] | None = None

    def __enter__(self) -> JsonLines:
        if self._target == "-":
            self._file = sys.stdout
        else:
            temporary = self._stack.enter_context(atomic_path(self._target))
            try:
                self._file = self._stack.enter_context(temporary.open("w", encoding="utf-8"))
            except OSError as error:
                raise Yolov3Error(f"{self._target}: could not be written ({error.strerror})") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, result: Result) -> None:
        """Write one line."""
        assert self._file is not None, "use it as a context manager"
        print(json.dumps(to_record(result), ensure_ascii=False), file=self._file)


def to_record(result: Result) -> dict[str, Any]:
    """A result as a JSON-ready object; `truncated` is there only when boxes were cut off."""
    if result.detections is None:
        return {"image": result.frame.name, "error": result.frame.error}
    width, height = result.detections.image_wh
    record: dict[str, Any] = {"image": result.frame.name, "width": width, "height": height}
    record["detections"] = result.detections.to_dicts()
    if result.detections.truncated:
        record["truncated"] = True
    return record
