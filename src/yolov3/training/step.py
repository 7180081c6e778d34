"""One step of training: forward, loss, backward; then either kept or given up without a trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from ..errors import UsageError, Yolov3Error
from .assign import Positives
from .ema import Average
from .loader import Batch
from .loss import Recipe, Truth
from .network import Network
from .optimiser import Optimiser
from .processes import ALONE, Processes, without_exchange

Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


class Losses(NamedTuple):
    """The parts of a step's loss, over all processes."""

    box: float
    objectness: float
    classes: float


class _Prepared(NamedTuple):
    images: Tensor
    truth: Truth
    positives: list[Positives]
    files: list[str]


class Stepper:
    """Trains a network a step at a time.

    Between steps the network, the optimiser and the average belong together. `compute` leaves them alone but for
    gradients and the statistics of batch normalisation; `keep` makes the step count or fails before it has changed
    anything else; `drop` undoes to the bit what isn't kept.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        optimiser: Optimiser,
        average: Average | None,
        *,
        scale: float,
        clip: float = 0.0,
        precision: Precision = "float32",
        processes: Processes = ALONE,
        check: Callable[[], None] | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            network: in training mode, on its device.
            recipe: assignment and loss.
            optimiser: over the network's parameters.
            average: follows the network; None for none.
            scale: what 8-bit pixel values are multiplied by.
            clip: largest norm of the gradients; 0 for no limit.
            precision: of the network's forward and backward pass; losses are float32 always.
            processes: all that train this network.
            check: called between layers, forward and backward; a step is given up by raising from it.
        """
        self.processes = processes
        self.network, self.recipe, self.optimiser, self.average = network, recipe, optimiser, average
        self.scale, self.clip, self.precision = scale, clip, precision
        self._module = self.processes.wrap(network)
        self._scaler = torch.amp.GradScaler(self.processes.device.type, enabled=precision == "float16")
        self._statistics = [value for value in network.buffers() if value.is_floating_point()]
        self._kept = [value.clone() for value in self._statistics]
        self._memory_format = torch.contiguous_format
        if any(value.is_contiguous(memory_format=torch.channels_last) for value in _wide(network)):
            self._memory_format = torch.channels_last
        if check is not None:
            network.between_layers = check
            for parameter in optimiser.parameters.values():
                parameter.register_post_accumulate_grad_hook(lambda _: check())  # type: ignore[no-untyped-call]

    def compute(self, batches: Sequence[Batch]) -> Losses:
        """Forward and backward over the batches of one step; gradients are there afterwards.

        Raises:
            Yolov3Error: the loss is not a finite number; the pictures are named.
        """
        prepared = [self._prepare(batch) for batch in batches]
        positives = sum(len(head) for batch in prepared for head in batch.positives)
        pictures = sum(len(batch.images) for batch in prepared)
        divisors = self.recipe.divisors(*self.processes.sum([pictures, positives]))
        total = torch.zeros(3)
        for batch in prepared:
            with without_exchange(self._module) if batch is not prepared[-1] else nullcontext():
                total += self._accumulate(batch, divisors)
        return Losses(*self.processes.sum(total.tolist()))

    def _prepare(self, batch: Batch) -> _Prepared:
        device = self.processes.device
        images = batch.images.to(device).to(torch.float32, memory_format=self._memory_format).mul_(self.scale)
        truth = Truth(batch.targets.to(device), batch.ignore.to(device))
        positives = self.recipe.assign(truth.boxes, (images.shape[2], images.shape[3]))
        return _Prepared(images, truth, positives, batch.files)

    def _accumulate(self, batch: _Prepared, divisors: Sequence[float]) -> Tensor:
        """Add one batch's gradients; gives its three losses."""
        outputs = self._forward(batch.images)
        terms = self.recipe.terms([output.float() for output in outputs], batch.truth, batch.positives)
        losses = torch.stack([term / divisor for term, divisor in zip(terms, divisors, strict=True)])
        loss = losses.sum()
        if not math.isfinite(loss.item()):
            raise Yolov3Error(f"the loss is {loss.item()} in the batch of {_listing(batch.files)}: {_ADVICE}")
        # With several processes gradients become their mean, but the divisors count all of them.
        self._scaler.scale(loss * self.processes.ranks).backward()  # type: ignore[no-untyped-call]
        return losses.detach().cpu()

    def _forward(self, images: Tensor) -> list[Tensor]:
        with self._precision():
            try:
                outputs: list[Tensor] = self._module(images)
            except ValueError as error:
                if "more than 1 value per channel" not in str(error):
                    raise
                raise UsageError(
                    "batch normalisation needs more than one picture in a batch at this size: give a larger --batch "
                    "or --size"
                ) from None
        return outputs

    def _precision(self) -> torch.autocast | nullcontext[None]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.processes.device.type, getattr(torch, self.precision))

    def keep(self, step: int, files: Sequence[str] = ()) -> None:
        """Let the optimiser take the step, number `step` of the run from 0.

        Raises:
            Yolov3Error: the gradients are not finite numbers; the pictures are named.
        """
        self.optimiser.prepare(step)
        self._scaler.unscale_(self.optimiser.inner)
        norm = self.optimiser.clip(self.clip)
        finite = math.isfinite(norm)
        if not finite and not self._scaler.is_enabled():
            raise Yolov3Error(f"the gradients are not finite in the batch of {_listing(files)}: {_ADVICE}")
        self.processes.share_statistics(self._statistics)
        # The last exchange is over: from here on nothing fails halfway, up to here `drop` undoes everything.
        # A step that float16 made overflow is left out here: when the scaler leaves out the first, PyTorch's fused SGD
        # (2.13) goes on with momentum that nobody has set.
        if finite:
            self._scaler.step(self.optimiser.inner)
        self._scaler.update()
        self.optimiser.clear()
        if self.average is not None:
            self.average.update(self.network)
        self.note_statistics()

    def note_statistics(self) -> None:
        """Take the statistics of batch normalisation as they are for those between steps."""
        torch._foreach_copy_(self._kept, self._statistics)

    def drop(self) -> None:
        """Give up what `compute` has done, wherever it was."""
        self.optimiser.clear()
        torch._foreach_copy_(self._statistics, self._kept)

    def scaler_state(self) -> dict[str, float]:
        """The loss scale of float16, for a checkpoint; empty otherwise."""
        return dict(self._scaler.state_dict())

    def load_scaler_state(self, state: dict[str, float]) -> None:
        """Take up a state that was saved."""
        if state:
            self._scaler.load_state_dict(state)


_ADVICE = "try a lower --rate or look at these pictures; the last checkpoint is as it was"


def _wide(network: nn.Module) -> list[Tensor]:
    """Weights whose layout in memory tells the format."""
    return [value for value in network.parameters() if value.ndim == 4 and min(value.shape[1:]) > 1]


def _listing(files: Sequence[str]) -> str:
    more = f" and {len(files) - 20} more" if len(files) > 20 else ""
    return ", ".join(files[:20]) + more
