"""Pickled networks of ultralytics/yolov3 and state dicts, made from models of ours without PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolov3.modelfile import BatchNorm, Model, Preprocess
from yolov3.spec import read_spec
from yolov3.spec.primitives import Convolution

from .writer import Call, Global, parameter

ROWS = """
nc: 2
activation: {activation}
anchors:
  - [10,14, 23,27]
  - [37,58, 81,82]
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 2, Bottleneck, [8]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, nn.MaxPool2d, [2, 2, 0]]
  - [-1, 1, nn.ZeroPad2d, [[0, 1, 0, 1]]]
  - [-1, 1, nn.MaxPool2d, [2, 1, 0]]
head:
  - [-1, 1, SPP, [16, [3, 5]]]
  - [-1, 1, Conv, [8, [1, 1]]]
  - [-1, 1, nn.Upsample, [None, 2, 'nearest']]
  - [[-1, 2], 1, Concat, [1]]
  - [-1, 1, Bottleneck, [16, False]]
  - [[10, 7], 1, Detect, [nc, anchors, {{xy_scale: 2.0, wh: square}}]]
"""
CLASSES = {"silu": ("SiLU", {"inplace": True}), "leaky": ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})}


def foreign_model(activation: str = "silu", *, half: bool = False) -> Model:
    """A model with every row of the family, as ultralytics/yolov3 would have it; random weights."""
    spec = read_spec(ROWS.format(activation=activation), "rows")
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in spec.network.tensor_shapes().items():
        array = rng.uniform(0.5, 1.5, shape) if name.endswith("running_var") else rng.normal(0, 0.4, shape)
        tensors[name] = array.astype(np.float16 if half else np.float32)
        if len(shape) != 4:
            tensors[name] = tensors[name].astype(np.float32)
    return Model(spec, tensors, ("cat", "dog"), (640, 640), Preprocess(pad=114), BatchNorm(1e-3, inside=True))


def module(
    path: str, children: dict[str, Any] | None = None, tensors: dict[str, Any] | None = None, **more: Any
) -> Call:
    """A pickled `nn.Module`."""
    parameters = {name: parameter(array) for name, array in (tensors or {}).items() if "running" not in name}
    buffers = {name: array for name, array in (tensors or {}).items() if "running" in name}
    state = {"training": False, "_parameters": parameters, "_buffers": buffers, "_modules": children or {}, **more}
    return Call(Global(path), (), True, state)


def _cast(array: np.ndarray, half: bool) -> np.ndarray:
    return array.astype(np.float16) if half else array


class Builder:
    """Module trees of one model; `half` stores everything as float16, as the original's files are."""

    def __init__(self, model: Model, *, half: bool = False) -> None:
        self.model, self.half = model, half
        self.convolutions = {item.name: item for item in model.spec.network.convolutions}

    def tensors(self, prefix: str) -> dict[str, np.ndarray]:
        found = {name: array for name, array in self.model.tensors.items() if name.rpartition(".")[0] == prefix}
        return {name.rpartition(".")[2]: _cast(array, self.half) for name, array in found.items()}

    def conv2d(self, item: Convolution, prefix: str) -> Call:
        return module(
            "torch.nn.modules.conv.Conv2d",
            None,
            self.tensors(prefix),
            kernel_size=item.kernel_hw,
            stride=(item.stride, item.stride),
            padding=item.padding_hw,
            dilation=(1, 1),
            groups=item.groups,
            padding_mode="zeros",
        )

    def conv(self, name: str) -> Call:
        kind, attributes = CLASSES[self.convolutions[name].activation]
        children = {
            "conv": self.conv2d(self.convolutions[name], f"{name}.conv"),
            "bn": module("torch.nn.modules.batchnorm.BatchNorm2d", None, self.tensors(f"{name}.bn"), eps=1e-3),
            "act": module(f"torch.nn.modules.activation.{kind}", **attributes),
        }
        return module("models.common.Conv", children)

    def bottleneck(self, prefix: str, add: bool) -> Call:
        return module(
            "models.common.Bottleneck", {part: self.conv(f"{prefix}.{part}") for part in ("cv1", "cv2")}, add=add
        )

    def row(self, index: int) -> Call:
        row = self.model.spec.rows[index]
        if row.module == "Bottleneck":
            add = len(row.args) < 2
            if row.number == 1:
                return self.bottleneck(str(index), add)
            parts = [self.bottleneck(f"{index}.{place}", add) for place in range(row.number)]
            return module(
                "torch.nn.modules.container.Sequential", dict(zip(map(str, range(row.number)), parts, strict=True))
            )
        if row.module == "SPP":
            return module("models.common.SPP", {part: self.conv(f"{index}.{part}") for part in ("cv1", "cv2")})
        if row.module == "Conv":
            return self.conv(str(index))
        if row.module == "nn.MaxPool2d":
            kernel, stride, padding = row.args
            return module("torch.nn.modules.pooling.MaxPool2d", kernel_size=kernel, stride=stride, padding=padding,
                          dilation=1, ceil_mode=False)  # fmt: skip
        if row.module == "nn.ZeroPad2d":
            return module("torch.nn.modules.padding.ZeroPad2d", padding=tuple(row.args[0]))
        if row.module == "nn.Upsample":
            return module("torch.nn.modules.upsampling.Upsample", scale_factor=2.0, mode="nearest", size=None)
        return module("models.common.Concat", d=1)

    def detect(self) -> Call:
        spec = self.model.spec
        strides = np.array([head.stride for head in spec.network.heads], np.float32)
        shapes = np.array([spec.anchors.of_head(head) for head in range(len(strides))], np.float32)
        index = spec.rows[-1].index
        convolutions = {
            str(place): self.conv2d(self.convolutions[f"{index}.heads.{place}"], f"{index}.heads.{place}")
            for place in range(len(strides))
        }
        children = {"m": module("torch.nn.modules.container.ModuleList", convolutions)}
        detect = module("models.yolo.Detect", children, nc=spec.nc, stride=_cast(strides, self.half))
        detect.state["_buffers"] = {"anchors": _cast(shapes / strides[:, None, None], self.half)}  # type: ignore[index]
        return detect

    def rows(self) -> list[Call]:
        return [*(self.row(row.index) for row in self.model.spec.rows[:-1]), self.detect()]

    def network(self, **more: Any) -> Call:
        """The whole network, as its `.pt` has it."""
        rows = {str(index): row for index, row in enumerate(self.rows())}
        children = {"model": module("torch.nn.modules.container.Sequential", rows)}
        values = {"yaml": self.yaml(), "names": list(self.model.names), **more}
        return module("models.yolo.Model", children, **values)

    def yaml(self) -> dict[str, Any]:
        """`model.yaml`: plain values as PyYAML reads them."""
        spec = self.model.spec
        anchors = [[side for shape in spec.anchors.of_head(head) for side in shape] for head in (0, 1)]
        rows = [
            [list(row.from_) if isinstance(row.from_, tuple) else row.from_, row.number, row.module,
             ["None" if arg is None else arg for arg in row.args]]
            for row in spec.rows
        ]  # fmt: skip
        rows[-1][3] = ["nc", "anchors"]
        length = len(spec.backbone)
        return {"nc": spec.nc, "depth_multiple": 1.0, "width_multiple": 1.0, "anchors": anchors,
                "backbone": rows[:length], "head": rows[length:], "ch": 3}  # fmt: skip


def state_dict(model: Model, rename: Any) -> dict[str, np.ndarray]:
    """A model's tensors under other names, with the counters that torch keeps."""
    tensors: dict[str, np.ndarray] = {}
    for name, array in model.tensors.items():
        tensors[rename(name)] = array
        if name.endswith("running_var"):
            tensors[rename(name.replace("running_var", "num_batches_tracked"))] = np.array(7)
    return tensors
