"""Optimisers over a network's parameters by name, and their state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from .network import Network
from .schedule import Schedule

Kind = Literal["sgd", "adamw"]
KINDS: tuple[str, ...] = get_args(Kind)


class Optimiser:
    """SGD with Nesterov's momentum, or AdamW, over the parameters that aren't frozen.

    Only convolution weights decay, not biases and batch normalisation (Darknet's `update_convolutional_layer`;
    arXiv 1812.01187, section 3.1).
    """

    def __init__(
        self, network: Network, kind: Kind, *, rate: float, momentum: float, weight_decay: float, schedule: Schedule
    ) -> None:
        """Over those of the network's parameters that ask for gradients.

        Args:
            network: whose parameters.
            kind: "sgd" or "adamw".
            rate: the learning rate at its full height, above 0.
            momentum: 0 to below 1; AdamW's first β.
            weight_decay: from 0, for each step at full rate.
            schedule: of the rate.
        """
        self.parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self.rate, self.momentum, self.schedule = rate, momentum, schedule
        decaying = [value for value in self.parameters.values() if value.ndim == 4]
        others = [value for value in self.parameters.values() if value.ndim != 4]
        groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
        groups = [group for group in groups if group["params"]]
        self._sgd = kind == "sgd"
        self._inner: torch.optim.Optimizer
        if self._sgd:
            self._inner = torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0, fused=True)
        else:
            self._inner = torch.optim.AdamW(groups, lr=rate, betas=(momentum, 0.999), fused=True)

    @property
    def inner(self) -> torch.optim.Optimizer:
        """PyTorch's own object, for `torch.amp.GradScaler`."""
        return self._inner

    def rate_of(self, step: int) -> float:
        """The learning rate of step `step` (from 0)."""
        return self.rate * self.schedule.rate(step)

    def prepare(self, step: int) -> None:
        """Set rate and momentum for step `step`."""
        rate = self.rate_of(step)
        momentum = self.schedule.momentum(step, self.momentum)
        for group in self._inner.param_groups:
            group["lr"] = rate
            if not self._sgd:
                group["betas"] = (momentum, 0.999)
            elif self.momentum > 0:
                group["momentum"] = momentum

    def clip(self, most: float) -> float:
        """Scale gradients down to a norm of at most `most` (0: leave them); gives the norm before."""
        parameters = list(self.parameters.values())
        if not most:
            return float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
        return float(nn.utils.clip_grad_norm_(parameters, most))

    def clear(self) -> None:
        """Forget the gradients."""
        self._inner.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """The state, as `parameter name/key`; not copies."""
        return {
            f"{name}/{key}": value
            for name, parameter in self.parameters.items()
            for key, value in self._inner.state[parameter].items()
            if isinstance(value, Tensor)
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up a state that was saved."""
        for place, value in tensors.items():
            name, key = place.rsplit("/", 1)
            parameter = self.parameters[name]
            # The fused kernels walk through memory, so parameter and state must lie there alike.
            own = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
            self._inner.state[parameter][key] = own.detach().copy_(value)
