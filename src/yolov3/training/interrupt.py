"""Ctrl-C and SIGTERM as something that a training asks for at moments when it can stop."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SignalError(Exception):
    """Somebody wants the training to end.

    Attributes:
        code: the exit code, 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Interrupts:
    """While it is entered, signals are noted instead of ending the process; a second one ends it at once."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @property
    def pending(self) -> SignalError | None:
        """The signal that has come, if one has."""
        return None if self._number is None else SignalError(self._number)

    def check(self) -> None:
        """Called often, at moments when what is under way can be given up.

        Raises:
            SignalError: a signal has come.
        """
        if self._number is not None:
            raise SignalError(self._number)
