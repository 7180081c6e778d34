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
from yolov3.training.checkpoint import Checkpoint
from yolov3.training.interrupt import Interrupts
from yolov3.training.loop import Training
from yolov3.training.processes import Processes, all_processes
from yolov3.training.progress import Progress
from yolov3.training.session import begin, resume
from yolov3.training.settings import Settings


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
    """Sends its process a signal in the middle of the third step's report."""

    def __init__(self, number: int = signal.SIGKILL) -> None:
        super().__init__()
        self.number = number

    def step(self, progress: Progress, steps: int, pictures: int) -> None:
        super().step(progress, steps, pictures)
        if self.steps == 3:
            os.kill(os.getpid(), self.number)


CHOSEN = settings(epochs=3, save_minutes=1e-9)
SELDOM = settings(epochs=3)


def work(data: Path, folder: Path, processes: Processes, report: Silent, chosen: Settings = CHOSEN) -> int:
    """Begin the training in a folder, or go on with it."""
    if (folder / "last/training.safetensors").is_file():
        return resume(folder, processes, report)
    if processes.first:
        folder.mkdir(exist_ok=True)
    return begin(open_world(data, chosen), chosen, folder if processes.first else None, processes, report)


def killed(data: Path, folder: Path) -> None:
    """One process is killed: the other ends by itself and says why; both go on where the checkpoint is."""
    assert in_two(lambda processes: work(data, folder / "whole", processes, Silent())) == [0, 0]
    for dying in (1, 0):
        began = time.monotonic()

        def job(processes: Processes, dying: int = dying) -> int:
            return work(data, folder / "killed", processes, Dying() if processes.rank == dying else Silent())

        ends = in_two(job)
        assert ends[dying] == -9 and ends[1 - dying] == 9, ends
        assert time.monotonic() - began < 60
    assert in_two(lambda processes: work(data, folder / "killed", processes, Silent())) == [0, 0]


def saved(data: Path, folder: Path) -> None:
    """What the first process has done when it loses the other, or both are told to stop, is kept."""

    def steps() -> int:
        return int(Checkpoint.load(folder / "killed/last/training.safetensors").state["progress"]["steps"])

    def job(processes: Processes, number: int, who: tuple[int, ...]) -> int:
        report = Dying(number) if processes.rank in who else Silent()
        return work(data, folder / "killed", processes, report, SELDOM)

    assert in_two(lambda processes: work(data, folder / "whole", processes, Silent(), SELDOM)) == [0, 0]
    assert in_two(lambda processes: job(processes, signal.SIGKILL, (1,))) == [9, -9]
    assert steps() == 3
    assert in_two(lambda processes: job(processes, signal.SIGTERM, (0, 1))) == [143, 143]
    assert steps() == 6
    assert in_two(lambda processes: work(data, folder / "killed", processes, Silent())) == [0, 0]


def bad(data: Path, folder: Path) -> None:
    """A picture that one process can't read is named by the first, which alone ends with 3."""

    def job(processes: Processes) -> int:
        report = Silent()
        code = work(data, folder / "run", processes, report)
        print("\n".join(note for note in report.notes if "003.png" in note or "could not" in note), flush=True)
        return code

    assert in_two(job) == [3, 0]


if __name__ == "__main__":
    torch.set_num_threads(1)
    jobs = {job.__name__: job for job in (gradients, validation, killed, saved, bad)}
    jobs[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
