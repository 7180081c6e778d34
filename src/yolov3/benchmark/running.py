"""Measuring: contenders are loaded one after the other, then work on the same pictures in turns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

from ..errors import DataError, Yolov3Error
from ..spec import summarise
from .contenders import PEERS
from .machine import describe_machine
from .plan import Job, Plan, make_plan
from .process import Process
from .report import Entry, Report

FEWEST_ROUNDS = 3
ENOUGH_SECONDS = 60.0  # after so many, the fewest rounds will do

Progress = Callable[[str], None]


def run_benchmark(job: Job, progress: Progress = lambda message: None) -> Report:
    """Measure every engine, and every peer.

    Args:
        job: what.
        progress: is told what is going on.

    Raises:
        ModelError: the model can't be read, or is asked of a peer that can't run it.
        UsageError: no such engine or peer.
        Yolov3Error: an engine or peer that was named isn't installed or fails; no engine works.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plan = make_plan(job, folder)
        progress("measuring the machine's floating-point peak")
        peak = measured_peak()
        workers, entries, notes = _load_all(plan, stack, progress)
        rounds = _take_turns(plan, workers, entries, progress)
        for name, worker in workers.items():
            entries[name].memory_bytes = worker.ask("memory")["bytes"]
    operations = 2 * summarise(plan.model.spec, plan.size_wh).multiply_adds
    return Report(
        machine=describe_machine(),
        model=str(job.model),
        size_wh=plan.size_wh,
        batch=job.batch,
        pictures=sum(map(len, plan.batches)),
        rounds=rounds,
        operations=operations,
        peak=peak,
        entries=list(entries.values()),
        notes=notes,
    )


def measured_peak() -> float:
    """Floating-point operations a second of this machine, measured in a process of its own."""
    with Process("the machine's peak") as process:
        flops: float = process.ask("peak")["flops"]
        return flops


def _load_all(
    plan: Plan, stack: ExitStack, progress: Progress
) -> tuple[dict[str, Process], dict[str, Entry], list[str]]:
    """Start all contenders, one after the other; of all engines, one that doesn't work is left out with a note."""
    workers, entries, notes = {}, {}, []
    for name, options in plan.contenders.items():
        progress(f"{name}: loading")
        worker = stack.enter_context(Process(name))
        try:
            taken = worker.ask("load", first=plan.batches[0], **options)
            worker.ask("pictures", batches=plan.batches[:2])  # warm
            worker.ask("network", batch=plan.job.batch, times=1)
        except Yolov3Error as error:
            if name in PEERS or plan.job.engines is not None or isinstance(error, DataError):
                raise
            notes.append(f"{error}; left out")
            continue
        workers[name] = worker
        first = taken["first"] / len(plan.batches[0])
        entries[name] = Entry(name, peer=name in PEERS, load=taken["load"], first=first)
    if all(entry.peer for entry in entries.values()):
        raise Yolov3Error("; ".join(notes))
    return workers, entries, notes


def _take_turns(plan: Plan, workers: dict[str, Process], entries: dict[str, Entry], progress: Progress) -> int:
    """All contenders on the same pictures, round by round, forwards and backwards; how many rounds there were."""
    start = perf_counter()
    for number in range(plan.job.rounds):
        if number >= FEWEST_ROUNDS and perf_counter() - start > ENOUGH_SECONDS:
            return number
        for name in list(workers) if number % 2 == 0 else list(reversed(workers)):
            progress(f"round {number + 1} of {plan.job.rounds}: {name}")
            worker, entry = workers[name], entries[name]
            entry.network.append(worker.ask("network", batch=plan.job.batch, times=len(plan.batches))["seconds"])
            answer = worker.ask("pictures", batches=plan.batches)
            entry.end_to_end.append(answer["seconds"])
            entry.boxes = answer["boxes"]
    return plan.job.rounds
