"""Run trainings in children and end those in all kinds of ways; a script, so that its process has no threads.

python killed.py WHAT DATA FOLDER SEED
"""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from training.worlds import Silent, open_world, settings
from yolov3.errors import Yolov3Error
from yolov3.training.augment import PRESETS
from yolov3.training.processes import Processes
from yolov3.training.progress import Progress
from yolov3.training.session import begin, resume

ALONE = Processes(0, 1, torch.device("cpu"))
SETTINGS = settings(epochs=3, batch=4, augment=PRESETS["modern"], optimiser="adamw", save_minutes=1e-9)


def work(data: Path, folder: Path, report: Silent) -> int:
    """Begin the training in a folder, or go on with it."""
    if (folder / "last/training.safetensors").is_file():
        return resume(folder, ALONE, report)
    folder.mkdir(exist_ok=True)
    return begin(open_world(data, SETTINGS), SETTINGS, folder, ALONE, report)


def in_child(job: Callable[[], int]) -> int:
    """Fork; the child ends with the job's result, or with 9 and the error's text."""
    child = os.fork()
    if child:
        return child
    try:
        code = job()
    except Yolov3Error as error:
        print(error, flush=True)
        code = 9
    os._exit(code)


def end_of(child: int) -> int:
    """How a child ended: its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def whole(data: Path, folder: Path) -> float:
    """The undisturbed run; gives its seconds."""
    began = time.monotonic()
    assert end_of(in_child(lambda: work(data, folder / "whole", Silent()))) == 0
    return time.monotonic() - began


def kill(data: Path, folder: Path, seed: int) -> None:
    """SIGKILL at random moments until the training gets through."""
    rng = random.Random(seed)
    seconds = whole(data, folder)
    ends = []
    while not ends or ends[-1] != 0:
        child = in_child(lambda: work(data, folder / "killed", Silent()))
        if len(ends) < 12:
            time.sleep(rng.uniform(0, 0.7) * seconds)
            os.kill(child, signal.SIGKILL)
        ends.append(end_of(child))
        assert ends[-1] in (0, -9), ends
    print(ends.count(-9))


class Stopping(Silent):
    """Sends its own process a signal in the middle of step `when`."""

    def __init__(self, number: int, when: int) -> None:
        super().__init__()
        self.number, self.when = number, when

    def step(self, progress: Progress, steps: int, pictures: int) -> None:
        super().step(progress, steps, pictures)
        if self.steps == self.when:
            os.kill(os.getpid(), self.number)


def stop(data: Path, folder: Path, seed: int) -> None:
    """Ctrl-C and SIGTERM, then on to the end."""
    whole(data, folder)
    for number, when in ((signal.SIGTERM, 2), (signal.SIGINT, 2)):
        child = in_child(lambda number=number, when=when: work(data, folder / "killed", Stopping(number, when)))
        assert end_of(child) == 128 + number
    assert end_of(in_child(lambda: work(data, folder / "killed", Silent()))) == 0


def disk(data: Path, folder: Path, seed: int) -> None:
    """A file system that takes no more than 100 kB a file from the second step on."""

    class Full(Silent):
        def step(self, progress: Progress, steps: int, pictures: int) -> None:
            super().step(progress, steps, pictures)
            if self.steps == 2:
                resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))

    whole(data, folder)
    assert end_of(in_child(lambda: work(data, folder / "killed", Full()))) == 9
    assert not [path for path in (folder / "killed").rglob("*") if ".tmp" in path.name]
    assert end_of(in_child(lambda: work(data, folder / "killed", Silent()))) == 0


def memory(data: Path, folder: Path, seed: int) -> None:
    """Not enough memory for a step."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()

    def job() -> int:
        large = settings(size_wh=(2048, 2048), batch=12)
        prepared = open_world(data, large)
        resource.setrlimit(resource.RLIMIT_AS, (used + (600 << 20), used + (600 << 20)))
        (folder / "large").mkdir()
        return begin(prepared, large, folder / "large", ALONE, Silent())

    assert end_of(in_child(job)) == 9


def lock(data: Path, folder: Path, seed: int) -> None:
    """A second training in the folder of one that runs; and one after it was killed."""
    child = in_child(lambda: work(data, folder / "killed", Stopping(signal.SIGSTOP, 1)))
    os.waitpid(child, os.WUNTRACED)
    assert end_of(in_child(lambda: work(data, folder / "killed", Silent()))) == 9
    os.kill(child, signal.SIGKILL)
    assert end_of(child) == -9
    assert end_of(in_child(lambda: work(data, folder / "killed", Silent()))) == 0
    whole(data, folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    jobs = {job.__name__: job for job in (kill, stop, disk, memory, lock)}
    jobs[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
