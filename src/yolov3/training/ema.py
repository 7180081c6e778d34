"""The running average of a network's weights, which is what gets validated and saved."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .network import Network


class Average:
    """Exponential moving average of parameters and of batch normalisation's statistics.

    After update n (from 0) the average moves by `1 - min(decay, (1 + n) / (10 + n))` towards the network: short runs
    average over the last tenth of the updates so far, long ones over the last `1 / (1 - decay)`. (The ramp is that of
    TensorFlow's `ExponentialMovingAverage`.)

    Attributes:
        network: the average, in evaluation mode.
        updates: how many there were.
    """

    def __init__(self, network: Network, decay: float, updates: int = 0) -> None:
        self.network = network.copy().eval()
        self.decay = decay
        self.updates = updates
        self._own = list(self.network.tensors().values())

    @torch.no_grad()
    def update(self, network: Network) -> None:
        """Move towards `network` after an optimiser step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(self._own, list(network.tensors().values()), 1 - decay)

    def load(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Take up an average that was saved."""
        self.updates = updates
        with torch.no_grad():
            for own, name in zip(self._own, self.network.tensors(), strict=True):
                own.copy_(tensors[name])
