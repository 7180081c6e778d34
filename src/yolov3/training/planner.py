"""How long a training will take, how much memory, and what would make it faster: from a few measured steps."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..machine import has_bfloat16_units
from ..spec import Spec, summarise
from .loader import Batch
from .loop import Training

MEASURED = 3
ENOUGH_SECONDS = 20.0
SMALLER = (512, 416, 320, 224)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be expected.

    Attributes:
        pictures_per_second: of training.
        epoch_seconds: of an epoch without validation.
        validation_seconds: of a validation; 0 without one.
        epochs: to go.
        memory: bytes that the process takes at most.
        available: bytes that the machine has for it; None where that can't be told.
        faster: options and by how much a step would be faster, the largest gain first.
        waiting: part of the time that the network waits for pictures, 0 to 1.
        cache: GiB that the pictures in memory may take.
        pictures: GiB that all of them would take, about.
    """

    pictures_per_second: float
    epoch_seconds: float
    validation_seconds: float
    epochs: int
    memory: int
    available: int | None
    faster: list[tuple[str, float]]
    waiting: float
    cache: float
    pictures: float

    @property
    def seconds(self) -> float:
        """Of all that is to go."""
        return self.epochs * (self.epoch_seconds + self.validation_seconds)

    def lines(self) -> list[str]:
        """In words."""
        validation = f" and {duration(self.validation_seconds)} of validation" if self.validation_seconds else ""
        memory = f"{self.memory / 1e9:.1f} GB"
        if self.available is not None:
            memory += f" of {(self.memory + self.available) / 1e9:.1f} GB"
        lines = [
            f"{self.pictures_per_second:.1f} pictures/s: {duration(self.epoch_seconds)} an epoch{validation}; "
            f"{duration(self.seconds)} for {self.epochs} epochs; memory {memory}"
        ]
        if self.faster:
            gains = ", ".join(f"{option} ({duration(self.seconds / gain)})" for option, gain in self.faster)
            lines.append(f"faster with {gains}")
        if self.pictures > self.cache:
            lines.append(
                f"pictures would take about {self.pictures:.1f} GiB of memory and may take {self.cache:g}, so most are "
                f"read again each time: --cache {math.ceil(self.pictures)} keeps all"
            )
        if self.waiting > 0.1:
            lines.append(f"the network waits for pictures {self.waiting:.0%} of the time: more --workers")
        return lines


def duration(seconds: float) -> str:
    """`48 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def make_plan(training: Training) -> Plan:
    """Measure a few steps, which leave no trace, and work out the rest.

    The first step pays for memory and caches and isn't counted unless it is so long that it is the only one.
    """
    computing, waiting, pictures = 0.0, 0.0, 0
    stream = training.batches(training.progress.epoch, 0)
    last: list[Batch] = []
    began = got = done = time.perf_counter()
    for number in range(MEASURED):
        asked = time.perf_counter()
        batches = next(stream, None)
        if batches is None:
            break
        last = batches
        got = time.perf_counter()
        training.stepper.compute(batches)
        training.stepper.drop()
        done = time.perf_counter()
        if number <= 1:  # forget the first
            computing, waiting, pictures = 0.0, 0.0, 0
        computing, waiting = computing + done - got, waiting + got - asked
        pictures += sum(len(batch) for batch in batches)
        if training.processes.sum([float(done - began > ENOUGH_SECONDS)])[0]:
            break
    stream.close()
    bfloat16 = bfloat16_gain(training, last, done - got)
    (everybodys,) = training.processes.sum([pictures])
    rate = everybodys / (computing + waiting)
    spec, settings = training.network.spec, training.settings
    scored = 0 if training.task.truth is None else len(training.task.truth.samples)
    return Plan(
        pictures_per_second=rate,
        epoch_seconds=len(training.task.train) / rate,
        validation_seconds=scored / (rate * 3),
        epochs=settings.epochs - training.progress.epoch,
        memory=peak_memory(),
        available=available_memory(),
        faster=worthwhile([*gains(spec, settings.size_wh, settings.freeze), ("--precision bfloat16", bfloat16)]),
        waiting=waiting / (computing + waiting),
        cache=settings.cache,
        pictures=training.loader.pictures.expected_bytes() / 2**30,
    )


def gains(spec: Spec, size_wh: tuple[int, int], frozen: int) -> list[tuple[str, float]]:
    """Options and how many times faster a step would be, by multiply-adds: forward once, backward twice, and no
    backward pass in frozen rows.
    """
    now = _cost(spec, size_wh, frozen)
    found = []
    if not frozen:
        found.append(("--freeze backbone", now / _cost(spec, size_wh, len(spec.backbone))))
    stride = spec.network.max_stride
    smaller = next((side for side in SMALLER if side < min(size_wh) and side % stride == 0), None)
    if smaller is not None:
        found.append((f"--size {smaller}", now / _cost(spec, (smaller, smaller), frozen)))
    return found


def worthwhile(options: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Those that help, the largest gain first."""
    return sorted((option for option in options if option[1] > 1.1), key=lambda option: -option[1])


def bfloat16_gain(training: Training, batches: list[Batch], seconds: float) -> float:
    """How many times faster than `seconds` a step is in bfloat16, measured; 1 where that isn't worth trying."""
    stepper, processes = training.stepper, training.processes
    worth_trying = (
        stepper.precision == "float32"
        and processes.device.type == "cpu"
        and has_bfloat16_units() is True
        and seconds < ENOUGH_SECONDS
    )
    if processes.sum([float(worth_trying and bool(batches))]) != [processes.ranks]:
        return 1.0
    stepper.precision = "bfloat16"
    try:
        for _ in range(2):  # the first pays for memory
            began = time.perf_counter()
            stepper.compute(batches)
            stepper.drop()
    finally:
        stepper.precision = "float32"
    return seconds / (time.perf_counter() - began)


def _cost(spec: Spec, size_wh: tuple[int, int], frozen: int) -> float:
    layers = summarise(spec, size_wh).layers
    return float(sum(layer.multiply_adds * (1 if layer.row.index < frozen else 3) for layer in layers))


def peak_memory() -> int:
    """The most bytes of memory that the process has had; 0 where the system doesn't say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def available_memory() -> int | None:
    """Bytes that programs may still take; None where the system doesn't say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
