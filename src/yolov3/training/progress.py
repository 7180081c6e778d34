"""How far a training is: plain numbers that go into its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import ModelError
from .step import Losses


@dataclass(slots=True)
class Progress:
    """The state of the loop between two steps.

    Attributes:
        epoch: epochs that are finished, validation included.
        step: steps of the running epoch that are done.
        steps: steps of the whole run that are done.
        losses: sums of box, objectness and class loss over the running epoch's steps.
        best_AP: of all epochs; None before the first that could be scored.
        best_epoch: its number, from 1.
        waiting: epochs since then, or since a resume after an early stop.
        stopped: whether patience has run out.
        history: a row of metrics for each finished epoch.
    """

    epoch: int = 0
    step: int = 0
    steps: int = 0
    losses: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    best_AP: float | None = None  # noqa: N815
    best_epoch: int = 0
    waiting: int = 0
    stopped: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)

    def add(self, losses: Losses) -> None:
        """A step is done."""
        self.losses = [total + loss for total, loss in zip(self.losses, losses, strict=True)]
        self.step += 1
        self.steps += 1

    def finish_epoch(self, row: dict[str, Any], patience: int) -> bool:
        """An epoch is done and scored; gives whether it is the best so far. Without scores the last always is."""
        self.history.append(row)
        self.epoch += 1
        self.step = 0
        self.losses = [0.0, 0.0, 0.0]
        found = row.get("AP")
        better = found is None or self.best_AP is None or found > self.best_AP
        if better:
            self.best_AP, self.best_epoch, self.waiting = found, self.epoch, 0
        else:
            self.waiting += 1
        self.stopped = bool(patience) and self.waiting >= patience
        return better

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Progress:
        """What `to_dict` gave.

        Raises:
            ModelError: it isn't that.
        """
        try:
            return cls(**{part.name: values[part.name] for part in fields(cls)})
        except (KeyError, TypeError) as error:
            raise ModelError(f"the checkpoint's progress can't be read ({error})") from None
