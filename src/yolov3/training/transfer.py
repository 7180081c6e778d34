"""Where a training starts: another model's weights as far as they fit, or random ones."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..darknet import read_backbone, weight_order
from ..modelfile import BatchNorm, Model
from ..spec import Head, Spec
from ..spec.primitives import Convolution
from ..zoo import file_sha256
from .network import Network, to_training_batch_norm, with_training_batch_norm

# How sure a new head is at first that a place holds an object (arXiv 1708.02002, section 4.1: π = 0.01).
PRIOR = 0.01


@dataclass(frozen=True, slots=True)
class Start:
    """A network ready to be trained.

    Attributes:
        network: with its first weights.
        notes: what was taken over and what is new, a line each.
    """

    network: Network
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Backbone:
    """Weights of a network's first layers.

    Attributes:
        tensors: as in a model file, for batch normalisation as it is trained.
        origin: the file, for messages.
        source: what a model file says of it, JSON-ready.
    """

    tensors: Mapping[str, NDArray[np.float32]]
    origin: str
    source: dict[str, Any]

    @classmethod
    def read(cls, path: str | os.PathLike[str], spec: Spec) -> tuple[Backbone, list[str]]:
        """Read a Darknet weight set that was cut behind a layer (`darknet53.conv.74`), and notes about it.

        Raises:
            ModelError: it isn't one, or ends elsewhere than behind a layer of `spec`.
        """
        _, tensors, notes = read_backbone(path, weight_order(spec))
        source = {"files": [{"name": Path(path).name, "sha256": file_sha256(path)}]}
        return cls(to_training_batch_norm(tensors, BatchNorm()), str(path), source), notes


def with_classes(spec: Spec, nc: int) -> Spec:
    """The same network for another number of classes."""
    rows = spec.head[:-1]
    detect = spec.head[-1]
    args = tuple("nc" if place == 0 else arg for place, arg in enumerate(detect.args))
    return replace(spec, nc=nc, head=(*rows, replace(detect, args=args)))


def with_decoding(spec: Spec, xy_scale: float, wh: str) -> Spec:
    """The same network with other formulas from raw values to boxes, see `spec.rows.Head`."""
    detect = spec.head[-1]
    plain = tuple(arg for arg in detect.args if not isinstance(arg, dict)) or ("nc", "anchors")
    options = {} if (xy_scale, wh) == (1.0, "exp") else {"xy_scale": xy_scale, "wh": wh}
    args = (*plain, options) if options else plain
    return replace(spec, head=(*spec.head[:-1], replace(detect, args=args)))


def start_from_scratch(spec: Spec, seed: int) -> Start:
    """Random weights that depend on the seed alone."""
    network = Network(spec)
    network.initialise(torch.Generator().manual_seed(seed))
    set_head_biases(network)
    return Start(network, ["random weights: nothing is taken from another model"])


def start_from_backbone(spec: Spec, backbone: Backbone, seed: int) -> Start:
    """The first layers' weights from a backbone, random ones behind them.

    Raises:
        ModelError: the backbone has weights that are not finite.
    """
    network = Network(spec)
    network.initialise(torch.Generator().manual_seed(seed))
    set_head_biases(network)
    network.load_arrays(backbone.tensors)
    count = len(spec.network.tensor_shapes())
    return Start(network, [f"{len(backbone.tensors)} of {count} tensors are {backbone.origin}'s, the rest random"])


def start_from_model(spec: Spec, names: Sequence[str], model: Model, seed: int) -> Start:
    """As many weights as fit, by name and shape; the rest are random.

    A head for other classes keeps what predicts boxes and objectness where its anchors are the same, and the classes
    of the same name.

    Raises:
        ModelError: the model has weights that are not finite.
    """
    model = with_training_batch_norm(model)
    network = Network(spec, model.batch_norm)
    network.initialise(torch.Generator().manual_seed(seed))
    set_head_biases(network)
    shapes = spec.network.tensor_shapes()
    whole = _same_heads(spec, model.spec) and tuple(names) == model.names
    heads = {name for convolution in _heads(spec) for name in (convolution.weight_name, convolution.bias_name)}
    fitting = {
        name: array
        for name, array in model.tensors.items()
        if shapes.get(name) == array.shape and (whole or name not in heads)
    }
    network.load_arrays(fitting)
    missing = [name for name in shapes if name not in fitting and name not in heads]
    notes = [f"{len(fitting)} of {len(shapes)} tensors are {model.origin}'s"]
    if not whole:
        notes += _take_heads(network, names, model)
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        notes.append(f"random weights, since {model.origin} has none that fit: {', '.join(missing[:5])}{more}")
    return Start(network, notes)


def _heads(spec: Spec) -> list[Convolution]:
    found = [spec.network.operations[index] for index in spec.network.head_operations]
    return [operation for operation in found if isinstance(operation, Convolution)]


def _same_heads(spec: Spec, other: Spec) -> bool:
    return spec.network.heads == other.network.heads and spec.nc == other.nc


@torch.no_grad()
def set_head_biases(network: Network) -> None:
    """Let every place start out all but sure that it is empty, and the classes equally likely."""
    nc = network.spec.nc
    for convolution, head in zip(_heads(network.spec), network.heads, strict=True):
        rows = network.get_parameter(convolution.bias_name).view(len(head.anchors), 5 + nc)
        rows[:, :4] = 0
        rows[:, 4] = math.log(PRIOR / (1 - PRIOR))
        rows[:, 5:] = -math.log(max(nc - 1, 1))


@torch.no_grad()
def _take_heads(network: Network, names: Sequence[str], model: Model) -> list[str]:
    """Copy what a model's heads know into heads for other classes; a note for each head."""
    notes = []
    shared = [(names.index(name), label) for label, name in enumerate(model.names) if name in names]
    old_heads = dict(zip((head.name for head in _heads(model.spec)), model.spec.network.heads, strict=True))
    for convolution, head in zip(_heads(network.spec), network.heads, strict=True):
        old_head = old_heads.get(convolution.name)
        old_weight = model.tensors.get(convolution.weight_name)
        if old_head is None or old_weight is None or old_weight.shape[1] != convolution.in_channels:
            notes.append(f"{convolution.name}: random weights")
            continue
        taken = [place for place, anchor in enumerate(head.anchors) if anchor in old_head.anchors]
        for place in taken:
            old_place = old_head.anchors.index(head.anchors[place])
            _take_rows(network, convolution, (place, old_place), (head, old_head), model, shared)
        notes.append(
            f"{convolution.name}: boxes and objectness of {len(taken)} of {len(head.anchors)} anchors and "
            f"{len(shared)} of {len(names)} classes taken over, the rest random"
        )
    return notes


def _take_rows(
    network: Network,
    convolution: Convolution,
    places: tuple[int, int],
    heads: tuple[Head, Head],
    model: Model,
    shared: Sequence[tuple[int, int]],
) -> None:
    """Copy one anchor's output channels: tx, ty, tw, th, objectness, and the classes that both know."""
    start, old_start = (place * (5 + nc) for place, nc in zip(places, (network.spec.nc, model.spec.nc), strict=True))
    pairs = [(row, row) for row in range(5)] + [(5 + label, 5 + old_label) for label, old_label in shared]
    head, old_head = heads
    for name in (convolution.weight_name, convolution.bias_name):
        own, other = network.get_parameter(name), torch.from_numpy(model.tensors[name].astype("float32"))
        for row, old_row in pairs:
            # σ is stretched by xy_scale; with t scaled back the box moves alike around the cell's centre. For the
            # size, exp(t) and (2σ(t))² agree at 0 in value and slope.
            factor = old_head.xy_scale / head.xy_scale if row < 2 else 1.0
            own[start + row] = other[old_start + old_row] * factor
