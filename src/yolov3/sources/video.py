"""Frames of a video file, through OpenCV's FFmpeg, behind a check of the container.

FFmpeg also reads playlists and scripts that name other files or addresses. So the file's first bytes must be those of
a known container, and FFmpeg is held to that container's reader and to the protocol `file`.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..errors import DataError
from ..images import display_name, open_regular
from .container import container_of, missing_bytes
from .frame import Frame
from .interlaced import AFFECTED, refused_as_interlaced, suspicious

PATIENCE = 250
"""So many frames in a row that can't be decoded end a video: behind the last frame every attempt fails."""

MAX_PLAUSIBLE_FRAMES = 100_000_000


@dataclass(frozen=True, slots=True)
class Video:
    """A video file.

    Attributes:
        path: the file.
        every: give each so-manieth frame.
    """

    path: Path
    every: int

    def count(self) -> int | None:
        """The frames that its header claims, as far as that is plausible; None where it doesn't say."""
        try:
            with _open_capture(self.path, display_name(self.path)) as opened:
                claimed = opened.capture.get(cv2.CAP_PROP_FRAME_COUNT)
        except DataError:
            return 1  # the one frame that tells of the error
        if not 1 <= claimed <= MAX_PLAUSIBLE_FRAMES:
            return None
        return math.ceil(claimed / self.every)

    def frames(self) -> Iterator[Frame]:
        """Decode it, as displayed; a last `Frame` tells of damage, if there was any.

        Only pictures that the decoder gives are given on: none is repeated or made up for a damaged one.
        """
        name = display_name(self.path)
        decoded = damaged = 0
        try:
            with _open_capture(self.path, name) as opened:
                guard = _Guard(opened, name)
                rate = _rate(opened.capture, self.every)
                for failures in _grab(opened.capture):
                    damaged += failures
                    index = decoded + damaged
                    decoded += 1
                    if index % self.every == 0:
                        yield from guard.check(self._retrieve(opened.capture, name, index, rate), index)
                yield from guard.end()
        except DataError as error:
            yield Frame(name, None, str(error), self.path)
            return
        if problem := self._problem(decoded, damaged):
            yield Frame(name, None, f"{name}: {problem}", self.path)

    def _retrieve(self, capture: cv2.VideoCapture, name: str, index: int, rate: float | None) -> Frame:
        good, image = capture.retrieve()
        time = _time(capture, index)
        if not good:
            return Frame(name, None, f"{name}: frame {index} is damaged", self.path, index, time, rate)
        rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
        return Frame(name, rgb, path=self.path, index=index, time=time, rate=rate)

    def _problem(self, decoded: int, damaged: int) -> str | None:
        """What the user must know when all is read."""
        missing = missing_bytes(self.path)
        if missing:
            return f"the file is cut off, {missing} bytes are missing; {decoded} frames were decoded"
        if damaged:
            return f"{damaged} damaged frames were left out; {decoded} frames were decoded"
        return None if decoded else "no frame could be decoded"


class _Guard:
    """Lets frames through until one is what OpenCV makes up for an interlaced one; see `interlaced`.

    Such a frame repeats the one before, so the first waits for the second. Frames that really repeat are asked about
    once a video.
    """

    def __init__(self, opened: _Opened, name: str) -> None:
        self._opened, self._name = opened, name
        self._asking = AFFECTED
        self._last: Frame | None = None
        self._waiting: list[Frame] = []
        self._index = 0

    def check(self, frame: Frame, index: int) -> Iterator[Frame]:
        """The frames that may go on. Raises DataError at an interlaced one."""
        if not self._asking or frame.image is None:
            yield frame
            return
        before, self._last, self._index = self._last, frame, index
        if before is None:
            self._waiting.append(frame)
            return
        if before.image is not None and suspicious(frame.image, before.image):
            self._ask()
        yield from self._release()
        yield frame

    def end(self) -> Iterator[Frame]:
        """The frame that still waits, if it is the only one."""
        if self._waiting:
            self._ask()
        yield from self._release()

    def _release(self) -> Iterator[Frame]:
        waiting, self._waiting = self._waiting, []
        yield from waiting

    def _ask(self) -> None:
        self._asking = False
        self._last = None
        opened = self._opened
        if refused_as_interlaced(opened.address, self._index + 1, opened.held_to, opened.descriptor):
            raise DataError(
                f"{self._name}: interlaced at frame {self._index}, which OpenCV {cv2.__version__} can't convert; "
                "deinterlace it first (ffmpeg -i IN -vf yadif OUT) or install 'opencv-python-headless<4.13'"
            )


def _time(capture: cv2.VideoCapture, index: int) -> float | None:
    """The current frame's time in seconds; OpenCV says 0 for a frame without one."""
    seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    return None if index and seconds == 0 else max(seconds, 0.0)


def _rate(capture: cv2.VideoCapture, every: int) -> float | None:
    """Frames a second of what is given, or None where the header's claim can't be."""
    claimed = capture.get(cv2.CAP_PROP_FPS)
    return claimed / every if 0.1 <= claimed <= 1000 else None


def _grab(capture: cv2.VideoCapture) -> Iterator[int]:
    """Advance frame by frame; yield before each good one how many could not be decoded."""
    failures = 0
    while failures <= PATIENCE:
        if capture.grab():
            yield failures
            failures = 0
        else:
            failures += 1


# ------------------------------------------------------------------------------------------ opening, held tight

_OPTIONS, _LOG_LEVEL, _QUIET = "OPENCV_FFMPEG_CAPTURE_OPTIONS", "OPENCV_FFMPEG_LOGLEVEL", "-8"
_ENVIRONMENT_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Opened:
    """A video that is open.

    Attributes:
        capture: OpenCV's.
        address: the file as OpenCV takes it.
        descriptor: the open file.
        held_to: the environment that holds FFmpeg to this container.
    """

    capture: cv2.VideoCapture
    address: str
    descriptor: int
    held_to: dict[str, str]


@contextmanager
def _open_capture(path: Path, name: str) -> Iterator[_Opened]:
    """Open a video file and release it again.

    Raises:
        DataError: it is no regular file, no known container, or has no video that can be decoded.
    """
    with ExitStack() as stack:
        file = stack.enter_context(open_regular(path, name))
        container = container_of(file)
        if container is None:
            raise DataError(f"{name}: no video file (MP4, MOV, MKV, WebM, AVI, MPEG, WMV, FLV, Ogg expected)")
        address = _address(path, file.fileno())
        with _held_to(container):
            capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG)
        stack.callback(capture.release)
        if not capture.isOpened():
            missing = missing_bytes(path)
            cause = f"it is cut off, {missing} bytes are missing" if missing else "it is damaged or has no video"
            raise DataError(f"{name}: no frame could be decoded: {cause}")
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        yield _Opened(capture, address, file.fileno(), {_OPTIONS: _allowed(container), _LOG_LEVEL: "16"})


def _address(path: Path, descriptor: int) -> str:
    """The path as OpenCV takes it: absolute, lest FFmpeg sees a protocol in it; a name that isn't UTF-8 by its
    descriptor (only Linux has such names)."""
    absolute = str(path.absolute())
    try:
        absolute.encode()
    except UnicodeEncodeError:
        return f"/dev/fd/{descriptor}"
    return absolute


def _allowed(container: str) -> str:
    """OpenCV's option that lets FFmpeg read files of this container alone."""
    return f"protocol_whitelist;file|format_whitelist;{container}"


@contextmanager
def _held_to(container: str) -> Iterator[None]:
    """While a capture opens, allow FFmpeg only this container and local files, and keep it from writing to stderr.

    OpenCV takes these options from environment variables alone.
    """
    wanted = {_OPTIONS: _allowed(container)}
    with _ENVIRONMENT_LOCK:
        before = {key: os.environ.get(key) for key in (_OPTIONS, _LOG_LEVEL)}
        if before[_OPTIONS]:
            wanted[_OPTIONS] = f"{before[_OPTIONS]}|{wanted[_OPTIONS]}"
        try:
            os.environ.update({_LOG_LEVEL: before[_LOG_LEVEL] or _QUIET, **wanted})
            yield
        finally:
            for key, value in before.items():
                if value is None:
                    del os.environ[key]
                else:
                    os.environ[key] = value
