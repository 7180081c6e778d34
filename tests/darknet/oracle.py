"""Darknet's forward pass, slow and plain, in numpy: layer by layer from the cfg's text and the weight file's bytes."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .writer import absolute, parse, read_arrays


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def activate(name: str, x: np.ndarray) -> np.ndarray:
    """Darknet's `activations.h`."""
    if name == "leaky":
        return np.where(x > 0, x, 0.1 * x)
    if name == "relu":
        return np.maximum(x, 0)
    if name == "relu6":
        return np.minimum(np.maximum(x, 0), 6)
    if name == "logistic":
        return sigmoid(x)
    if name == "swish":
        return x * sigmoid(x)
    if name == "mish":
        return x * np.tanh(np.log1p(np.exp(x)))
    if name == "tanh":
        return np.tanh(x)
    assert name == "linear", name
    return x


def convolve(x: np.ndarray, weights: np.ndarray, stride: int, padding: int, groups: int) -> np.ndarray:
    """x (C, H, W), weights (out, C / groups, size, size) → (out, H', W')."""
    size = weights.shape[-1]
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    parts = []
    for part, kernels in zip(np.split(padded, groups), np.split(weights, groups), strict=True):
        windows = sliding_window_view(part, (size, size), axis=(1, 2))[:, ::stride, ::stride]  # C H' W' size size
        parts.append(np.tensordot(kernels, windows, axes=([1, 2, 3], [0, 3, 4])))
    return np.concatenate(parts)


def pool(x: np.ndarray, size: int, stride: int, padding: int) -> np.ndarray:
    """`maxpool_layer.c`: `padding` columns and rows in all, half of them (rounded down) before, lowest values."""
    before, after = padding // 2, padding - padding // 2
    padded = np.pad(x, ((0, 0), (before, after), (before, after)), constant_values=-np.inf)
    return sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride].max(axis=(3, 4))


def forward(text: str, data: bytes, image: np.ndarray, *, epsilon: float = 1e-6) -> list[np.ndarray]:
    """What each `[yolo]`'s convolution gives before its activation, in the cfg's order.

    Args:
        text: the cfg.
        data: the weight file.
        image: (3, H, W), RGB in [0, 1].
        epsilon: of batch normalisation, added to the square root (`blas.c: normalize_cpu`).
    """
    sections = parse(text)[1:]
    stored = {convolution.layer: arrays for convolution, arrays in read_arrays(text, data)}
    outputs: list[np.ndarray] = []
    before_activation: list[np.ndarray] = []
    heads = []
    x = image
    for index, (name, values) in enumerate(sections):
        linear = x
        if name == "convolutional":
            size, stride, groups = (int(values.get(key, 1)) for key in ("size", "stride", "groups"))
            padding = size // 2 if int(values.get("pad", 0)) else int(values.get("padding", 0))
            arrays = stored[index]
            linear = convolve(x, arrays["weights"], stride, padding, groups)
            if "scales" in arrays:
                mean, variance, scales = (arrays[key][:, None, None] for key in ("mean", "variance", "scales"))
                linear = (linear - mean) / (np.sqrt(variance) + epsilon) * scales
            linear = linear + arrays["biases"][:, None, None]
            x = activate(values["activation"], linear)
        elif name == "maxpool":
            size, stride = int(values["size"]), int(values["stride"])
            x = pool(x, size, stride, int(values.get("padding", size - 1)))
        elif name == "upsample":
            x = x.repeat(int(values["stride"]), axis=1).repeat(int(values["stride"]), axis=2)
        elif name == "route":
            groups, group = int(values.get("groups", 1)), int(values.get("group_id", 0))
            joined = [outputs[layer] for layer in absolute(values["layers"], index)]
            x = np.concatenate([np.split(part, groups)[group] for part in joined])
        elif name == "shortcut":
            others = [outputs[layer] for layer in absolute(values["from"], index)]
            x = activate(values.get("activation", "linear"), sum(others, x))
        elif name == "yolo":
            heads.append(before_activation[-1])
        else:
            assert name == "dropout", name
        outputs.append(x)
        before_activation.append(linear)
    return heads
