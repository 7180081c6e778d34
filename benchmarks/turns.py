"""Contenders in processes of their own that take turns, and the table of their ratios.

On a machine whose speed drifts, only what was measured side by side can be compared: in each round every contender
works on the same pictures, one after the other, and a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

SPAWN = get_context("spawn")
Contender = Callable[[Sequence[Path]], int]  # pictures → number of boxes
Maker = Callable[..., Contender]


class UnavailableError(Exception):
    """A contender that isn't installed or can't run this network."""


class Worker:
    """One contender in a process of its own."""

    def __init__(self, make: Maker, arguments: Mapping[str, Any]) -> None:
        self._pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(theirs, make, dict(arguments)))
        self._process.start()
        theirs.close()
        self._answer()

    def start(self, paths: Sequence[Path], each: bool) -> None:
        """Let it begin; `finish` waits."""
        self._pipe.send((list(paths), each))

    def finish(self) -> tuple[list[float], int]:
        """Seconds (one a picture with `each`, else one for all) and the number of boxes."""
        seconds, boxes = self._answer()
        return seconds, boxes

    def run(self, paths: Sequence[Path], each: bool) -> tuple[list[float], int]:
        """Both."""
        self.start(paths, each)
        return self.finish()

    def _answer(self) -> Any:
        try:
            kind, value = self._pipe.recv()
        except EOFError:
            raise UnavailableError("its process ended") from None
        if kind == "error":
            raise UnavailableError(value)
        return value

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)
        self._process.kill()


def _serve(pipe: Connection, make: Maker, arguments: dict[str, Any]) -> None:
    """In the contender's process: build, then work when asked until the other end is closed."""
    try:
        contender = make(**arguments)
        pipe.send(("ready", None))
        with contextlib.suppress(EOFError):
            while True:
                paths, each = pipe.recv()
                pipe.send(("done", _timed(contender, paths, each)))
    except ImportError as error:
        pipe.send(("error", f"not installed: {error}"))
    except Exception as error:
        traceback.print_exc()
        pipe.send(("error", f"{type(error).__name__}: {error}"))


def _timed(contender: Contender, paths: Sequence[Path], each: bool) -> tuple[list[float], int]:
    seconds, boxes = [], 0
    for part in [[path] for path in paths] if each else [paths]:
        start = perf_counter()
        boxes += contender(part)
        seconds.append(perf_counter() - start)
    return seconds, boxes


class Race:
    """Contenders and what they took in each round; the first one is ours."""

    def __init__(self, paths: Sequence[Path], *, each: bool) -> None:
        """`each`: a turn's figure is the median picture; else the whole turn, a picture's share."""
        self.paths = paths
        self.each = each
        self.workers: dict[str, Worker] = {}
        self.rounds: dict[str, list[float]] = {}
        self.pictures: dict[str, list[float]] = {}
        self.boxes: dict[str, int] = {}

    def add(self, name: str, make: Maker, *, warm: int = 8, **arguments: Any) -> None:
        """Start a contender and warm it with some pictures; one that can't is left out, saying why."""
        try:
            self.workers[name] = Worker(make, arguments)
            self.workers[name].run(self.paths[:warm], self.each)
        except UnavailableError as error:
            self.workers.pop(name, None)
            print(f"{name}: left out, {error}", file=sys.stderr)

    def run(self, rounds: int) -> None:
        """All in turn, forwards and backwards, so that none always follows the same one."""
        for number in range(rounds):
            names = list(self.workers)
            for name in names if number % 2 == 0 else reversed(names):
                seconds, self.boxes[name] = self.workers[name].run(self.paths, self.each)
                figure = statistics.median(seconds) if self.each else seconds[0] / len(self.paths)
                self.rounds.setdefault(name, []).append(figure)
                self.pictures.setdefault(name, []).extend(seconds)

    def table(self) -> str:
        """Milliseconds and pictures/s, and how many times faster than each the first one is."""
        ours = next(iter(self.rounds))
        lines = [
            "| | ms a picture | pictures/s | boxes | times as fast as this: ours (rounds from – to) |",
            "|---|---|---|---|---|",
        ]
        for name, seconds in self.rounds.items():
            typical = statistics.median(seconds)
            ratios = [theirs / mine for theirs, mine in zip(seconds, self.rounds[ours], strict=True)]
            boxes = str(self.boxes[name]) if self.boxes[name] else "–"
            ratio = (
                "1" if name == ours else f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} – {max(ratios):.2f})"
            )
            lines.append(f"| {name} | {typical * 1000:.1f} | {1 / typical:.1f} | {boxes} | {ratio} |")
        return "\n".join(lines)

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.close()
