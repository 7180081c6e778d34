"""Frames → results: reading and detecting in batches, by several threads where that is faster, keeping the order."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..detections import Detections
from ..images import Enough
from ..sources import Frame, Unread
from .detector import Detector

if TYPE_CHECKING:
    from concurrent.futures import Future

# So many batches a worker are on their way: one that it works on, one that waits, lest it has nothing to do.
AHEAD = 2


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


def detect_frames(
    detector: Detector,
    frames: Iterable[Frame | Unread],
    batch: int = 1,
    *,
    workers: int = 1,
    all_pixels: bool = True,
) -> Iterator[Result]:
    """Detect in a stream of frames; results come in the frames' order.

    Args:
        detector: what detects; with several workers, made for as many callers.
        frames: from `open_sources`, best its `unread` ones: then the workers read them.
        batch: how many go through the network together.
        workers: threads that read and detect. With one, all is done when a result is asked for, and memory holds one
            batch; with several, `AHEAD` batches each.
        all_pixels: the results' frames hold whole pictures; otherwise what the detector needs of large JPEG files.
    """
    enough = None if all_pixels else detector.enough

    def work(group: list[Frame | Unread]) -> list[Result]:
        return _detect(detector, [_read(item, enough) for item in group])

    groups = _groups(frames, batch)
    if workers == 1:
        yield from itertools.chain.from_iterable(map(work, groups))
    else:
        yield from itertools.chain.from_iterable(_side_by_side(work, groups, workers))


def _groups(frames: Iterable[Frame | Unread], batch: int) -> Iterator[list[Frame | Unread]]:
    """As many frames as make a batch; those that can't be read don't count."""
    waiting: list[Frame | Unread] = []
    good = 0
    for frame in frames:
        waiting.append(frame)
        good += not isinstance(frame, Frame) or frame.image is not None
        if good >= batch or good == 0:
            yield waiting
            waiting, good = [], 0
    if waiting:
        yield waiting


def _read(item: Frame | Unread, enough: Enough | None) -> Frame:
    return item if isinstance(item, Frame) else item.read(enough)


def _side_by_side(
    work: Callable[[list[Frame | Unread]], list[Result]], groups: Iterator[list[Frame | Unread]], workers: int
) -> Generator[list[Result]]:
    """What `work` makes of the groups, in their order, by several threads."""
    from concurrent.futures import ThreadPoolExecutor  # for who has several workers

    running: deque[Future[list[Result]]] = deque()
    pool = ThreadPoolExecutor(workers, "detect")
    try:
        for group in groups:
            running.append(pool.submit(work, group))
            if len(running) == workers * AHEAD:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _detect(detector: Detector, frames: list[Frame]) -> list[Result]:
    pictures = [frame.decoded for frame in frames]
    good = [picture for picture in pictures if picture is not None]
    start = time.perf_counter()
    found = iter(detector.detect(good))
    milliseconds = (time.perf_counter() - start) * 1000 / max(len(good), 1)
    return [
        Result(frame, None) if picture is None else Result(frame, next(found), milliseconds)
        for frame, picture in zip(frames, pictures, strict=True)
    ]
