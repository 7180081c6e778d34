"""Pictures/s of the whole training loop beside the bare step of the same network: python benchmarks/training.py [DATA]

The bare step is forward, backward and SGD on random tensors, in the fastest of three arrangements (eager, channels
last, compiled and channels last, where there is a compiler) found by a short trial. The loop reads, decodes and
augments pictures, assigns, computes the loss, clips, steps, averages and reports. Both run in one process with the same
settings of malloc, in turns. CPU seconds are printed beside: on a machine that others use too they say more than the
clock.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from yolov3.data import load_dataset
from yolov3.modelfile import Model
from yolov3.spec import Spec, load_spec
from yolov3.training.augment import PRESETS
from yolov3.training.interrupt import Interrupts
from yolov3.training.loop import Training
from yolov3.training.memory import keep_freed_memory
from yolov3.training.network import Network
from yolov3.training.processes import ALONE
from yolov3.training.progress import Progress
from yolov3.training.session import Source, prepare
from yolov3.training.settings import Settings
from yolov3.zoo import find_model

Step = Callable[[], None]


class Silent:
    """A report that nobody reads."""

    def note(self, text: str) -> None:
        """Something worth knowing."""

    def step(self, progress: Progress, steps: int, pictures: int) -> None:
        """A step is done."""

    def epoch(self, row: dict[str, object], progress: Progress, epochs: int) -> None:
        """An epoch is done."""


def bare_step(spec: Spec, settings: Settings, how: str) -> Step:
    """Forward, backward and step on random tensors."""
    layout = torch.contiguous_format if how == "eager" else torch.channels_last
    network = Network(spec).train().to(memory_format=layout)
    width, height = settings.size_wh
    images = torch.rand(settings.batch, 3, height, width).contiguous(memory_format=layout)
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, nesterov=True, fused=True)
    forward = torch.compile(network) if how == "compiled" else network

    precision = getattr(torch, settings.precision)

    def step() -> None:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            outputs = forward(images)
        sum(output.float().square().mean() for output in outputs).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def loop_step(training: Training) -> Step:
    """The next step of a training that goes on for ever, as `Training.run` takes it."""

    def steps() -> Iterator[None]:
        while True:
            for batches in training.batches(training.progress.epoch, 0):
                losses = training.stepper.compute(batches)
                training.stepper.keep(0, [file for batch in batches for file in batch.files])
                training.progress.add(losses)
                training.report.step(training.progress, training.steps_an_epoch, len(batches))
                yield
            training.progress.epoch += 1

    stream = steps()
    return lambda: next(stream)


def measure(step: Step, count: int) -> tuple[float, float]:
    """Seconds by the clock and CPU seconds of one of `count` steps."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(count):
        step()
    after, done = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (done - began) / count, cpu / count


def make_pictures(root: Path, count: int = 64) -> Path:
    """Noisy photographs of 640×480 with a dozen boxes each, as a YOLO dataset."""
    rng = np.random.default_rng(0)
    for folder in ("images/train", "labels/train"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        coarse = rng.integers(0, 256, (30, 40, 3), np.uint8)
        cv2.imwrite(str(root / f"images/train/{number}.jpg"), cv2.resize(coarse, (640, 480)))
        boxes = np.column_stack(
            [rng.integers(0, 3, 12), rng.uniform(0.2, 0.8, (12, 2)), rng.uniform(0.05, 0.3, (12, 2))]
        )
        np.savetxt(root / f"labels/train/{number}.txt", boxes, fmt=["%d"] + ["%.6f"] * 4)
    (root / "data.yaml").write_text("train: images/train\nnames: [a, b, c]\n")
    return root / "data.yaml"


def make_training(data: Path, name: str, settings: Settings) -> Training:
    """A training of the named network."""
    source = Source(load_dataset(data, bad_labels="skip-row"), data, None, "skip-row")
    weights = find_model(name)
    base: Model | Spec = load_spec(name) if weights is None else Model.load(weights, origin=name)
    prepared = prepare(source, base, settings, scratch=weights is None, anchors="keep")
    task = replace(prepared.task, truth=None)
    return Training(prepared.network, task, settings, None, ALONE, Interrupts(), Silent())


def fastest_bare_step(spec: Spec, settings: Settings) -> tuple[str, Step]:
    """Try the arrangements for two steps each."""
    found = {}
    for how in ("eager", "channels last", "compiled"):
        step = bare_step(spec, settings, how)
        try:
            measure(step, 1)
        except Exception as error:  # torch.compile without a C++ compiler
            print(f"bare step, {how}: can't be run here ({type(error).__name__})")
            continue
        wall, cpu = measure(step, 2)
        print(f"bare step, {how}: {settings.batch / wall:.2f} pictures/s ({cpu:.2f} CPU s)", flush=True)
        found[how] = (wall, step)
    how = min(found, key=lambda name: found[name][0])
    return how, found[how][1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, help="a dataset; default one made of noise")
    parser.add_argument("--model", default="yolov3-tiny")
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8, help="in a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--recipe", default="modern")
    parser.add_argument("--workers", type=int, default=2, help="threads that prepare pictures")
    parser.add_argument("--precision", default="float32", help="of the loop and the bare step")
    options = parser.parse_args()
    keep_freed_memory()
    settings = Settings(
        size_wh=(options.size, options.size),
        batch=options.batch,
        recipe=options.recipe,
        workers=options.workers,
        precision=options.precision,
        augment=PRESETS[options.recipe],
        rate=1e-4,
    )
    with tempfile.TemporaryDirectory() as folder:
        training = make_training(options.data or make_pictures(Path(folder)), options.model, settings)
        with training.loader:
            how, bare = fastest_bare_step(training.network.spec, settings)
            loop = loop_step(training)
            measure(loop, 2)
            turns = []
            for _ in range(options.turns):
                turns.append((measure(bare, options.steps), measure(loop, options.steps)))
                rates = [options.batch / wall for wall, _ in turns[-1]]
                print(f"bare {rates[0]:.2f}, loop {rates[1]:.2f} pictures/s: {rates[1] / rates[0]:.1%}", flush=True)
    walls = np.median([[bare[0], loop[0]] for bare, loop in turns], axis=0)
    cpus = np.median([[bare[1], loop[1]] for bare, loop in turns], axis=0)
    print(
        f"{options.model} at {options.size}, batch {options.batch}, {options.precision}, {torch.get_num_threads()} "
        f"threads, {options.workers} loader threads, bare step {how}"
    )
    rates = options.batch / walls
    print(f"by the clock: bare {rates[0]:.2f}, loop {rates[1]:.2f} pictures/s: {rates[1] / rates[0]:.1%}")
    print(f"CPU seconds a step: bare {cpus[0]:.2f}, loop {cpus[1]:.2f}: {cpus[0] / cpus[1]:.1%}")


if __name__ == "__main__":
    main()
