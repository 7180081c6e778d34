"""TensorBoard's event files, where the package is installed. A logger in trouble never stops a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import Yolov3Error
from .loop import Report
from .progress import Progress

SCALARS = ("loss", "box", "objectness", "classes", "AP", "AP50", "AP75", "rate", "pictures_per_second")


class Board(Report):
    """Tells another report everything, and TensorBoard the numbers of each epoch."""

    def __init__(self, report: Report, folder: Path) -> None:
        """Write to `folder`.

        Raises:
            Yolov3Error: the package isn't installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise Yolov3Error("--tensorboard: not installed; pip install tensorboard") from None
        self._report = report
        self._writer: Any = None
        try:
            self._writer = SummaryWriter(str(folder))
        except Exception as error:
            self._give_up(error)

    def note(self, text: str) -> None:
        """See `Report`."""
        self._report.note(text)

    def step(self, progress: Progress, steps: int, pictures: int) -> None:
        """See `Report`."""
        self._report.step(progress, steps, pictures)

    def epoch(self, row: dict[str, Any], progress: Progress, epochs: int) -> None:
        """See `Report`."""
        self._report.epoch(row, progress, epochs)
        if self._writer is None:
            return
        try:
            for name in SCALARS:
                if row.get(name) is not None:
                    self._writer.add_scalar(name, row[name], row["epoch"])
            self._writer.flush()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Whatever goes wrong in there: the training matters more."""
        self._writer = None
        reason = " ".join(str(error).split()) or type(error).__name__
        self._report.note(f"TensorBoard's files can't be written any more ({reason}); the training goes on")
