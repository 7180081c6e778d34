"""Annotated videos."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from ..errors import Yolov3Error
from ..files import atomic_path
from ..geometry import UInt8Array
from ..runtime.pipeline import Result
from .folder import RunFolder
from .sink import Sink

FALLBACK_RATE = 25.0


class AnnotatedVideos(Sink):
    """Each video with its boxes, as NAME.mp4 (MPEG-4) at the rate of the frames that are given.

    A camera's frames stand at the time when they came. A video appears under its name when it is complete, also
    when the run is stopped.

    Attributes:
        count: videos written.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.count = 0
        self._stack = ExitStack()
        self._path: Path | None = None
        self._temporary: Path | None = None
        self._writer: cv2.VideoWriter | None = None
        self._size_wh = (0, 0)
        self._rate = FALLBACK_RATE
        self._written = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, result: Result) -> None:
        """Add one frame; pictures and what couldn't be decoded are left out."""
        frame = result.frame
        if result.detections is None or frame.image is None or frame.index is None:
            return
        path = self.folder.folder() / f"{self.folder.stem(frame)}.mp4"
        if path != self._path:
            self._finish()
            height, width = frame.image.shape[:2]
            self._open(path, (width, height), frame.rate)
        annotated = result.detections.annotate(frame.image)
        if (annotated.shape[1], annotated.shape[0]) != self._size_wh:
            annotated = np.asarray(cv2.resize(annotated, self._size_wh), np.uint8)  # the stream's size has changed
        due = 1
        if frame.rate is None and frame.time is not None:
            due = max(round(frame.time * self._rate) + 1 - self._written, 0)
        self._add(annotated, due)

    def _open(self, path: Path, size_wh: tuple[int, int], rate: float | None) -> None:
        temporary = self._stack.enter_context(atomic_path(path))
        self._path, self._temporary = path, temporary
        self._size_wh, self._rate, self._written = size_wh, rate or FALLBACK_RATE, 0
        fourcc = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(temporary), fourcc, self._rate, size_wh)
        self._stack.push(self._close)
        if not self._writer.isOpened():
            raise Yolov3Error(f"{path}: a video of {size_wh[0]}×{size_wh[1]} could not be opened for writing")

    def _add(self, image: UInt8Array, times: int) -> None:
        assert self._writer is not None
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        for _ in range(times):
            self._writer.write(bgr)
        self._written += times
        self.count += self._written == times

    def _close(self, kind: type[BaseException] | None, *_: object) -> None:
        """Complete the file; OpenCV doesn't say when a write fails, so what was written is looked at."""
        assert self._writer is not None
        self._writer.release()
        if kind is None and self._written:
            capture = cv2.VideoCapture(str(self._temporary))
            frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
            capture.release()
            if frames < self._written:
                raise Yolov3Error(
                    f"{self._path}: {frames} of {self._written} frames could be written; is the disk full?"
                )

    def _finish(self) -> None:
        """Complete the video that is being written."""
        self._stack.close()
        self._path = self._writer = None
