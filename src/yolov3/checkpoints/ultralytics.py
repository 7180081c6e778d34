"""A whole pickled network of ultralytics/yolov3 (from release 9 on) → Spec and tensors.

Rows of its YAML and modules carry the same numbers as ours. Its boxes are `xy = 2σ(t) - 0.5 + cell` and
`wh = anchor · (2σ(t))²`: our Detect with `xy_scale: 2.0, wh: square`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..modelfile import BatchNorm, FloatTensor, Model, Preprocess
from ..spec import Row, Spec, read_spec
from ..spec.modules import activation_name
from ..spec.primitives import Convolution, MaxPool, Pad
from .archive import Archive
from .tree import Module, load_tensor, plain_copy
from .values import Inert, Tensor

DEFAULT_SIDE = 640
GREY = 114
DECODING = {"xy_scale": 2.0, "wh": "square"}
# Anchors may have been rounded to float16.
ANCHOR_TOLERANCE = 2.0**-10


def read_network(archive: Archive, checkpoint: object, network: Module, names: tuple[str, ...] | None) -> Model:
    """Turn a pickled network into a model.

    Raises:
        ModelError: an anchor-free head, a module or activation that isn't supported, or tensors that don't fit.
    """
    reader = _Reader(archive, network)
    spec = reader.spec()
    reader.check_modules(spec)
    side = _image_size(checkpoint, spec)
    source = {"checkpoint": {"kind": "ultralytics", "class": str(network.inert.name)}}
    if isinstance(checkpoint, dict) and type(checkpoint.get("epoch")) is int:
        source["checkpoint"]["epoch"] = checkpoint["epoch"]
    return Model(
        spec,
        reader.tensors(spec),
        reader.names(spec.nc) if names is None else names,
        (side, side),
        Preprocess(pad=GREY),
        reader.batch_norm(spec),
        source,
        archive.origin,
    )


class _Reader:
    def __init__(self, archive: Archive, network: Module) -> None:
        self.archive = archive
        self.network = network
        self.rows = self.expect(network.child("model"), "model", "the rows' modules")

    def error(self, module: Module | None, message: str) -> ModelError:
        place = f"model.{module.path}" if module is not None and module.path else "model"
        return ModelError(f"{self.archive.origin}: {place}: {message}")

    def expect(self, module: Module | None, path: str, what: str) -> Module:
        if module is None:
            raise self.error(None, f"{path} is missing, expected {what}")
        return module

    def find(self, path: str) -> Module:
        """A module by its path below the rows, such as `4.1.cv2.conv`."""
        module: Module | None = Module("", self.rows.inert)
        for name in path.split("."):
            module = None if module is None else module.child(name)
        return self.expect(module, path, "a module")

    def values(self, module: Module, name: str) -> NDArray[np.float64]:
        """A small tensor of a module, whether it is a buffer or an attribute."""
        tensor = module.tensor(name) or module.attribute(name)
        if not isinstance(tensor, Tensor) or np.prod(tensor.shape) > 10_000:
            raise self.error(module, f"{name} is missing, expected a small tensor")
        array = self.archive.array(tensor).astype(np.float64)
        if not np.isfinite(array).all() or not (array > 0).all():
            raise self.error(module, f"{name} has values that are not above 0")
        return array

    # --- the network as data

    def spec(self) -> Spec:
        """The Spec: rows from the YAML, anchors from Detect, activation from the modules."""
        origin = f"{self.archive.origin} (model.yaml)"
        description = plain_copy(self.network.attribute("yaml"), origin)
        assert isinstance(description, dict)
        for part in ("backbone", "head"):
            if not isinstance(description.get(part), list):
                raise self.error(None, f"yaml has no {part}")
        rows = description["backbone"] + description["head"]
        count = len(self.rows.children())
        if not rows or count != len(rows):
            raise self.error(None, f"{count} modules for the {len(rows)} rows of yaml, expected as many")
        detect = rows[-1]
        if not isinstance(detect, list) or len(detect) != 4 or detect[2] != "Detect":
            raise self.error(None, f"ends in {str(detect)[:60]}, expected Detect")
        detect[3] = ["nc", "anchors", DECODING]
        text = json.dumps(
            {
                "nc": description.get("nc", 80),
                "anchors": self.anchors(self.find(str(count - 1)), description.get("anchors")),
                "depth_multiple": description.get("depth_multiple", 1.0),
                "width_multiple": description.get("width_multiple", 1.0),
                "backbone": description["backbone"],
                "head": description["head"],
            }
        )
        spec = read_spec(text, origin)
        self.check_classes(spec)
        return replace(spec, activation=self.activation(spec))

    def anchors(self, detect: Module, written: object) -> list[list[float]]:
        """Each head's `w, h, w, h, …` in pixels: as the YAML writes them, unless training changed them."""
        if detect.kind != "Detect" or detect.tensor("anchors") is None:
            raise self.error(detect, f"{detect.inert.name} has no anchors; expected YOLOv3's Detect, not anchor-free")
        cells, strides = self.values(detect, "anchors"), self.values(detect, "stride")
        if cells.ndim != 3 or cells.shape[2] != 2 or strides.shape != cells.shape[:1]:
            raise self.error(detect, f"anchors have shape {list(cells.shape)}, expected [heads, anchors, 2]")
        stored = (cells * strides[:, None, None]).reshape(len(cells), -1)
        try:
            given = np.array(written, np.float64)
        except (ValueError, TypeError, OverflowError):
            given = np.empty(0)
        same = given.shape == stored.shape and np.allclose(stored, given, rtol=ANCHOR_TOLERANCE, atol=0)
        return given.tolist() if same else np.round(stored, 3).tolist()  # type: ignore[no-any-return]

    def activation(self, spec: Spec) -> str:
        found: dict[str, Module] = {}
        for convolution in _trunk(spec):
            module = self.find(f"{convolution.name}.act")
            found.setdefault(self.activation_of(module), module)
        if len(found) > 1:
            raise self.error(None, f"has several activations ({', '.join(found)}), expected one for all rows")
        return next(iter(found), "leaky")

    def activation_of(self, module: Module) -> str:
        slope = module.attribute("negative_slope")
        name = activation_name(f"{module.kind}({slope})" if module.kind == "LeakyReLU" else module.kind)
        if name is None:
            what = f"{module.kind} of slope {slope}" if module.kind == "LeakyReLU" else str(module.inert.name)
            raise self.error(module, f"activation {what} is not supported")
        return name

    # --- what the modules say, compared with the rows

    def check_classes(self, spec: Spec) -> None:
        """Refuse modules of another class than their rows name."""
        for row in spec.rows:
            module = self.find(str(row.index))
            for part in module.children() if module.kind == "Sequential" else [module]:
                self.check_class(part, row)

    def check_modules(self, spec: Spec) -> None:
        """Refuse modules that compute something else than their rows say, naming what differs."""
        for operation in spec.network.operations:
            if isinstance(operation, Convolution):
                self.check_convolution(operation)
            elif isinstance(operation, MaxPool) and spec.rows[operation.row].module == "nn.MaxPool2d":
                wanted = {"kernel_size": operation.kernel, "stride": operation.stride, "padding": operation.padding[0]}
                self.check_window(operation.row, wanted)
            elif isinstance(operation, Pad):
                left, top, right, bottom = operation.padding
                self.check(self.find(str(operation.row)), "padding", (left, right, top, bottom))
        strides = [head.stride for head in spec.network.heads]
        stored = self.values(self.find(str(spec.rows[-1].index)), "stride").tolist()
        if stored != strides:
            raise self.error(None, f"its heads have strides {stored}, the rows give {strides}")

    def check_class(self, module: Module, row: Row) -> None:
        if module.kind != row.module.removeprefix("nn."):
            raise self.error(module, f"is a {module.inert.name}, but row {row.index} says {row.module}")
        if row.module == "Bottleneck":
            self.check(module, "add", len(row.args) < 2 or row.args[1] is not False)

    def check_convolution(self, convolution: Convolution) -> None:
        module = self.find(_module_path(convolution))
        pair = (convolution.stride, convolution.stride)
        self.check(module, "kernel_size", convolution.kernel_hw)
        self.check(module, "stride", pair)
        self.check(module, "padding", convolution.padding_hw)
        self.check(module, "groups", convolution.groups)
        self.check(module, "dilation", (1, 1))
        self.check(module, "padding_mode", "zeros")

    def check_window(self, row: int, wanted: dict[str, int]) -> None:
        module = self.find(str(row))
        for part in module.children() or [module]:
            for name, value in wanted.items():
                self.check(part, name, value)
            self.check(part, "dilation", 1)
            self.check(part, "ceil_mode", False)

    def check(self, module: Module, name: str, expected: object) -> None:
        found = module.attribute(name)
        if isinstance(expected, int) and found == (expected, expected):  # torch keeps some of them in pairs
            return
        if found != expected:
            raise self.error(module, f"{name} is {_shown(found)}, but its row says {expected}")

    # --- weights and names

    def batch_norm(self, spec: Spec) -> BatchNorm:
        modules = [self.find(f"{item.name}.bn") for item in _trunk(spec) if item.batch_norm]
        epsilon = modules[0].attribute("eps") if modules else 1e-3
        if not isinstance(epsilon, float) or not 0 <= epsilon < 1:
            raise self.error(modules[0], f"eps is {_shown(epsilon)}, expected a number from 0 to 1")
        for module in modules:
            if module.attribute("eps") != epsilon:
                raise self.error(module, f"eps is {_shown(module.attribute('eps'))}, elsewhere {epsilon:g}")
        return BatchNorm(epsilon, inside=True)

    def tensors(self, spec: Spec) -> dict[str, FloatTensor]:
        """Every tensor that the Spec asks for; convolution weights as they are stored, the rest as float32."""
        tensors: dict[str, FloatTensor] = {}
        for convolution in spec.network.convolutions:
            weights = self.find(_module_path(convolution))
            others = self.find(f"{convolution.name}.bn") if convolution.batch_norm else weights
            for name, shape in convolution.tensor_shapes().items():
                part = name.rpartition(".")[2]
                module = weights if len(shape) == 4 else others
                tensors[name] = load_tensor(self.archive, f"model.{module.path}.{part}", module.tensor(part), shape)
        return tensors

    def names(self, count: int) -> tuple[str, ...]:
        """Class names: a list, or a mapping from the index."""
        names = self.network.attribute("names")
        if isinstance(names, dict):
            names = [names.get(index) for index in range(count)] if len(names) == count else list(names)
        if not isinstance(names, list) or len(names) != count or not all(map(_is_name, names)):
            raise self.error(None, f"names are {_shown(names)}, expected {count} class names; give --names")
        return tuple(names)


def _trunk(spec: Spec) -> Iterator[Convolution]:
    return (convolution for convolution in spec.network.convolutions if not convolution.is_head)


def _module_path(convolution: Convolution) -> str:
    """Where its `Conv2d` is: `28.heads.0` is `28.m.0`, `4.1.cv2` is `4.1.cv2.conv`."""
    return convolution.name.replace(".heads.", ".m.") if convolution.is_head else f"{convolution.name}.conv"


def _image_size(checkpoint: object, spec: Spec) -> int:
    """The side that it was trained at, rounded up to the stride."""
    options = checkpoint.get("opt") if isinstance(checkpoint, dict) else None
    options = options.state if isinstance(options, Inert) else options
    side = options.get("imgsz", options.get("img_size")) if isinstance(options, dict) else None
    side = side[0] if isinstance(side, list) and side else side
    stride = spec.network.max_stride
    wanted = side if type(side) is int and 32 <= side <= 8192 else DEFAULT_SIDE
    return -(-wanted // stride) * stride


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()


def _shown(value: object) -> str:
    """A foreign value in a message: numbers, text and short tuples of them; of others the kind alone."""
    parts = value if isinstance(value, tuple) else (value,)
    plain = len(parts) <= 8 and all(part is None or isinstance(part, (bool, int, float, str)) for part in parts)
    short = plain and not any(isinstance(part, int) and part.bit_length() > 64 for part in parts)
    return repr(value)[:60] if short else f"a {type(value).__name__}"
