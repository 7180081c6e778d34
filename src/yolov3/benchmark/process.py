"""A worker's process as `running` sees it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import Any

from ..errors import DataError, ModelError, UsageError, Yolov3Error

ERRORS = {kind.exit_code: kind for kind in (Yolov3Error, UsageError, DataError, ModelError)}


class Process:
    """A worker's process; a context manager that ends it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (__exit__)
        # -P: no module is ever taken from the current folder.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
        )

    def ask(self, task: str, **request: Any) -> dict[str, Any]:
        """Have it do something and wait.

        Raises:
            Yolov3Error: what went wrong there.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        line = ""
        try:
            self._process.stdin.write(json.dumps({"task": task, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            pass  # it has ended; why is asked below
        if not line:
            raise Yolov3Error(f"{self._name}: its process ended with code {self._process.wait()}{self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ERRORS[answer["exit_code"]](self._named(answer["error"]))
        return answer

    def _named(self, message: str) -> str:
        return message if self._name in message.partition(":")[0] else f"{self._name}: {message}"

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f" ({last[:200]})" if last else ""

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it, at once where something went wrong."""
        if error is not None:
            self._process.kill()
        self._process.communicate()
        self._errors.close()
