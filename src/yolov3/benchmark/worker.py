"""The process of one contender: requests come as lines of JSON on standard input, answers go as lines of JSON.

Started by `running` as `python -P -m yolov3.benchmark.worker`; it ends with its standard input.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, TextIO

from ..errors import Yolov3Error
from .contenders import KINDS, Contender
from .machine import measure_peak, peak_memory


def main() -> None:
    """Answer until standard input ends."""
    with own_output() as answers:
        worker = Worker()
        for line in sys.stdin:
            answers.write(json.dumps(answer(worker, json.loads(line))) + "\n")
            answers.flush()


def own_output() -> TextIO:
    """Standard output for answers alone: what libraries print goes to standard error from now on."""
    kept = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return kept


def answer(worker: Worker, request: dict[str, Any]) -> dict[str, Any]:
    """What a request gives, or why it doesn't."""
    task: Callable[..., dict[str, Any]] = getattr(worker, request.pop("task"))
    try:
        return task(**request)
    except Yolov3Error as error:
        return {"error": str(error), "exit_code": error.exit_code}
    except Exception as error:  # other software raises what it likes
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", "exit_code": 1}


class Worker:
    """One contender and what is asked of it: a request's task is the name of a method, the rest its arguments."""

    def __init__(self) -> None:
        self._contender: Contender | None = None

    @property
    def contender(self) -> Contender:
        """The one that was loaded."""
        assert self._contender is not None
        return self._contender

    def load(self, kind: str, first: Sequence[str], **options: Any) -> dict[str, Any]:
        """Make the contender and have it look at its first pictures; seconds of both."""
        start = perf_counter()
        self._contender = KINDS[kind](**options)
        loaded = perf_counter()
        self._contender.pictures(first)
        return {"load": loaded - start, "first": perf_counter() - loaded}

    def network(self, batch: int, times: int) -> dict[str, Any]:
        """Seconds a picture of the network alone, a figure a call."""
        return {"seconds": [self.contender.network(batch) / batch for _ in range(times)]}

    def pictures(self, batches: Sequence[Sequence[str]]) -> dict[str, Any]:
        """Seconds a picture from file to boxes, a figure a batch; and all boxes."""
        seconds, boxes = [], 0
        for paths in batches:
            start = perf_counter()
            boxes += self.contender.pictures(paths)
            seconds.append((perf_counter() - start) / len(paths))
        return {"seconds": seconds, "boxes": boxes}

    def memory(self) -> dict[str, Any]:
        """The most memory that this process ever held."""
        return {"bytes": peak_memory()}

    def peak(self) -> dict[str, Any]:
        """The machine's floating-point peak."""
        return {"flops": measure_peak()}


if __name__ == "__main__":
    main()
