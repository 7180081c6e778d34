"""The loop: epochs of steps, validation, checkpoints, outputs."""

from __future__ import annotations

import itertools
import platform
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from .. import __version__
from ..data import Dataset, Sample
from ..errors import Yolov3Error
from ..evaluate import GroundTruth
from ..evaluation.scoring import Evaluation
from ..images import display_name
from ..modelfile import Model, Preprocess
from .checkpoint import Checkpoint, random_states, restore_random_states
from .ema import Average
from .interrupt import Interrupts
from .loader import Batch, Loader
from .network import Network
from .optimiser import Optimiser
from .outputs import write_curves
from .processes import Processes
from .progress import Progress
from .run import RunFolder
from .settings import Settings
from .step import Stepper
from .validate import NetworkDetector, validate


class Report(Protocol):
    """Who is told what happens."""

    def note(self, text: str) -> None:
        """Something worth knowing."""
        ...

    def step(self, progress: Progress, steps: int, pictures: int) -> None:
        """One more step of the epoch's `steps` is done, with so many pictures on this process."""
        ...

    def epoch(self, row: dict[str, Any], progress: Progress, epochs: int) -> None:
        """One of `epochs` epochs is finished."""
        ...


@dataclass(frozen=True)
class Task:
    """What is to be learnt from what.

    Attributes:
        dataset: where all of it comes from.
        train: the pictures to learn from.
        truth: the pictures to score on; None where the dataset has none for that.
        preprocess: how pictures become the network's input.
        source: where the network and the data come from, for the model file.
        saved: what a resume needs to find the data again; JSON-ready.
        unreadable: why pictures of the val split were left out, a line each.
    """

    dataset: Dataset
    train: Sequence[Sample]
    truth: GroundTruth | None
    preprocess: Preprocess
    source: dict[str, Any]
    saved: dict[str, Any]
    unreadable: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Class names."""
        return self.dataset.names


class Training:
    """A training under way.

    Attributes:
        network: what is trained.
        average: what is scored and saved.
        progress: how far it is.
        bad: numbers of the training pictures that were left out, on any process.
    """

    def __init__(
        self,
        network: Network,
        task: Task,
        settings: Settings,
        run: RunFolder | None,
        processes: Processes,
        interrupts: Interrupts,
        report: Report,
    ) -> None:
        """Put everything together on the processes' device.

        Args:
            network: with its first weights.
            task: data and names.
            settings: how to train.
            run: where things are written, entered; None in all processes but the first, and for a plan.
            processes: who trains.
            interrupts: asked whether to stop.
            report: told what happens.

        Raises:
            DataError, UsageError: there are too few pictures, or the size doesn't suit the network.
        """
        self.task, self.settings, self.run_folder = task, settings, run
        self.processes, self.interrupts, self.report = processes, interrupts, report
        self.progress = Progress()
        self.loader = Loader(
            task.train,
            settings.size_wh,
            batch=settings.batch,
            epochs=settings.epochs,
            settings=settings.augment,
            seed=settings.seed,
            balanced_classes=len(task.names) if settings.balanced else 0,
            workers=settings.workers,
            rank=processes.rank,
            ranks=processes.ranks,
            stride=network.spec.network.max_stride,
            preprocess=task.preprocess,
            cache_bytes=round(settings.cache * 2**30),
        )
        self.steps_an_epoch = -(-len(self.loader) // settings.accumulate)
        self.network = network.to(processes.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.train()
        self.average = Average(network, settings.average)
        self.optimiser = Optimiser(
            network,
            settings.optimiser,
            rate=settings.full_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            schedule=settings.make_schedule(self.steps_an_epoch),
        )
        self.stepper = Stepper(
            network,
            settings.make_recipe(network.spec),
            self.optimiser,
            self.average,
            scale=task.preprocess.scale,
            clip=settings.clip,
            precision=settings.precision,
            processes=processes,
            check=interrupts.check,
        )
        self.detector = NetworkDetector(self.average.network, task.names, settings.size_wh, task.preprocess)
        self._metadata = network.to_model(task.names, settings.size_wh, task.preprocess).metadata()
        self.bad: set[int] = set()

    # ------------------------------------------------------------------------------------------- the loop

    def run(self) -> None:
        """Train to the end.

        Raises:
            SignalError: somebody stopped it; everything up to the last whole step is saved.
            Yolov3Error: it can't go on; the message says why, the last checkpoint is whole.
        """
        if not self.progress.steps:
            self.save()  # so that there is something to resume from, whenever it ends
        while self.progress.epoch < self.settings.epochs and not self.progress.stopped:
            self._epoch()

    def _epoch(self) -> None:
        began = time.perf_counter()
        pictures = 0
        saved = time.monotonic()
        for batches in self.batches(self.progress.epoch, self.progress.step):
            losses = self.stepper.compute(batches)
            files = [file for batch in batches for file in batch.files]
            self.stepper.keep(self.progress.steps, files)
            self.progress.add(losses)
            pictures += len(files)
            self.report.step(self.progress, self.steps_an_epoch, len(files))
            if time.monotonic() - saved > self.settings.save_minutes * 60:
                self.save()
                saved = time.monotonic()
        seconds = time.perf_counter() - began
        self._name_bad_pictures()
        self._finish_epoch(pictures, seconds)

    def batches(self, epoch: int, step: int) -> Generator[list[Batch], None, None]:
        """The batches of each step of an epoch, from step `step`; asks before each whether to stop."""
        stream = self.loader.epoch(epoch, step * self.settings.accumulate)
        while group := list(itertools.islice(stream, self.settings.accumulate)):
            self.interrupts.check()
            yield group

    def _finish_epoch(self, pictures: int, seconds: float) -> None:
        evaluation = self.validate()
        progress = self.progress
        box, objectness, classes = (loss / max(progress.step, 1) for loss in progress.losses)
        (total,) = self.processes.sum([pictures])
        row: dict[str, Any] = {
            "epoch": progress.epoch + 1,
            "steps": progress.steps,
            "rate": self.optimiser.rate_of(progress.steps - 1),
            "loss": box + objectness + classes,
            "box": box,
            "objectness": objectness,
            "classes": classes,
        }
        if evaluation is not None:
            row |= {name: evaluation.metrics[name] for name in ("AP", "AP50", "AP75")}
        row |= {"seconds": round(seconds, 2), "pictures_per_second": round(total / seconds, 2) if seconds else None}
        best = progress.finish_epoch(row, self.settings.patience)
        self._write_outputs(best)
        self.save()
        self.report.epoch(row, progress, self.settings.epochs)

    def validate(self, resamples: int = 0) -> Evaluation | None:
        """Score the average on the validation pictures; None where there are none."""
        if self.task.truth is None:
            return None
        return validate(
            self.detector,
            self.task.truth,
            self.processes,
            batch=min(self.settings.batch, 8),
            resamples=resamples,
            check=self.interrupts.check,
        )

    def _name_bad_pictures(self) -> None:
        """Name the pictures that were left out in this epoch for the first time, whichever process met them."""
        own = self.loader.pictures.bad
        found = self.processes.gather(np.array(sorted(set(own) - self.bad), np.float64)[:, None])
        for index in sorted({int(number) for part in found for number in part[:, 0]} - self.bad):
            name = display_name(self.task.train[index].image)
            self.report.note(f"{own.get(index, f'{name}: can not be used (another process says)')}; left out")
            self.bad.add(index)

    # ---------------------------------------------------------------------------------------- what is kept

    def model(self) -> Model:
        """The average as a model."""
        progress = self.progress
        training = {
            **self.task.source,
            "recipe": self.settings.recipe,
            "seed": self.settings.seed,
            "epoch": progress.epoch,
            "epochs": self.settings.epochs,
            "AP": progress.history[-1].get("AP") if progress.history else None,
        }
        return self.average.network.to_model(
            self.task.names, self.settings.size_wh, self.task.preprocess, {"training": training}
        )

    def _write_outputs(self, best: bool) -> None:
        if self.run_folder is None:
            return
        model = self.model()
        model.save(self.run_folder.last)
        if best:
            model.save(self.run_folder.best)
        self.run_folder.write_metrics(self.progress.history)
        write_curves(self.run_folder.path / "curves.svg", self.progress.history, self.settings.epochs)

    def save(self) -> None:
        """Write the checkpoint."""
        if self.run_folder is not None:
            self.checkpoint().save(self.run_folder.checkpoint)

    def checkpoint(self) -> Checkpoint:
        """Everything between two steps; tensors aren't copied."""
        random_tensors, random_rest = random_states()
        parts = {
            "network": self.network.tensors(),
            "average": self.average.network.tensors(),
            "optimiser": self.optimiser.tensors(),
            "random": random_tensors,
        }
        tensors = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
        state = {
            "model": self._metadata,
            "settings": self.settings.to_dict(),
            "progress": self.progress.to_dict(),
            "average_updates": self.average.updates,
            "scaler": self.stepper.scaler_state(),
            "random": random_rest,
            "threads": torch.get_num_threads(),
            "ranks": self.processes.ranks,
            "versions": versions(),
            "source": self.task.source,
            "data": self.task.saved,
        }
        return Checkpoint(tensors, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on where a checkpoint was written."""
        state = checkpoint.state
        own = self.network.tensors()
        with torch.no_grad():
            for name, value in checkpoint.part("network").items():
                own[name].copy_(value)
        self.average.load(checkpoint.part("average"), int(state["average_updates"]))
        self.optimiser.load(checkpoint.part("optimiser"))
        self.stepper.load_scaler_state(state["scaler"])
        self.stepper.note_statistics()
        restore_random_states(checkpoint.part("random"), state["random"])
        self.progress = Progress.from_dict(state["progress"])
        if self.progress.stopped:  # and yet to go on, for more epochs
            self.progress.stopped, self.progress.waiting = False, 0


def versions() -> dict[str, str]:
    """What decides over the last bits of a training."""
    python = platform.python_version()
    return {"yolov3": __version__, "torch": str(torch.__version__), "numpy": np.__version__, "python": python}


@contextmanager
def memory_errors() -> Iterator[None]:
    """Say what to do where memory runs out.

    Raises:
        Yolov3Error: instead of PyTorch's own errors.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, RuntimeError) and not any(words in text for words in _OUT_OF_MEMORY):
            raise
        raise Yolov3Error(
            "out of memory: try a smaller --batch (with --accumulate the steps stay as large), a smaller --size, or "
            f"--freeze backbone ({' '.join(text.split())[:160] or 'no block was free'})"
        ) from error


_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
