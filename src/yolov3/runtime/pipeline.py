"""Frames → results: reading, detecting in batches, keeping the order."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..detections import Detections
from ..sources.frame import Frame
from .detector import Detector


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What became of one frame.

    Attributes:
        frame: the picture, or why there is none.
        detections: the objects; None where the picture couldn't be read.
        milliseconds: letterbox, network and post-processing, its share of the batch.
    """

    frame: Frame
    detections: Detections | None
    milliseconds: float = 0.0


def detect_frames(detector: Detector, frames: Iterable[Frame], batch: int = 1) -> Iterator[Result]:
    """Detect in a stream of frames; results come in the frames' order, and memory holds one batch.

    Args:
        detector: what detects.
        frames: from `open_sources`.
        batch: how many go through the network together.
    """
    waiting: list[Frame] = []
    good = 0
    for frame in frames:
        waiting.append(frame)
        good += frame.image is not None
        if good >= batch or good == 0:
            yield from _detect(detector, waiting)
            waiting, good = [], 0
    yield from _detect(detector, waiting)


def _detect(detector: Detector, frames: list[Frame]) -> Iterator[Result]:
    images = [frame.image for frame in frames if frame.image is not None]
    start = time.perf_counter()
    found = iter(detector.batch(images))
    milliseconds = (time.perf_counter() - start) * 1000 / max(len(images), 1)
    for frame in frames:
        if frame.image is None:
            yield Result(frame, None)
        else:
            yield Result(frame, next(found), milliseconds)
