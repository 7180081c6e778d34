"""The folder of a training: what is in it, and that only one training writes there."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import yaml

from ..errors import Yolov3Error
from ..files import write_atomic

CHECKPOINT = Path("last/training.safetensors")


class RunFolder:
    """A run's folder, held by one process as long as it is entered.

    The lock is the operating system's and ends with the process, however that ends.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock: IO[str] | None = None

    def __enter__(self) -> RunFolder:
        """Take the folder.

        Raises:
            Yolov3Error: another process has it, or it can't be written.
        """
        try:
            (self.path / "last").mkdir(exist_ok=True)
            file = (self.path / "last" / "lock").open("a")
        except OSError as error:
            raise Yolov3Error(f"{self.path}: can't be written ({error.strerror})") from None
        try:
            _lock_file(file)
        except OSError:
            file.close()
            raise Yolov3Error(
                f"{self.path}: another process trains there; wait for it or name another folder"
            ) from None
        self._lock = file
        self._remove_leftovers()
        return self

    def _remove_leftovers(self) -> None:
        """Take away what a killed process had half written (`files.atomic_path`)."""
        for name in (self.checkpoint, self.best, self.last):
            for leftover in name.parent.glob(f".{name.name}.????????.tmp{name.suffix}"):
                leftover.unlink(missing_ok=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def checkpoint(self) -> Path:
        """What `--resume` reads."""
        return self.path / CHECKPOINT

    @property
    def best(self) -> Path:
        """The model of the epoch with the best AP."""
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        """The model of the last epoch."""
        return self.path / "last" / "model.safetensors"

    @property
    def evaluation(self) -> Path:
        """The folder of the evaluation card; complete once the card is there."""
        return self.path / "evaluation"

    @property
    def card(self) -> Path:
        """The last thing that a training with a val split writes."""
        return self.evaluation / "card.html"

    def write_arguments(self, values: dict[str, Any]) -> None:
        """`args.yaml`: what the training was told, and on what it runs."""
        write_atomic(self.path / "args.yaml", yaml.safe_dump(values, sort_keys=False, allow_unicode=True))

    def write_metrics(self, history: Sequence[dict[str, Any]]) -> None:
        """`metrics.csv` and `metrics.jsonl`, a line an epoch, each written whole."""
        text = io.StringIO()
        columns = list(dict.fromkeys(name for row in history for name in row))
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        write_atomic(self.path / "metrics.csv", text.getvalue())
        lines = [json.dumps(row, ensure_ascii=False) for row in history]
        write_atomic(self.path / "metrics.jsonl", "".join(f"{line}\n" for line in lines))


def _lock_file(file: IO[str]) -> None:
    """Take the file or raise OSError at once."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
