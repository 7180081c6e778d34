"""The short table of `yolov3 detect`, and its progress."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from . import options

if TYPE_CHECKING:
    from ..runtime.pipeline import Result


class Progress:
    """A line with rate and time left on a terminal, nothing elsewhere."""

    def __init__(self, total: int | None) -> None:
        self._bar: Any = None
        if sys.stderr.isatty() and total != 1:
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="img", leave=False, dynamic_ncols=True, file=sys.stderr)

    def step(self) -> None:
        """One more picture is done."""
        if self._bar is not None:
            self._bar.update()

    def print(self, line: str, file: TextIO) -> None:
        """Print a line without tearing the progress line."""
        if self._bar is not None:
            self._bar.clear()
        print(line, file=file)
        if self._bar is not None:
            self._bar.refresh()

    def close(self) -> None:
        """Take the progress line away."""
        if self._bar is not None:
            self._bar.close()


@dataclass
class _Stream:
    """A video or camera under way."""

    name: str
    size: str
    frames: int = 0
    milliseconds: float = 0.0
    objects: Counter[str] = field(default_factory=Counter)


class Table:
    """One line for a picture and one for a whole video: name, size, objects, milliseconds; errors on stderr.

    Attributes:
        errors: pictures and videos with something wrong.
    """

    def __init__(self, file: TextIO, progress: Progress) -> None:
        self.file = file
        self.progress = progress
        self.pictures = self.frames = self.objects = self.errors = 0
        self.milliseconds = 0.0
        self._stream: _Stream | None = None
        self._headed = False

    def add(self, result: Result) -> None:
        """Take one result."""
        frame = result.frame
        self.progress.step()
        if self._stream is not None and (frame.index is None or frame.name != self._stream.name):
            self._end_stream()
        if frame.note:
            options.print_notes([f"{frame.name}: {frame.note}"])
        if result.detections is None:
            self.errors += 1
            self.progress.print(f"yolov3: {frame.error}; skipped", sys.stderr)
            return
        self.objects += len(result.detections)
        self.milliseconds += result.milliseconds
        width, height = result.detections.image_wh
        if frame.index is None:
            self.pictures += 1
            self._row(frame.name, f"{width}×{height}", result.detections.summary(), result.milliseconds)
            return
        self.frames += 1
        self._stream = self._stream or _Stream(frame.name, f"{width}×{height}")
        self._stream.frames += 1
        self._stream.milliseconds += result.milliseconds
        self._stream.objects.update(name for _, _, name in result.detections)

    def _end_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        most = ", ".join(f"{count} {name}" for name, count in stream.objects.most_common(3)) or "nothing"
        objects = f"{options.counted(stream.frames, 'frame')}: {most}"
        self._row(stream.name, stream.size, objects, stream.milliseconds / stream.frames)

    def _row(self, name: str, size: str, objects: str, milliseconds: float) -> None:
        if not self._headed:
            self._print("picture", "size", "objects", "ms")
            self._headed = True
        self._print(Path(name).name, size, objects, f"{milliseconds:.0f}")

    def _print(self, name: str, size: str, objects: str, milliseconds: str) -> None:
        self.progress.print(f"{name:<32} {size:>11}  {objects:<44} {milliseconds:>7}".rstrip(), self.file)

    def finish(self, places: list[str], *, stopped: bool) -> None:
        """The totals, and where things are."""
        self._end_stream()
        self.progress.close()
        parts = [options.counted(self.pictures, "picture")] if self.pictures else []
        parts += [options.counted(self.frames, "frame")] if self.frames else []
        read = " and ".join(parts) or "0 pictures"
        if self.errors:
            read += f" ({self.errors} could not be read)"
        mean = self.milliseconds / max(self.pictures + self.frames, 1)
        timing = f", {mean:.0f} ms each" if parts else ""
        print(
            f"{read}: {options.counted(self.objects, 'object')}{timing}{' (stopped)' if stopped else ''}",
            file=self.file,
        )
        for place in places:
            print(place, file=self.file)
