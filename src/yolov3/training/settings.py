"""All that a training can be told, checked before anything is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import ModelError, UsageError
from ..spec import Spec
from .augment import PRESETS, AugmentSettings
from .loss import RECIPES, DarknetRecipe, ModernRecipe, Recipe
from .optimiser import KINDS as OPTIMISERS
from .optimiser import Kind as OptimiserKind
from .schedule import KINDS as SCHEDULES
from .schedule import Kind as ScheduleKind
from .schedule import Schedule
from .step import PRECISIONS, Precision

# The modern recipe's losses are means over positives, Darknet's are sums over all that a picture has.
RATES = {("sgd", "darknet"): 0.01, ("sgd", "modern"): 0.05, ("adamw", "darknet"): 0.001, ("adamw", "modern"): 0.001}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to train.

    Attributes:
        epochs: how often every picture is seen, 1 or more.
        batch: pictures that go through the network together, of all processes.
        accumulate: batches whose gradients make one step, 1 or more.
        size_wh: the network's input size.
        seed: of first weights, order and augmentation, 0 to 2^63 − 1.
        recipe: "darknet" or "modern": assignment and loss.
        ignore_threshold: Darknet's `ignore_thresh`, 0 to 1.
        focal: exponent of the modern recipe's focal loss, from 0.
        label_smoothing: of the modern recipe, 0 to below 1.
        optimiser: "sgd" (with Nesterov's momentum) or "adamw".
        rate: the learning rate at its full height; None for what suits optimiser and recipe.
        momentum: of SGD, or AdamW's β₁, 0 to below 1.
        weight_decay: of convolution weights, from 0.
        schedule: "cosine", "steps" or "constant".
        final: the last learning rate of the cosine, in parts of the full one, 0 to 1.
        warm_up: epochs in which the learning rate rises; at most a third of all.
        clip: largest norm of the gradients, 0 for no limit.
        average: most memory of the average of weights, 0 to below 1; 0 is no average.
        patience: stop after so many epochs without a better AP; 0 never stops.
        freeze: so many first rows are left as they are.
        precision: "float32", "bfloat16" or "float16".
        balanced: show pictures of rare classes more often.
        augment: how pictures are changed.
        workers: threads that prepare pictures.
        cache: GiB of memory, of each process, for pictures that were read, from 0.
        save_minutes: a checkpoint at least every so many minutes, above 0; there is one after every epoch too.

    Raises:
        UsageError: a value that can't be meant, by its name.
    """

    epochs: int = 100
    batch: int = 16
    accumulate: int = 1
    size_wh: tuple[int, int] = (416, 416)
    seed: int = 0
    recipe: str = "darknet"
    ignore_threshold: float = 0.7
    focal: float = 0.0
    label_smoothing: float = 0.0
    optimiser: OptimiserKind = "sgd"
    rate: float | None = None
    momentum: float = 0.937
    weight_decay: float = 0.0005
    schedule: ScheduleKind = "cosine"
    final: float = 0.01
    warm_up: float = 3.0
    clip: float = 10.0
    average: float = 0.9999
    patience: int = 0
    freeze: int = 0
    precision: Precision = "float32"
    balanced: bool = False
    augment: AugmentSettings = field(default_factory=lambda: PRESETS["darknet"])
    workers: int = 2
    cache: float = 1.0
    save_minutes: float = 10.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "accumulate"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        for name in ("seed", "patience", "freeze", "workers"):
            _check(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        for name in ("weight_decay", "clip", "warm_up", "focal", "cache"):
            _check(name, getattr(self, name), 0 <= getattr(self, name) < math.inf, "a number from 0")
        for name in ("momentum", "average", "label_smoothing"):
            _check(name, getattr(self, name), 0 <= getattr(self, name) < 1, "0 to below 1")
        for name in ("final", "ignore_threshold"):
            _check(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "0 to 1")
        for name, rate in (("rate", self.rate), ("save_minutes", self.save_minutes)):
            _check(name, rate, rate is None or 0 < rate < math.inf, "a number above 0")
        for name, known in _CHOICES.items():
            _check(name, getattr(self, name), getattr(self, name) in known, f"one of {', '.join(known)}")
        for name, (recipe, usual) in _OF_ONE_RECIPE.items():
            if getattr(self, name) != usual and self.recipe != recipe:
                raise UsageError(f"--{name.replace('_', '-')} goes with --recipe {recipe}")

    @property
    def full_rate(self) -> float:
        """The learning rate at its full height."""
        return RATES[self.optimiser, self.recipe] if self.rate is None else self.rate

    def make_recipe(self, spec: Spec) -> Recipe:
        """Assignment and loss for a network."""
        if self.recipe == "darknet":
            return DarknetRecipe.of(spec, self.ignore_threshold)
        return ModernRecipe.of(spec, focal=self.focal, label_smoothing=self.label_smoothing)

    def make_schedule(self, steps_an_epoch: int) -> Schedule:
        """The learning rate over the run."""
        warm_up = min(self.warm_up, self.epochs / 3)
        return Schedule(self.schedule, self.epochs * steps_an_epoch, round(warm_up * steps_an_epoch), self.final)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML or JSON."""
        return asdict(self) | {"size_wh": list(self.size_wh), "augment": self.augment.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """What `to_dict` gave.

        Raises:
            ModelError: it isn't that.
        """
        try:
            known = {part.name: values[part.name] for part in fields(cls)}
            known["size_wh"] = (int(values["size_wh"][0]), int(values["size_wh"][1]))
            known["augment"] = AugmentSettings(**values["augment"])
            return cls(**known)
        except (KeyError, TypeError, IndexError) as error:
            raise ModelError(f"the checkpoint's settings can't be read ({error})") from None


# settings that only one recipe knows, and their defaults
_OF_ONE_RECIPE = {
    "ignore_threshold": ("darknet", 0.7),
    "focal": ("modern", 0.0),
    "label_smoothing": ("modern", 0.0),
}
_CHOICES = {"recipe": RECIPES, "optimiser": OPTIMISERS, "schedule": SCHEDULES, "precision": PRECISIONS}


def _check(name: str, value: object, good: bool, expected: str) -> None:
    if not good:
        raise UsageError(f"--{name.replace('_', '-')} {value}: expected {expected}")
