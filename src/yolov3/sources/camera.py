"""Frames of a camera attached to this computer, always the latest."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from .frame import Frame

TIMEOUT = 10.0
"""A camera that gives no picture for so many seconds is given up."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera by its number.

    Attributes:
        number: the operating system's, from 0.
        every: give each so-manieth frame.
        live: its frames must not wait for each other.
    """

    live: ClassVar[bool] = True
    number: int
    every: int

    def count(self) -> int | None:
        """Unknown: a camera goes on until it is stopped."""
        return None

    def frames(self) -> Iterator[Frame]:
        """Give the latest frame each time; those that come while the caller is busy are dropped, seen by `index`.

        Where there is no such camera, one `Frame` with the error, so that sources beside it go on.
        """
        name = f"camera {self.number}"
        capture = cv2.VideoCapture(self.number)
        if not capture.isOpened():
            yield Frame(name, None, f"{name}: can't be opened; check that it is there and not in use")
            return
        yield from _frames(capture, name, self.every)


def _frames(capture: cv2.VideoCapture, name: str, every: int) -> Iterator[Frame]:
    latest = _Latest(capture, every)
    try:
        while (taken := latest.take()) is not None:
            index, seconds, image = taken
            rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
            yield Frame(name, rgb, index=index, time=seconds)
        yield Frame(name, None, f"{name}: gives no more pictures; {latest.read} were read")
    finally:
        latest.stop()


class _Latest:
    """Reads a camera in a thread of its own and keeps the newest frame only: a detector slower than the camera stays
    up to date, in constant memory."""

    def __init__(self, capture: cv2.VideoCapture, every: int) -> None:
        self.read = 0
        self._capture, self._every = capture, every
        self._frame: tuple[int, float, cv2.typing.MatLike] | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def take(self) -> tuple[int, float, cv2.typing.MatLike] | None:
        """Wait for a frame not yet taken: (index, seconds since the first, BGR); None when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._ended, TIMEOUT)
            frame, self._frame = self._frame, None
            return frame

    def stop(self) -> None:
        """End the thread, which releases the camera."""
        self._ended = True
        self._thread.join(TIMEOUT)

    def _run(self) -> None:
        start = None
        while not self._ended:
            good, image = self._capture.read()
            now = time.monotonic()
            start = now if start is None else start
            with self._changed:
                if not good:
                    self._ended = True
                elif self.read % self._every == 0:
                    self._frame = (self.read, now - start, image)
                self.read += good
                self._changed.notify()
        self._capture.release()
