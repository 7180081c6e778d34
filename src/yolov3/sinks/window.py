"""A window that shows results, where there is a display."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..errors import UsageError
from ..geometry import UInt8Array
from ..runtime.pipeline import Result
from .sink import Sink

if TYPE_CHECKING:
    import tkinter

PICTURE_SECONDS = 1.0
SCREEN_SHARE = 0.85


class WindowClosedError(Exception):
    """The user closed the window (or pressed q or Escape): the run should end."""


class Window(Sink):
    """Shows each picture for a second and video frames as they come; q, Escape or closing it ends the run.

    Drawn with Tk, because OpenCV's headless build has no windows.
    """

    pixels = True

    def __init__(self) -> None:
        try:
            import tkinter
        except ImportError:
            raise UsageError("--show needs Tk, which this Python has not; install python3-tk") from None
        try:
            self._root = tkinter.Tk(className="yolov3")
        except tkinter.TclError as error:
            raise UsageError(f"--show: no window can be opened here ({error})") from None
        self._root.title("yolov3")
        self._label = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self._picture: tkinter.PhotoImage | None = None
        self._open = True
        for event in ("<q>", "<Escape>"):
            self._root.bind(event, lambda _: self._close())
        self._root.protocol("WM_DELETE_WINDOW", self._close)

    def _close(self) -> None:
        self._open = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._root.destroy()

    def write(self, result: Result) -> None:
        """Show one picture.

        Raises:
            WindowClosedError: the window was closed.
        """
        if result.detections is not None and result.frame.image is not None:
            self._show(result.detections.annotate(result.frame.image))
            self._wait(0.0 if result.frame.index is not None else PICTURE_SECONDS)
        self._root.update()
        if not self._open:
            raise WindowClosedError

    def _show(self, image: UInt8Array) -> None:
        import tkinter

        room_w = self._root.winfo_screenwidth() * SCREEN_SHARE
        room_h = self._root.winfo_screenheight() * SCREEN_SHARE
        scale = min(room_w / image.shape[1], room_h / image.shape[0], 1.0)
        if scale < 1:
            size_wh = (max(int(image.shape[1] * scale), 1), max(int(image.shape[0] * scale), 1))
            image = np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
        header = f"P6 {image.shape[1]} {image.shape[0]} 255\n".encode()
        self._picture = tkinter.PhotoImage(data=header + image.tobytes(), format="PPM")
        self._label.configure(image=self._picture)
        self._root.update()

    def _wait(self, seconds: float) -> None:
        """Keep the window alive for so long."""
        end = time.monotonic() + seconds
        while self._open and time.monotonic() < end:
            self._root.update()
            time.sleep(0.01)
