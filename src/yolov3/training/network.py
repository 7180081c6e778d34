"""`Network`: a Spec as a PyTorch module, from and to the model file."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import ModelError, UsageError
from ..modelfile import BatchNorm, Model, Preprocess
from ..spec import Head, Spec
from ..spec.primitives import Convolution
from .layers import LEAKY_SLOPE, Layer, make_layer

# Darknet's own when it trains (`batchnorm_layer.c`, GPU), and PyTorch's default.
TRAINING_BATCH_NORM = BatchNorm(1e-5, inside=True)


class Network(nn.Module):
    """A Spec's operations in order; parameters and buffers have the model file's names.

    Attributes:
        spec: the network as data.
        batch_norm: its epsilon, always inside the square root here.
        between_layers: called before every layer, so that a long step can be given up by raising from it.
    """

    def __init__(self, spec: Spec, batch_norm: BatchNorm = TRAINING_BATCH_NORM) -> None:
        """Build the network with PyTorch's own random weights; see `initialise` and `load_arrays`."""
        super().__init__()
        if not batch_norm.inside:
            raise ValueError("batch normalisation is trained with its epsilon inside the square root")
        self.spec = spec
        self.batch_norm = batch_norm
        self._layers: list[Layer] = []
        for operation in spec.network.operations:
            layer = make_layer(operation, batch_norm.epsilon)
            if isinstance(operation, Convolution) and isinstance(layer, nn.Module):
                _register(self, operation.name, layer)
            self._layers.append(layer)
        self._unneeded = _last_readers(spec)
        self._frozen: list[nn.Module] = []
        self.between_layers: Callable[[], None] | None = None

    @property
    def heads(self) -> tuple[Head, ...]:
        """How each output is decoded."""
        return self.spec.network.heads

    def forward(self, images: Tensor) -> list[Tensor]:
        """Raw values of each head.

        Args:
            images: (N, 3, H, W) RGB, scaled as the model's `preprocess` says (0 to 1); sides multiples of the
                network's largest stride.

        Returns:
            For each head, small objects first, (N, anchors, H / stride, W / stride, 5 + nc): tx, ty, tw, th,
            objectness, classes, all logits (YOLOv3 section 2.1). A view, not contiguous.
        """
        network = self.spec.network
        values = {-1: images}
        for index, (operation, layer) in enumerate(zip(network.operations, self._layers, strict=True)):
            if self.between_layers is not None:
                self.between_layers()
            values[index] = layer(*[values[source] for source in operation.inputs])
            for source in self._unneeded[index]:
                del values[source]
        return [
            self._grid(values[index], head) for index, head in zip(network.head_operations, self.heads, strict=True)
        ]

    def _grid(self, raw: Tensor, head: Head) -> Tensor:
        count, _, height, width = raw.shape
        # (N, A · (5 + nc), H, W) → (N, A, H, W, 5 + nc)
        return raw.view(count, len(head.anchors), 5 + self.spec.nc, height, width).permute(0, 1, 3, 4, 2)

    def copy(self) -> Network:
        """A network of its own with equal values, which asks for no gradients."""
        hook, self.between_layers = self.between_layers, None
        twin = copy.deepcopy(self).requires_grad_(False)
        self.between_layers = hook
        return twin

    def freeze(self, rows: int) -> None:
        """Leave the first `rows` rows as they are: no gradients, batch normalisation by its running statistics.

        Raises:
            UsageError: nothing would be left to train.
        """
        if rows >= len(self.spec.rows):
            raise UsageError(f"--freeze {rows}: the network has {len(self.spec.rows)} rows, nothing is left to train")
        for convolution in self.spec.network.convolutions:
            if convolution.row < rows:
                layer = self.get_submodule(convolution.name).requires_grad_(False)
                self._frozen.append(layer.eval())

    def train(self, mode: bool = True) -> Network:
        """As in PyTorch; frozen rows stay in evaluation mode."""
        super().train(mode)
        for layer in self._frozen:
            layer.eval()
        return self

    def load_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over the values of some or all tensors; names and shapes must be this network's.

        Raises:
            ModelError: a value is not a finite number.
        """
        own = self.tensors()
        with torch.no_grad():
            for name, array in arrays.items():
                if not np.isfinite(array).all():
                    raise ModelError(f"{self.spec.origin}: {name} has values that are not finite; it can't be trained")
                own[name].copy_(torch.from_numpy(np.array(array, np.float32)))

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the model file, by name, in its order; not copies."""
        own = self.state_dict(keep_vars=True)
        return {name: own[name].detach() for name in self.spec.network.tensor_shapes()}

    def to_model(
        self,
        names: tuple[str, ...],
        size_wh: tuple[int, int],
        preprocess: Preprocess = Preprocess(),
        source: dict[str, Any] | None = None,
    ) -> Model:
        """The network as it is now as a model, ready to save and to detect with."""
        arrays = {
            name: np.ascontiguousarray(tensor.to("cpu", torch.float32, copy=True).numpy())
            for name, tensor in self.tensors().items()
        }
        return Model(self.spec, arrays, names, size_wh, preprocess, self.batch_norm, source or {}, "trained model")

    @classmethod
    def from_model(cls, model: Model) -> Network:
        """A model's network with its weights; it computes what the engines compute.

        Batch normalisation becomes the training one, see `with_training_batch_norm`.
        """
        model = with_training_batch_norm(model)
        network = cls(model.spec, model.batch_norm)
        network.load_arrays(model.tensors)
        return network

    def initialise(self, generator: torch.Generator) -> None:
        """Random weights for training from scratch: He et al. (arXiv 1502.01852) for LeakyReLU 0.1; BN starts neutral.

        The heads' weights are drawn smaller, so that no cell starts out sure of anything (arXiv 1708.02002,
        section 4.1); their biases are set by `transfer.set_head_biases`.
        """
        for convolution in self.spec.network.convolutions:
            weight = self.get_parameter(convolution.weight_name)
            if convolution.is_head:
                nn.init.normal_(weight, 0, 0.01, generator=generator)
                nn.init.zeros_(self.get_parameter(convolution.bias_name))
            else:
                nn.init.kaiming_normal_(weight, LEAKY_SLOPE, generator=generator)


def _register(root: nn.Module, name: str, layer: nn.Module) -> None:
    """Put a layer at a dotted name, with empty modules on the way."""
    *path, last = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    root.add_module(last, layer)


def _last_readers(spec: Spec) -> list[list[int]]:
    """For each operation the values that nobody needs after it."""
    network = spec.network
    last: dict[int, int] = {}
    for index, operation in enumerate(network.operations):
        last.update(dict.fromkeys(operation.inputs, index))
    unneeded: list[list[int]] = [[] for _ in network.operations]
    for source, index in last.items():
        if source not in network.head_operations:
            unneeded[index].append(source)
    return unneeded


def with_training_batch_norm(model: Model) -> Model:
    """The same model with the epsilon of batch normalisation inside the square root, and not too small to train.

    PyTorch divides by `sqrt(v + ε)`, Darknet on the CPU by `d = sqrt(v) + 1e-6`. With `v' = d² - ε` both are one
    number. Where that is negative (a filter that is all but dead), `v' = 0` and the scale is made smaller instead, by
    `sqrt(ε) / d`. A model that has it inside already is left alone to the bit.
    """
    given = model.batch_norm
    if given.inside and given.epsilon > 0:
        return model
    tensors = to_training_batch_norm(model.tensors, given)
    return replace(model, tensors=tensors, batch_norm=TRAINING_BATCH_NORM)


def to_training_batch_norm(tensors: Mapping[str, NDArray[Any]], given: BatchNorm) -> dict[str, NDArray[Any]]:
    """The tensors of a network, or of a part of one, for `TRAINING_BATCH_NORM`; see `with_training_batch_norm`."""
    epsilon = TRAINING_BATCH_NORM.epsilon
    converted = dict(tensors)
    for variance in tensors:
        if not variance.endswith(".bn.running_var"):
            continue
        scale = variance.removesuffix("running_var") + "weight"
        values = np.asarray(tensors[variance], np.float64)
        deviation = np.sqrt(values) + given.epsilon if not given.inside else np.sqrt(values)
        inside = np.maximum(deviation**2 - epsilon, 0)
        with np.errstate(divide="ignore", invalid="ignore"):  # what comes of it is refused as not finite
            factor = np.sqrt(inside + epsilon) / deviation
        converted[variance] = inside.astype(np.float32)
        converted[scale] = (tensors[scale] * factor).astype(np.float32)
    return converted
