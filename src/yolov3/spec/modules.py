"""The table of modules: what each name in a row means, as primitive operations.

Names in a row are looked up here and never evaluated. A row's args may end in a mapping of options.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard

from ..errors import shown
from .primitives import MAX_CHANNELS, MAX_KERNEL, Builder, Pad, Slice, Upsample
from .rows import Anchors, Head, Row, Spec

# How a YAML file may spell an activation → our name.
ACTIVATIONS = {
    "leaky": "leaky",
    "leakyrelu": "leaky",
    "leakyrelu(0.1)": "leaky",
    "linear": "linear",
    "identity": "linear",
    "none": "linear",
    "relu": "relu",
    "relu6": "relu6",
    "silu": "silu",
    "swish": "silu",
    "mish": "mish",
    "sigmoid": "sigmoid",
    "logistic": "sigmoid",
    "tanh": "tanh",
}

MAX_XY_SCALE = 4
MAX_PAD_VALUE = 1_000_000


def activation_name(text: object) -> str | None:
    """Our name of an activation (`leaky, linear, relu, relu6, silu, mish, sigmoid, tanh`), or None."""
    if not isinstance(text, str):
        return None
    key = text.strip().lower().removeprefix("nn.").removesuffix("()").replace(" ", "")
    return ACTIVATIONS.get(key.replace("negative_slope=", ""))


def _is_integer(value: object, low: int, high: int) -> TypeGuard[int]:
    """True and False are no numbers here."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


class Arguments:
    """Reads one row's args: positional values with types and ranges, then the mapping of options."""

    def __init__(self, spec: Spec, row: Row, most: int, options: tuple[str, ...] = ()) -> None:
        self.spec = spec
        self.row = row
        args = list(row.args)
        self.options: dict[str, Any] = dict(args.pop()) if args and isinstance(args[-1], dict) else {}
        self.values = args
        if len(args) > most:
            raise spec.error(row, f"{len(args)} args, expected at most {most}")
        for name in self.options:
            if name not in options:
                raise spec.error(row, f"unknown option {shown(name)}, expected one of {', '.join(options) or 'none'}")

    def fail(self, what: str, value: object, expected: str) -> Exception:
        return self.spec.error(self.row, f"{what} is {shown(value)}, expected {expected}")

    def _integer(self, what: str, value: object, low: int, high: int) -> int:
        if not _is_integer(value, low, high):
            raise self.fail(what, value, f"a whole number from {low} to {high}")
        return value

    def integer(self, place: int, what: str, low: int, high: int, default: int | None = None) -> int:
        if place >= len(self.values):
            if default is None:
                raise self.spec.error(self.row, f"args[{place}], the {what}, is missing")
            return default
        return self._integer(f"args[{place}], the {what},", self.values[place], low, high)

    def channels(self) -> int:
        """args[0]: output channels, scaled by the Spec's width_multiple to a multiple of 8."""
        channels = self.integer(0, "output channels", 1, MAX_CHANNELS)
        if self.spec.width_multiple == 1:
            return channels
        return max(math.ceil(channels * self.spec.width_multiple / 8) * 8, 8)

    def kernel_hw(self, place: int) -> tuple[int, int]:
        value = self.values[place] if place < len(self.values) else 1
        pair = value if isinstance(value, list) else [value, value]
        if len(pair) != 2:
            raise self.fail(f"args[{place}], the kernel,", value, "a number or [height, width]")
        what = f"args[{place}], the kernel,"
        return self._integer(what, pair[0], 1, MAX_KERNEL), self._integer(what, pair[1], 1, MAX_KERNEL)

    def option_integer(self, name: str, low: int, high: int, default: int) -> int:
        return self._integer(f"option {name}", self.options.get(name, default), low, high)

    def option_flag(self, name: str, default: bool) -> bool:
        value = self.options.get(name, default)
        if not isinstance(value, bool):
            raise self.fail(f"option {name}", value, "true or false")
        return value

    def activation(self) -> str:
        value = self.options.get("activation", self.spec.activation)
        name = activation_name(value)
        if name is None:
            known = ", ".join(sorted(set(ACTIVATIONS.values())))
            raise self.fail("option activation", value, f"one of {known}")
        return name


def _repetitions(spec: Spec, row: Row) -> int:
    if row.number == 1 or spec.depth_multiple == 1:
        return row.number
    return max(round(row.number * spec.depth_multiple), 1)


def _one_source(builder: Builder, row: Row, sources: tuple[int, ...]) -> int:
    if len(sources) != 1:
        raise builder.spec.error(row, f"has {len(sources)} inputs, expected one")
    return sources[0]


def _not_repeated(builder: Builder, row: Row) -> None:
    if row.number != 1:
        raise builder.spec.error(row, f"its number is {row.number}, expected 1")


def _prefixes(builder: Builder, row: Row) -> list[str]:
    count = _repetitions(builder.spec, row)
    return [str(row.index)] if count == 1 else [f"{row.index}.{repetition}" for repetition in range(count)]


def _conv(builder: Builder, row: Row, sources: tuple[int, ...]) -> int:
    """`Conv [out, kernel=1, stride=1]`: convolution, batch normalisation, activation."""
    args = Arguments(builder.spec, row, 3, ("groups", "activation", "bn", "padding"))
    source = _one_source(builder, row, sources)
    kernel_hw = args.kernel_hw(1)
    padding = args.option_integer("padding", 0, MAX_KERNEL, 0) if "padding" in args.options else None
    for prefix in _prefixes(builder, row):
        source = builder.convolution(
            row,
            source,
            prefix,
            args.channels(),
            kernel_hw=kernel_hw,
            stride=args.integer(2, "stride", 1, MAX_KERNEL, 1),
            padding_hw=None if padding is None else (padding, padding),
            groups=args.option_integer("groups", 1, MAX_CHANNELS, 1),
            batch_norm=args.option_flag("bn", True),
            activation=args.activation(),
        )
    return source


def _bottleneck(builder: Builder, row: Row, sources: tuple[int, ...]) -> int:
    """`Bottleneck [out, shortcut=True]`: Conv out/2 1×1, Conv out 3×3, added to the input (YOLOv3 figure 1)."""
    args = Arguments(builder.spec, row, 2, ("activation",))
    source = _one_source(builder, row, sources)
    channels, activation = args.channels(), args.activation()
    shortcut = args.values[1] if len(args.values) > 1 else True
    if not isinstance(shortcut, bool):
        raise args.fail("args[1], the shortcut,", shortcut, "True or False")
    if channels % 2:
        raise args.fail("args[0], the output channels,", channels, "an even number")
    for prefix in _prefixes(builder, row):
        if shortcut and builder.channels_of(source) != channels:
            raise builder.spec.error(
                row,
                f"adds {channels} channels to an input of {builder.channels_of(source)}, expected as many; "
                "write False after the channels for no shortcut",
            )
        inner = builder.convolution(row, source, f"{prefix}.cv1", channels // 2, activation=activation)
        outer = builder.convolution(row, inner, f"{prefix}.cv2", channels, kernel_hw=(3, 3), activation=activation)
        source = builder.sum(row, (source, outer)) if shortcut else outer
    return source


def _spp(builder: Builder, row: Row, sources: tuple[int, ...]) -> int:
    """`SPP [out, kernels=[5, 9, 13]]`: Conv to half the input 1×1, itself and its max-pools joined, Conv 1×1."""
    args = Arguments(builder.spec, row, 2, ("activation",))
    _not_repeated(builder, row)
    source = _one_source(builder, row, sources)
    kernels = args.values[1] if len(args.values) > 1 else [5, 9, 13]
    odd = isinstance(kernels, list) and all(_is_integer(k, 1, MAX_KERNEL) and k % 2 for k in kernels)
    if not odd or not kernels:
        raise args.fail("args[1], the kernels,", kernels, f"a list of odd numbers up to {MAX_KERNEL}")
    half = builder.channels_of(source) // 2
    first = builder.convolution(row, source, f"{row.index}.cv1", half, activation=args.activation())
    pools = tuple(builder.max_pool(row, first, k, 1, (k // 2,) * 4) for k in kernels)
    joined = builder.concat(row, (first, *pools))
    return builder.convolution(row, joined, f"{row.index}.cv2", args.channels(), activation=args.activation())


def _max_pool(builder: Builder, row: Row, sources: tuple[int, ...]) -> int:
    """`nn.MaxPool2d [kernel, stride=kernel, padding=0]`, padded by −∞ as in PyTorch."""
    args = Arguments(builder.spec, row, 3)
    source = _one_source(builder, row, sources)
    kernel = args.integer(0, "kernel", 1, MAX_KERNEL)
    stride = args.integer(1, "stride", 1, MAX_KERNEL, kernel)
    padding = args.integer(2, "padding", 0, kernel // 2, 0)
    for _ in _prefixes(builder, row):
        source = builder.max_pool(row, source, kernel, stride, (padding,) * 4)
    return source


def _padding(args: Arguments) -> tuple[int, int, int, int]:
    """PyTorch's order [left, right, top, bottom] → left, top, right, bottom."""
    value = args.values[0] if args.values else None
    if not isinstance(value, list) or len(value) != 4 or not all(_is_integer(side, 0, MAX_KERNEL) for side in value):
        raise args.fail("args[0], the padding,", value, "[left, right, top, bottom]")
    left, right, top, bottom = value
    return left, top, right, bottom


def _pad(builder: Builder, row: Row, source: int, padding: tuple[int, int, int, int], value: float) -> int:
    _not_repeated(builder, row)
    return builder.add(
        Pad(
            row=row.index,
            inputs=(source,),
            channels=builder.channels_of(source),
            reduction=builder.reduction_of(source),
            padding=padding,
            value=value,
        ),
        row,
    )


def _zero_pad(builder: Builder, row: Row, sources: tuple[int, ...]) -> int:
    """`nn.ZeroPad2d [[left, right, top, bottom]]`."""
    args = Arguments(builder.spec, row, 1)
    return _pad(builder, row, _one_source(builder, row, sources), _padding(args), 0.0)


def _constant_pad(builder: Builder, row: Row, sources: tuple[int, ...]) -> int:
    """`nn.ConstantPad2d [[left, right, top, bottom], value]`; −∞ stands before a max-pool."""
    args = Arguments(builder.spec, row, 2)
    value: Any = args.values[1] if len(args.values) > 1 else None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not (abs(value) <= MAX_PAD_VALUE or value == -math.inf):
        raise args.fail("args[1], the value,", value, f"a number up to {MAX_PAD_VALUE:,} or -.inf")
    return _pad(builder, row, _one_source(builder, row, sources), _padding(args), float(value))


def _upsample(builder: Builder, row: Row, sources: tuple[int, ...]) -> int:
    """`nn.Upsample [None, scale, 'nearest']`."""
    args = Arguments(builder.spec, row, 3)
    _not_repeated(builder, row)
    source = _one_source(builder, row, sources)
    if args.values and args.values[0] is not None:
        raise args.fail("args[0], the size,", args.values[0], "None")
    scale = args.integer(1, "scale", 1, MAX_KERNEL)
    if len(args.values) > 2 and args.values[2] != "nearest":
        raise args.fail("args[2], the mode,", args.values[2], "'nearest'")
    return builder.add(
        Upsample(
            row=row.index,
            inputs=(source,),
            channels=builder.channels_of(source),
            reduction=builder.reduction_of(source) / scale,
            scale=scale,
        ),
        row,
    )


def _concat(builder: Builder, row: Row, sources: tuple[int, ...]) -> int:
    """`Concat [1]`: inputs joined along channels."""
    args = Arguments(builder.spec, row, 1)
    _not_repeated(builder, row)
    args.integer(0, "dimension", 1, 1, 1)
    return builder.concat(row, sources)


def _add(builder: Builder, row: Row, sources: tuple[int, ...]) -> int:
    """`Add [{activation: linear}]`: Darknet's shortcut."""
    args = Arguments(builder.spec, row, 0, ("activation",))
    _not_repeated(builder, row)
    if len(sources) < 2:
        raise builder.spec.error(row, "has one input, expected two or more")
    return builder.sum(row, sources, args.activation() if "activation" in args.options else "linear")


def _slice(builder: Builder, row: Row, sources: tuple[int, ...]) -> int:
    """`Slice [groups, group]`: one of equal groups of channels, as a route with `groups=, group_id=` takes it."""
    args = Arguments(builder.spec, row, 2)
    _not_repeated(builder, row)
    source = _one_source(builder, row, sources)
    channels = builder.channels_of(source)
    groups = args.integer(0, "groups", 1, MAX_CHANNELS)
    group = args.integer(1, "group", 0, groups - 1)
    if channels % groups:
        raise builder.spec.error(row, f"{groups} groups don't divide {channels} channels")
    size = channels // groups
    return builder.add(
        Slice(
            row=row.index,
            inputs=(source,),
            channels=size,
            reduction=builder.reduction_of(source),
            start=group * size,
        ),
        row,
    )


Module = Callable[[Builder, Row, tuple[int, ...]], int]

MODULES: dict[str, Module] = {
    "Conv": _conv,
    "Bottleneck": _bottleneck,
    "SPP": _spp,
    "nn.MaxPool2d": _max_pool,
    "nn.ZeroPad2d": _zero_pad,
    "nn.ConstantPad2d": _constant_pad,
    "nn.Upsample": _upsample,
    "Concat": _concat,
    "Add": _add,
    "Slice": _slice,
}


@dataclass(frozen=True, slots=True)
class _DetectOptions:
    xy_scale: tuple[float, ...]
    wh: tuple[str, ...]


def _detect_options(args: Arguments, count: int) -> _DetectOptions:
    def per_head(name: str, default: object) -> list[Any]:
        value = args.options.get(name, default)
        values = value if isinstance(value, list) else [value] * count
        if len(values) != count:
            raise args.fail(f"option {name}", value, f"one value or one for each of {count} heads")
        return values

    scales = per_head("xy_scale", 1.0)
    if not all(isinstance(s, (int, float)) and not isinstance(s, bool) and 1 <= s <= MAX_XY_SCALE for s in scales):
        raise args.fail("option xy_scale", args.options.get("xy_scale"), f"numbers from 1 to {MAX_XY_SCALE}")
    sizes = per_head("wh", "exp")
    if not all(size in ("exp", "square") for size in sizes):
        raise args.fail("option wh", args.options.get("wh"), "exp or square")
    return _DetectOptions(tuple(float(scale) for scale in scales), tuple(sizes))


def build_detect(builder: Builder, row: Row, sources: tuple[int, ...]) -> tuple[tuple[Head, ...], tuple[int, ...]]:
    """`Detect [nc, anchors]`: a 1×1 convolution with bias for each input, raw values out (YOLOv3 section 2.3).

    Returns:
        How each head is decoded, and the operation of its convolution.
    """
    spec = builder.spec
    args = Arguments(spec, row, 2, ("xy_scale", "wh"))
    _not_repeated(builder, row)
    if args.values and args.values[0] != "nc" and not _is_integer(args.values[0], spec.nc, spec.nc):
        raise args.fail("args[0]", args.values[0], f"nc (which is {spec.nc})")
    if len(args.values) > 1 and args.values[1] != "anchors":
        raise args.fail("args[1]", args.values[1], "anchors (listed at the top of the file)")
    anchors: Anchors = spec.anchors
    if len(anchors.masks) != len(sources):
        raise spec.error(row, f"has {len(sources)} inputs but anchors for {len(anchors.masks)} scales")
    options = _detect_options(args, len(sources))
    heads, operations = [], []
    for place, source in enumerate(sources):
        reduction = builder.reduction_of(source)
        if reduction.denominator != 1:
            raise spec.error(row, f"input {place} has stride {reduction}, expected a whole number")
        shapes = anchors.of_head(place)
        operations.append(
            builder.convolution(
                row,
                source,
                f"{row.index}.heads.{place}",
                len(shapes) * (5 + spec.nc),
                batch_norm=False,
                activation="linear",
                is_head=True,
            )
        )
        heads.append(Head(shapes, int(reduction), options.xy_scale[place], options.wh[place]))
    return tuple(heads), tuple(operations)
