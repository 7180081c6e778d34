"""Spec and parameters → a graph of primitive operations with batch normalisation folded into the convolutions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..modelfile import Model
from ..spec.primitives import Convolution, MaxPool, Operation, Pad
from ..spec.rows import Head

LOWEST = float(np.finfo(np.float32).min)

PIECE = 1 << 17
"""So many weights are folded at once: half a megabyte, whose memory serves the next ones too."""

Weights = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the graph.

    Attributes:
        name: of the node and its only output; carries the row, as `15`, `4.1.cv2`, `12.maxpool`, `28.heads.0`.
        operation: what it does.
        inputs: names of the nodes that feed it; "images" is the network's input.
        model: where a convolution's weights come from.
    """

    name: str
    operation: Operation
    inputs: tuple[str, ...]
    model: Model = field(repr=False)

    @property
    def weights(self) -> Weights:
        """Weight (out, in / groups, height, width) and bias (out,) of a convolution, float32.

        Folded each time they are asked for, so that a large network's weights are in memory once, the engine's.

        Raises:
            ModelError: they are not finite (NaN or infinite weights, a negative variance).
        """
        assert isinstance(self.operation, Convolution)
        return fold(self.model, self.operation)

    @property
    def weight_pieces(self) -> Iterator[NDArray[np.float32]]:
        """As `weights`: the weight in pieces along its outputs, then the bias."""
        assert isinstance(self.operation, Convolution)
        return fold_pieces(self.model, self.operation)


@dataclass(frozen=True)
class Graph:
    """What every emitter starts from.

    Attributes:
        nodes: in an order in which inputs come first.
        outputs: names of the heads' nodes, in Detect's order; each gives `anchors · (5 + nc)` raw channels.
        heads: how they are decoded.
        nc: number of classes.
        max_stride: input sides must be multiples of it.
        scale: what 8-bit pixel values are multiplied by.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    heads: tuple[Head, ...]
    nc: int
    max_stride: int
    scale: float


INPUT = "images"


def lower(model: Model) -> Graph:
    """A model's network as a graph, pads folded into pools; weights are folded when a node is asked for them."""
    network = model.spec.network
    pads = {  # by −∞: only max-pools read these, and their padding becomes the pool's own
        index: operation
        for index, operation in enumerate(network.operations)
        if isinstance(operation, Pad) and operation.value == -math.inf
    }
    names: dict[int, str] = {-1: INPUT}
    used: Counter[str] = Counter()
    nodes = []
    for index, operation in enumerate(network.operations):
        if index in pads:
            names[index] = names[operation.inputs[0]]
            continue
        name = operation.name if isinstance(operation, Convolution) else _unique_name(operation, used)
        inputs = tuple(names[source] for source in operation.inputs)
        pad = pads.get(operation.inputs[0])
        if isinstance(operation, MaxPool) and pad is not None:
            operation = replace(operation, padding=_added(operation.padding, pad.padding))
        nodes.append(Node(name, operation, inputs, model))
        names[index] = name
    outputs = tuple(names[index] for index in network.head_operations)
    return Graph(tuple(nodes), outputs, network.heads, network.nc, network.max_stride, model.preprocess.scale)


def _added(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    left, top, right, bottom = (one + other for one, other in zip(first, second, strict=True))
    return left, top, right, bottom


def _unique_name(operation: Operation, used: Counter[str]) -> str:
    name = f"{operation.row}.{type(operation).__name__.lower()}"
    used[name] += 1
    return name if used[name] == 1 else f"{name}.{used[name] - 1}"


def fold(model: Model, convolution: Convolution) -> Weights:
    """Weight and bias (float32) of a convolution with its batch normalisation folded in.

    Raises:
        ModelError: the result is not finite.
    """
    weight = np.empty(model.tensors[convolution.weight_name].shape, np.float32)
    done = 0
    *pieces, bias = fold_pieces(model, convolution)
    for piece in pieces:
        weight[done : done + len(piece)] = piece
        done += len(piece)
    return weight, bias


def fold_pieces(model: Model, convolution: Convolution) -> Iterator[NDArray[np.float32]]:
    """As `fold`: the weight in pieces along its outputs, small enough for a processor's cache, then the bias.

    Raises:
        ModelError: the result is not finite.
    """
    with np.errstate(all="ignore"):  # what overflows or is divided by zero is not finite, and refused below
        factor, bias = _factor_and_bias(model, convolution)
    weight = model.tensors[convolution.weight_name]
    outputs = max(PIECE // math.prod(weight.shape[1:]), 1)
    for start in range(0, len(weight), outputs):
        part = slice(start, start + outputs)
        with np.errstate(all="ignore"):
            piece = np.multiply(weight[part], factor[part, None, None, None], dtype=np.float32)
        yield _finite(piece, model, convolution)
    yield _finite(bias, model, convolution)


def _finite(array: NDArray[np.float32], model: Model, convolution: Convolution) -> NDArray[np.float32]:
    if not np.isfinite(array).all():
        raise ModelError(f"{model.origin}: {convolution.name} has weights that are not finite")
    return array


def _factor_and_bias(model: Model, convolution: Convolution) -> Weights:
    """What each output's weights are multiplied by, and its bias; worked out in float64."""
    tensors = model.tensors
    if not convolution.batch_norm:
        return np.ones(convolution.channels, np.float32), tensors[convolution.bias_name].astype(np.float32)
    prefix = f"{convolution.name}.bn"
    variance = tensors[f"{prefix}.running_var"].astype(np.float64)
    if not (variance >= 0).all():
        raise ModelError(f"{model.origin}: {prefix}.running_var has negative or missing values, expected 0 or more")
    epsilon = model.batch_norm.epsilon
    deviation = np.sqrt(variance + epsilon) if model.batch_norm.inside else np.sqrt(variance) + epsilon
    factor = tensors[f"{prefix}.weight"].astype(np.float64) / deviation
    shift = tensors[f"{prefix}.bias"] - tensors[f"{prefix}.running_mean"] * factor
    return factor.astype(np.float32), shift.astype(np.float32)
