"""One PyTorch layer for each primitive operation of a network.

Rows such as Bottleneck or SPP arrive here taken apart (`spec.primitives`), so there is one meaning of a row for
training, for the engines and for Darknet's files.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..spec.primitives import Add, Concat, Convolution, MaxPool, Operation, Pad, Slice, Upsample

Layer = Callable[..., Tensor]

LEAKY_SLOPE = 0.1
# Share of the newest batch in the running statistics. Darknet takes 0.01, PyTorch 0.1; runs here are short.
BN_MOMENTUM = 0.03

# The ones in place take a tensor that no gradient needs: the output of a batch normalisation, a bias or a sum.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda values: values,
    "leaky": lambda values: F.leaky_relu_(values, LEAKY_SLOPE),
    "relu": F.relu_,
    "relu6": lambda values: F.relu6(values, inplace=True),
    "silu": F.silu,
    "mish": F.mish,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


class ConvolutionLayer(nn.Module):
    """Convolution, batch normalisation or bias, activation: (N, in, H, W) → (N, out, H', W').

    Its tensors are `conv.weight`, `bn.…` or `conv.bias`, the model file's names behind the row's.
    """

    def __init__(self, operation: Convolution, epsilon: float) -> None:
        super().__init__()
        self.conv = make_convolution(operation, bias=not operation.batch_norm)
        if operation.batch_norm:
            self.bn = nn.BatchNorm2d(operation.channels, eps=epsilon, momentum=BN_MOMENTUM)
        self.batch_norm = operation.batch_norm
        self.activate = ACTIVATIONS[operation.activation]

    def forward(self, values: Tensor) -> Tensor:
        values = self.conv(values)
        return self.activate(self.bn(values) if self.batch_norm else values)


def make_convolution(operation: Convolution, *, bias: bool) -> nn.Conv2d:
    """The convolution alone."""
    return nn.Conv2d(
        operation.in_channels,
        operation.channels,
        operation.kernel_hw,
        operation.stride,
        operation.padding_hw,
        groups=operation.groups,
        bias=bias,
    )


def make_layer(operation: Operation, epsilon: float) -> Layer:
    """The layer of an operation: a module where it has parameters, else a function of its inputs.

    Args:
        operation: from `spec.network.operations`.
        epsilon: of batch normalisation, inside the square root.
    """
    if isinstance(operation, Convolution):
        if operation.is_head:
            return make_convolution(operation, bias=True)
        return ConvolutionLayer(operation, epsilon)
    if isinstance(operation, MaxPool):
        return max_pool_layer(operation)
    if isinstance(operation, Pad):
        return pad_layer(operation)
    if isinstance(operation, Upsample):
        scale = operation.scale
        return lambda values: F.interpolate(values, scale_factor=scale, mode="nearest")
    if isinstance(operation, Concat):
        return lambda *inputs: torch.cat(inputs, dim=1)
    if isinstance(operation, Slice):
        start, channels = operation.start, operation.channels
        return lambda values: values.narrow(1, start, channels)
    assert isinstance(operation, Add), operation
    return add_layer(operation)


def max_pool_layer(operation: MaxPool) -> Layer:
    """Max-pooling; what lies outside never wins."""
    kernel, stride, (left, top, right, bottom) = operation.kernel, operation.stride, operation.padding
    if left == right == top == bottom and 2 * left <= kernel:
        return lambda values: F.max_pool2d(values, kernel, stride, left)
    padding = (left, right, top, bottom)
    return lambda values: F.max_pool2d(F.pad(values, padding, value=-math.inf), kernel, stride)


def pad_layer(operation: Pad) -> Layer:
    """Constant columns and rows around."""
    left, top, right, bottom = operation.padding
    value = operation.value
    return lambda values: F.pad(values, (left, right, top, bottom), value=value)


def add_layer(operation: Add) -> Layer:
    """The sum of the inputs, first to last, then an activation."""
    activate = ACTIVATIONS[operation.activation]

    def layer(first: Tensor, second: Tensor, *others: Tensor) -> Tensor:
        total = first + second
        for other in others:
            total = total + other
        return activate(total)

    return layer
