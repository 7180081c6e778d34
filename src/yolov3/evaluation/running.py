"""Running a detector over the pictures of a split, with a stopwatch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..data import Sample
from ..detections import Detections
from ..geometry import Letterbox, letterbox_image
from ..images import read_image
from .truth import Id

UInt8Array = NDArray[np.uint8]
Detect = Callable[[UInt8Array], Detections]
"""Anything that gives `Detections` for a picture, RGB uint8 (H, W, 3)."""

STAGE_SAMPLES = 50
"""In how many pictures letterbox, network and suppression are timed one by one."""


@runtime_checkable
class Staged(Protocol):
    """A detector whose stages can be timed one by one (`runtime.Detector`)."""

    model: Any

    def plan(self, image_wh: tuple[int, int]) -> Letterbox: ...

    def raw(self, pictures: Sequence[UInt8Array], plans: Sequence[Letterbox]) -> Any: ...


@dataclass(frozen=True, slots=True)
class Speed:
    """Mean milliseconds a picture.

    Attributes:
        decode: reading the file and decoding it.
        letterbox: resizing and padding, in a sample of pictures; None for a detector that doesn't show its stages.
        network: the same.
        nms: thresholds, decoding of boxes and suppression; the same.
        detect: letterbox, network and suppression together, in all pictures.
        pictures: how many.
    """

    decode: float
    letterbox: float | None
    network: float | None
    nms: float | None
    detect: float
    pictures: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `decode_ms` and so on, `pictures_per_second` of decoding and detecting."""
        total = self.decode + self.detect
        values = {key: None if value is None else round(value, 3) for key, value in asdict(self).items()}
        pictures = values.pop("pictures")
        rate = round(1000 / total, 2) if total else None
        return {f"{key}_ms": value for key, value in values.items()} | {
            "pictures_per_second": rate,
            "pictures": pictures,
        }


@dataclass(slots=True)
class Stopwatch:
    """Seconds spent so far."""

    decode: float = 0.0
    detect: float = 0.0
    pictures: int = 0
    stages: list[tuple[float, float, float]] = field(default_factory=list)

    def add_stages(self, detector: object, picture: UInt8Array, whole: float) -> None:
        """Time the stages of a detector that shows them, `whole` being the seconds that it took for this picture."""
        if isinstance(detector, Staged):
            self.stages.append((*_stages(detector, picture), whole))

    def speed(self) -> Speed | None:
        """Means; None before the first picture."""
        if not self.pictures:
            return None
        each = 1000 / self.pictures
        letterbox = network = nms = None
        if self.stages:
            letterbox, network, whole = (np.array(self.stages).mean(axis=0) * 1000).tolist()
            # What is left of the whole. One picture's may be negative where the machine was busy: not of the mean.
            nms = max(whole - letterbox - network, 0.0)
        return Speed(self.decode * each, letterbox, network, nms, self.detect * each, self.pictures)


def run_detector(
    detector: Detect,
    samples: Sequence[Sample],
    stopwatch: Stopwatch,
    *,
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Id, Detections]]:
    """Detect in all pictures, one batch in memory at a time.

    Args:
        detector: a picture to its detections.
        samples: the pictures, in any order.
        stopwatch: is filled on the way.
        batch: how many are given to the detector's method `batch` together, where it has one.
        progress: called with the numbers of pictures done and of all.

    Raises:
        DataError: a picture can't be read, or isn't of the size that its annotation declares.
    """
    every = -(-len(samples) // STAGE_SAMPLES)  # rounded up
    for start in range(0, len(samples), batch):
        members = samples[start : start + batch]
        began = time.perf_counter()
        pictures = [read_image(sample.image) for sample in members]
        decoded = time.perf_counter()
        for sample, picture in zip(members, pictures, strict=True):
            sample.boxes_for((picture.shape[1], picture.shape[0]))  # raises where the size isn't the declared one
        together = getattr(detector, "batch", None)
        found = [*map(detector, pictures)] if together is None or len(pictures) == 1 else together(pictures)
        detected = time.perf_counter()
        stopwatch.decode += decoded - began
        stopwatch.detect += detected - decoded
        stopwatch.pictures += len(members)
        if len(members) == 1 and start % every == 0:
            stopwatch.add_stages(detector, pictures[0], detected - decoded)
        yield from ((sample.image_id, result) for sample, result in zip(members, found, strict=True))
        if progress is not None:
            progress(start + len(members), len(samples))


def _stages(detector: Staged, picture: UInt8Array) -> tuple[float, float]:
    """Seconds of letterbox and network, which are run once more for this."""
    plan = detector.plan((picture.shape[1], picture.shape[0]))
    start = time.perf_counter()
    letterbox_image(picture, plan, detector.model.preprocess.pad)
    letterboxed = time.perf_counter()
    detector.raw([picture], [plan])  # letterboxes again
    end = time.perf_counter()
    letterbox = letterboxed - start
    return letterbox, end - letterboxed - letterbox
