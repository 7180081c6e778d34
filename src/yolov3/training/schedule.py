"""Learning rate and momentum over the steps of a run: pure functions of the step's number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["cosine", "steps", "constant"]
KINDS: tuple[str, ...] = get_args(Kind)

# Darknet's COCO cfgs: steps=400000,450000 of 500200, scales=.1,.1
STEPS = ((0.8, 0.1), (0.9, 0.1))
WARM_UP_MOMENTUM = 0.8


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the learning rate changes.

    Attributes:
        kind: "cosine" from 1 down to `final` (SGDR, arXiv 1608.03983, without restarts); "steps": to a tenth after 80
            % of all steps and again after 90 %, as in Darknet's COCO cfgs; "constant".
        steps: of the whole run, 1 or more.
        warm_up: so many first steps the rate rises linearly to its full height (arXiv 1706.02677, section 2.2) and the
            momentum from 0.8 to its own.
        final: the last factor of the cosine, 0 to 1.
    """

    kind: Kind
    steps: int
    warm_up: int = 0
    final: float = 0.01

    def rate(self, step: int) -> float:
        """What the learning rate is multiplied by in step `step` (from 0): 0 to 1."""
        return self._decayed(step / self.steps) * min((step + 1) / (self.warm_up + 1), 1.0)

    def momentum(self, step: int, full: float) -> float:
        """The momentum in step `step`, of which `full` is the usual."""
        if step >= self.warm_up or full <= WARM_UP_MOMENTUM:
            return full
        return WARM_UP_MOMENTUM + (full - WARM_UP_MOMENTUM) * step / self.warm_up

    def _decayed(self, part: float) -> float:
        if self.kind == "cosine":
            return self.final + (1 - self.final) * (1 + math.cos(math.pi * min(part, 1.0))) / 2
        if self.kind == "steps":
            return math.prod(scale for start, scale in STEPS if part >= start)
        return 1.0
