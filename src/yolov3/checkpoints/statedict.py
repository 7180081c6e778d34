"""Plain state dicts, which name tensors and nothing else: the network comes from a cfg or a YAML file beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..darknet import DarknetNetwork, load_cfg
from ..darknet.cfg import parse_cfg
from ..darknet.weights import Stored
from ..errors import ModelError
from ..modelfile import BatchNorm, FloatTensor, Model, Preprocess
from ..spec import Row, Spec, load_spec
from ..spec.primitives import Convolution
from .archive import Archive
from .tree import load_tensor
from .ultralytics import DEFAULT_SIDE, GREY
from .values import Tensor

# Keys under which trainers keep the weights, best first.
_KEYS = ("ema", "model", "state_dict", "model_state_dict", "net", "weights")
# What state dicts hold beside the weights.
_IGNORED = re.compile(r"(^|\.)(num_batches_tracked|anchors|anchor_grid|stride|anchor_vec|grid)$")
_NUMBER = re.compile(r"(?:^|\.)(\d+)\.")
_DETECT = re.compile(r"^(\d+)\.m\.(\d+)\.")

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Habits:
    """What a training program does that its state dicts don't say.

    Attributes:
        title: what notes call it.
        epsilon: of batch normalisation, inside the square root.
        grey: around letterboxed pictures.
        zero_pads: whether it pads by zeros before a max-pool of size 2 and stride 1.
    """

    title: str
    epsilon: float
    grey: int
    zero_pads: bool


# `models.py` and `utils/` of eriklindernoren/PyTorch-YOLOv3, of ultralytics/yolov3 up to release 8 and from 9 on.
PYTORCH_YOLOV3 = Habits("PyTorch-YOLOv3", 1e-5, 0, zero_pads=True)
ULTRALYTICS_8 = Habits("ultralytics/yolov3 up to release 8", 1e-4, GREY, zero_pads=True)
ULTRALYTICS_9 = Habits("ultralytics/yolov3", 1e-3, GREY, zero_pads=False)
OTHERS = Habits("an unknown program", 1e-5, 127, zero_pads=False)


def find_state_dict(value: object) -> Tensors | None:
    """The weights in a checkpoint: a dictionary of tensors, or the one under a usual key; without `module.`."""
    candidates = [value, *(value.get(key) for key in _KEYS)] if isinstance(value, dict) else []
    for candidate in candidates:
        tensors = _tensors(candidate)
        if any(len(tensor.shape) == 4 for tensor in tensors.values()):
            prefix = "module." if all(name.startswith("module.") for name in tensors) else ""
            return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return None


def _tensors(candidate: object) -> dict[str, Tensor]:
    items = candidate.items() if isinstance(candidate, dict) else ()
    return {
        name: tensor
        for name, tensor in items
        if isinstance(name, str) and name.isprintable() and isinstance(tensor, Tensor)
    }


def find_habits(names: Mapping[str, Tensor]) -> Habits:
    """Which program named the tensors so."""
    first = next(iter(names))
    if any(".BatchNorm2d." in name for name in names):
        return ULTRALYTICS_8
    if first.startswith("module_list."):
        return PYTORCH_YOLOV3
    return ULTRALYTICS_9 if first.startswith("model.") else OTHERS


def read_state_dict(
    archive: Archive, tensors: Tensors, description: str, names: tuple[str, ...] | None
) -> tuple[Model, list[str]]:
    """A model from a state dict and the network that it belongs to.

    Args:
        archive: the checkpoint.
        tensors: see `find_state_dict`.
        description: a Darknet `.cfg`, a YAML file, or the name of one of the family's networks.
        names: class names; None for the usual ones.

    Raises:
        ModelError: naming the tensors that are missing, too many or misshapen.
    """
    from ..zoo import default_names

    habits = find_habits(tensors)
    if description.lower().endswith(".cfg"):
        network = load_cfg(description)
        spec, size_wh, resize = network.spec, network.size_wh, network.resize
        arrays = _by_layer(archive, tensors, network)
        spec = _with_zero_pads(spec) if habits.zero_pads else spec
    else:
        spec, size_wh, resize = load_spec(description), (DEFAULT_SIDE, DEFAULT_SIDE), "letterbox"
        arrays = _by_row(archive, tensors, spec)
    note = (
        f"{archive.origin}: a state dict, named as {habits.title} does: batch normalisation with epsilon "
        f"{habits.epsilon:g}, pictures letterboxed with grey {habits.grey}, boxes decoded as {description} says"
    )
    model = Model(
        spec,
        arrays,
        default_names(spec.nc) if names is None else names,
        size_wh,
        Preprocess(resize=resize, pad=habits.grey),
        BatchNorm(habits.epsilon, inside=True),
        {"checkpoint": {"kind": "state dict", "network": description}},
        archive.origin,
    )
    return model, [note]


# --- with a YAML: tensors named by row -----------------------------------------------------------------------------


def _by_row(archive: Archive, tensors: Tensors, spec: Spec) -> dict[str, FloatTensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not _IGNORED.search(name):
            renamed[_DETECT.sub(r"\1.heads.\2.", name.removeprefix("model."))] = tensor
    expected = spec.network.tensor_shapes()
    problems = [f"{name} is missing" for name in expected if name not in renamed]
    problems += [f"{name[:60]!r} is not of this network" for name in renamed if name not in expected]
    _refuse(archive, spec.origin, problems)
    for name, shape in expected.items():
        _refuse_other_heads(archive, name, renamed[name], shape)
    return {name: load_tensor(archive, name, renamed[name], shape) for name, shape in expected.items()}


def _refuse_other_heads(archive: Archive, name: str, tensor: Tensor | None, shape: tuple[int, ...]) -> None:
    """Say what to do where all is right but the number of classes or anchors."""
    if ".heads." in name and tensor is not None and tensor.shape != shape and tensor.shape[1:] == shape[1:]:
        raise ModelError(
            f"{archive.origin}: {name} has {tensor.shape[0]} channels, expected {shape[0]}: trained for other classes; "
            "convert it with the network it was trained with, then fine-tune that: yolov3 train DATA --model FILE"
        )


def _refuse(archive: Archive, network: str, problems: list[str]) -> None:
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ModelError(f"{archive.origin}: doesn't fit {network}: {'; '.join(problems[:5])}{more}")


# --- with a cfg: tensors named by Darknet layer --------------------------------------------------------------------


def _by_layer(archive: Archive, tensors: Tensors, network: DarknetNetwork) -> dict[str, FloatTensor]:
    """Tensors such as `module_list.81.conv_81.weight`; the first number in a name is the cfg's layer."""
    layers: dict[int, dict[str, Tensor]] = {}
    others = []
    for name, tensor in tensors.items():
        number = _NUMBER.search(name)
        if number is None:
            others.append(name)
        elif not _IGNORED.search(name):
            layers.setdefault(int(number[1][:9]), {})[name] = tensor
    sections = parse_cfg(network.text, network.spec.origin)
    indices = [section.index for section in sections if section.name == "convolutional"]
    problems = [f"layer {index} [convolutional] has no tensors" for index in indices if index not in layers]
    problems += [f"{name[:60]!r} is of no layer" for name in others]
    problems += [
        f"{next(iter(found))[:60]!r} belongs to no convolution"
        for index, found in layers.items()
        if index not in indices
    ]
    _refuse(archive, network.spec.origin, problems)
    arrays: dict[str, FloatTensor] = {}
    for index, stored in zip(indices, network.order, strict=True):
        arrays |= _convolution(archive, layers[index], stored)
    return arrays


def _convolution(archive: Archive, found: dict[str, Tensor], stored: Stored) -> dict[str, FloatTensor]:
    """One layer's tensors by our names, told apart by their dimensions and the module that they are in."""
    parts = _parts(found, stored.convolution)
    arrays: dict[str, FloatTensor] = {}
    for name, shape in stored.convolution.tensor_shapes().items():
        foreign = parts.pop(name, None)
        tensor = None if foreign is None else found[foreign]
        _refuse_other_heads(archive, name, tensor, shape)
        arrays[name] = load_tensor(archive, foreign or f"{stored.layer}: {name}", tensor, shape)
    if len(arrays) != len(found):
        extra = next(iter(parts.values()), next(iter(found)))
        raise ModelError(f"{archive.origin}: {stored.layer}: {extra[:60]!r} has no place in it")
    if stored.permutation is not None:
        weight = stored.convolution.weight_name
        arrays[weight] = arrays[weight][:, stored.permutation]
    return arrays


def _parts(found: Mapping[str, Tensor], convolution: Convolution) -> dict[str, str]:
    """Our tensor name → theirs."""
    mean = next((name for name in found if name.endswith("running_mean")), "")
    module = mean.removesuffix("running_mean")
    parts = {}
    for name, tensor in found.items():
        part = name.rpartition(".")[2]
        if len(tensor.shape) == 4:
            parts[convolution.weight_name] = name
        elif module and name.startswith(module):
            parts[f"{convolution.name}.bn.{part}"] = name
        else:
            parts[convolution.bias_name if part == "bias" else name] = name
    return parts


def _with_zero_pads(spec: Spec) -> Spec:
    """`nn.ZeroPad2d` where Darknet pads a max-pool of size 2 and stride 1 by −∞."""

    def row(given: Row) -> Row:
        if given.module != "nn.ConstantPad2d" or given.args[0] != [0, 1, 0, 1]:
            return given
        return replace(given, module="nn.ZeroPad2d", args=given.args[:1])

    return replace(spec, backbone=tuple(map(row, spec.backbone)), head=tuple(map(row, spec.head)))
