"""Where results go: pictures, videos, labels, crops, JSON lines, CSV, COCO results, a window."""

from __future__ import annotations

from .files import CocoResults, CsvTable, JsonLines
from .folder import RunFolder
from .pictures import AnnotatedPictures, Crops, YoloLabels
from .record import record_of
from .sink import Sink
from .video import AnnotatedVideos
from .window import Window, WindowClosedError

__all__ = [
    "AnnotatedPictures",
    "AnnotatedVideos",
    "CocoResults",
    "Crops",
    "CsvTable",
    "JsonLines",
    "RunFolder",
    "Sink",
    "Window",
    "WindowClosedError",
    "YoloLabels",
    "record_of",
]
