"""Trainings of two processes, forked and told in the environment who they are, as torchrun does it; a script.

python ranks.py WHAT DATA FOLDER
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from training.killed import end_of, in_child
from training.worlds import Silent, make_training, open_world, settings
from yolov3.training.interrupt import Interrupts
from yolov3.training.loop import Training
from yolov3.training.processes import Processes, all_processes
from yolov3.training.progress import Progress
from yolov3.training.session import begin, resume


def in_two(job: Callable[[Processes], int]) -> list[int]:
    """Run a job in two processes that know each other; how each ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def child(rank: int) -> int:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        with all_processes() as processes:
            return job(processes)

    children = [in_child(lambda rank=rank: child(rank)) for rank in range(2)]
    return [end_of(pid) for pid in children]


def gradients(data: Path, folder: Path) -> None:
    """Losses, gradients and the step after them are those of one process with the whole batch."""

    def job(processes: Processes) -> int:
        for recipe, accumulate in (("darknet", 1), ("modern", 2)):
            chosen = settings(batch=5, accumulate=accumulate, recipe=recipe)  # shares of 3 and 2 pictures
            alone = make_training(open_world(data, chosen), chosen)
            prepared = open_world(data, chosen)
            shared = Training(prepared.network, prepared.task, chosen, None, processes, Interrupts(), Silent())
            results = []
            for training in (alone, shared):
                training.network.eval()  # each process has statistics of its own otherwise
                losses = training.stepper.compute(next(training.batches(0, 0)))
                values = {name: value.grad.clone() for name, value in training.optimiser.parameters.items()}
                training.stepper.keep(0)
                results.append((torch.tensor(losses), values, training.network.tensors()))
            torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(results[1][2], results[0][2], rtol=1e-4, atol=1e-6)
        return 0

    assert in_two(job) == [0, 0]


def validation(data: Path, folder: Path) -> None:
    """Each picture is scored once, whoever looked at it."""

    def job(processes: Processes) -> int:
        chosen = settings()
        alone = make_training(open_world(data, chosen), chosen)
        prepared = open_world(data, chosen)
        shared = Training(prepared.network, prepared.task, chosen, None, processes, Interrupts(), Silent())
        assert shared.task.truth is not None
        one, other = alone.validate(), shared.validate()
        assert one is not None and other is not None and len(one.predictions) == len(other.predictions) > 0
        assert one.metrics == other.metrics
        return 0

    assert in_two(job) == [0, 0]


class Dying(Silent):
    """Its process is killed in the middle of the third step's report."""

    def step(self, progress: Progress, steps: int, pictures: int) -> None:
        super().step(progress, steps, pictures)
        if self.steps == 3:
            os.kill(os.getpid(), signal.SIGKILL)


def killed(data: Path, folder: Path) -> None:
    """One process is killed: the other ends by itself and says why; both go on where the checkpoint is."""
    chosen = settings(epochs=3, save_minutes=1e-9)

    def work(processes: Processes, name: str, report: Silent) -> int:
        if (folder / name / "last/training.safetensors").is_file():
            return resume(folder / name, processes, report)
        return begin(open_world(data, chosen), chosen, folder / name if processes.first else None, processes, report)

    for name in ("whole", "killed"):
        (folder / name).mkdir()
    assert in_two(lambda processes: work(processes, "whole", Silent())) == [0, 0]
    for dying in (1, 0):
        began = time.monotonic()
        ends = in_two(
            lambda processes, dying=dying: work(processes, "killed", Dying() if processes.rank == dying else Silent())
        )
        assert ends[dying] == -9 and ends[1 - dying] == 9, ends
        assert time.monotonic() - began < 60
    assert in_two(lambda processes: work(processes, "killed", Silent())) == [0, 0]


if __name__ == "__main__":
    torch.set_num_threads(1)
    jobs = {job.__name__: job for job in (gradients, validation, killed)}
    jobs[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
