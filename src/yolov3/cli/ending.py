"""What can end a run from outside, or trouble its output: signals, a reader that goes away, closed streams."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO


class Terminated(KeyboardInterrupt):
    """SIGTERM (`docker stop`, a batch queue): ends a run as Ctrl-C does, with what is done so far in order."""


def stop_code(stop: BaseException) -> int:
    """The exit code of a run that was stopped: 143 for SIGTERM, 130 for Ctrl-C, as shells have it."""
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """While inside, SIGTERM raises `Terminated`, so that no half-written file stays behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def prepare_streams() -> None:
    """Make standard output and error take every text: what their encoding lacks appears as `\\xd7`.

    A closed one becomes the null device, lest the next file that is opened gets its number.
    """
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 - open until the process ends
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def forget_output() -> None:
    """The reader of standard output has gone: what Python still wants to write at its end goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
