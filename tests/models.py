"""Small models with random weights."""

from __future__ import annotations

import numpy as np

from yolov3.modelfile import BatchNorm, Model, Preprocess
from yolov3.spec import Spec, read_spec

SMALL = """
nc: 2
anchors:
  - [10,14, 23,27]
  - [37,58, 81,82, 60,50]
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 2, Bottleneck, [8]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, nn.MaxPool2d, [2, 2, 0]]
head:
  - [-1, 1, SPP, [16, [3, 5]]]
  - [-1, 1, Conv, [8, 1, 1]]
  - [-1, 1, nn.Upsample, [None, 2, 'nearest']]
  - [[-1, 2], 1, Concat, [1]]
  - [-1, 1, Bottleneck, [16, False]]
  - [[8, 5], 1, Detect, [nc, anchors]]
"""


def small_spec(extra: str = "") -> Spec:
    """A network of ten rows with two scales (strides 4 and 8)."""
    return read_spec(SMALL + extra, "small.yaml")


def random_model(
    spec: Spec,
    *,
    seed: int = 0,
    size_wh: tuple[int, int] = (64, 64),
    batch_norm: BatchNorm = BatchNorm(),
    preprocess: Preprocess = Preprocess(),
) -> Model:
    """A model whose activations stay of the order of 1."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in spec.network.tensor_shapes().items():
        if len(shape) == 4:
            array = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        elif name.endswith("running_var"):
            array = rng.uniform(0.5, 2, shape)
        elif name.endswith("bn.weight"):
            array = rng.uniform(0.3, 0.7, shape)
        else:
            array = rng.normal(0, 0.3, shape)
        tensors[name] = array.astype(np.float32)
    names = tuple(f"thing {index}" for index in range(spec.nc))
    return Model(spec, tensors, names, size_wh, preprocess, batch_norm, {"seed": seed})
