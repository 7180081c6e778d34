"""Rows taken apart into primitive operations, with channels, strides and parameter names worked out and checked.

Every consumer of a Spec (shapes, graph compiler, Darknet reader and writer, training) starts from this one list.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from .rows import Head, Row, Spec

MAX_CHANNELS = 65_536
MAX_KERNEL = 64
MAX_PARAMETERS = 1_000_000_000
MAX_OPERATIONS = 10_000
MAX_STRIDE = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What all primitives have.

    Attributes:
        row: the row it belongs to.
        inputs: indices of the operations that feed it; -1 is the picture.
        channels: of its output.
        reduction: how many pixels of the picture one of its cells spans.
    """

    row: int
    inputs: tuple[int, ...]
    channels: int
    reduction: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution(Operation):
    """A convolution, its batch normalisation or bias, and its activation.

    Attributes:
        name: the prefix of its tensors, such as `4.1.cv2`; for a head `28.heads.0`.
    """

    name: str
    in_channels: int
    kernel_hw: tuple[int, int]
    stride: int = 1
    padding_hw: tuple[int, int] = (0, 0)
    groups: int = 1
    batch_norm: bool = True
    activation: str = "linear"
    is_head: bool = False

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(out, in / groups, height, width)."""
        return (self.channels, self.in_channels // self.groups, *self.kernel_hw)

    @property
    def weight_count(self) -> int:
        """Values in the weight tensor."""
        out, inner, height, width = self.weight_shape
        return out * inner * height * width

    @property
    def weight_name(self) -> str:
        """The weight tensor's name in the model file."""
        return f"{self.name}.weight" if self.is_head else f"{self.name}.conv.weight"

    @property
    def bias_name(self) -> str:
        """The bias tensor's name in the model file, where there is no batch normalisation."""
        return f"{self.name}.bias" if self.is_head else f"{self.name}.conv.bias"

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of this convolution in the model file: name → shape."""
        shapes: dict[str, tuple[int, ...]] = {self.weight_name: self.weight_shape}
        if not self.batch_norm:
            return shapes | {self.bias_name: (self.channels,)}
        parts = ("weight", "bias", "running_mean", "running_var")
        return shapes | {f"{self.name}.bn.{part}": (self.channels,) for part in parts}

    @property
    def parameters(self) -> int:
        """Trained values: weights, and scale and shift or the bias; running statistics don't count."""
        return self.weight_count + (2 * self.channels if self.batch_norm else self.channels)

    @property
    def stored_values(self) -> int:
        """Values in a Darknet weight file: the parameters and the running statistics."""
        return self.parameters + (2 * self.channels if self.batch_norm else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool(Operation):
    """Largest value of each window; what lies outside never wins. `padding` is left, top, right, bottom."""

    kernel: int
    stride: int
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pad(Operation):
    """Constant columns and rows around. `padding` is left, top, right, bottom."""

    padding: tuple[int, int, int, int]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsample(Operation):
    """Each value repeated `scale` times in both directions (nearest)."""

    scale: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat(Operation):
    """Inputs joined along channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Operation):
    """The sum of its inputs, then an activation."""

    activation: str = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(Operation):
    """Channels `start` to `start + channels` of its input."""

    start: int


@dataclass(frozen=True)
class Network:
    """A Spec taken apart.

    Attributes:
        operations: in an order in which inputs come first; the heads' convolutions stand last.
        row_outputs: for each row but Detect, the operation that gives its output.
        heads: how each head is decoded, in the order of Detect's inputs (small objects first).
        head_operations: each head's convolution.
        nc: number of classes.
    """

    operations: tuple[Operation, ...]
    row_outputs: tuple[int, ...]
    heads: tuple[Head, ...]
    head_operations: tuple[int, ...]
    nc: int

    @property
    def convolutions(self) -> Iterator[Convolution]:
        """All convolutions, heads last."""
        return (operation for operation in self.operations if isinstance(operation, Convolution))

    @property
    def max_stride(self) -> int:
        """What input sides must be multiples of: every reduction, so the largest where all are powers of two."""
        return math.lcm(*(operation.reduction.numerator for operation in self.operations))

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of the model file: name → shape, in the order of the operations."""
        return {name: shape for convolution in self.convolutions for name, shape in convolution.tensor_shapes().items()}


def output_hw(operation: Operation, input_hw: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of an operation's output from that of its (first) input."""
    height, width = input_hw
    if isinstance(operation, Convolution):
        (kernel_h, kernel_w), (pad_h, pad_w) = operation.kernel_hw, operation.padding_hw
        height = (height + 2 * pad_h - kernel_h) // operation.stride + 1
        width = (width + 2 * pad_w - kernel_w) // operation.stride + 1
    elif isinstance(operation, (MaxPool, Pad)):
        left, top, right, bottom = operation.padding
        height, width = height + top + bottom, width + left + right
        if isinstance(operation, MaxPool):
            height = (height - operation.kernel) // operation.stride + 1
            width = (width - operation.kernel) // operation.stride + 1
    elif isinstance(operation, Upsample):
        height, width = height * operation.scale, width * operation.scale
    return height, width


@dataclass
class Builder:
    """Collects operations; what the module functions of `modules.py` write to."""

    spec: Spec
    operations: list[Operation] = field(default_factory=list)
    parameters: int = 0

    def channels_of(self, index: int) -> int:
        """Output channels of an operation, 3 for the picture."""
        return 3 if index < 0 else self.operations[index].channels

    def reduction_of(self, index: int) -> Fraction:
        """Pixels a cell of an operation's output, 1 for the picture."""
        return Fraction(1) if index < 0 else self.operations[index].reduction

    def add(self, operation: Operation, row: Row) -> int:
        """Append an operation after the checks that all of them share; gives its index."""
        if operation.channels > MAX_CHANNELS:
            message = f"{operation.channels:,} output channels, expected 1 to {MAX_CHANNELS:,}"
            raise self.spec.error(row, message)
        if max(operation.reduction.as_integer_ratio()) > MAX_STRIDE:
            raise self.spec.error(row, f"its stride passes {MAX_STRIDE:,} here, more than is supported")
        if isinstance(operation, Convolution):
            self.parameters += operation.parameters
            if self.parameters > MAX_PARAMETERS:
                raise self.spec.error(
                    row, f"the network passes {MAX_PARAMETERS:,} parameters here, more than is supported"
                )
        if len(self.operations) >= MAX_OPERATIONS:
            raise self.spec.error(row, f"the network has more than {MAX_OPERATIONS:,} operations")
        self.operations.append(operation)
        return len(self.operations) - 1

    def convolution(
        self,
        row: Row,
        source: int,
        name: str,
        channels: int,
        *,
        kernel_hw: tuple[int, int] = (1, 1),
        stride: int = 1,
        padding_hw: tuple[int, int] | None = None,
        groups: int = 1,
        batch_norm: bool = True,
        activation: str | None = None,
        is_head: bool = False,
    ) -> int:
        """Append a convolution; by default padded by half its kernel, with the Spec's activation."""
        in_channels = self.channels_of(source)
        if in_channels % groups or channels % groups:
            raise self.spec.error(
                row, f"{groups} groups don't divide {in_channels} input and {channels} output channels"
            )
        return self.add(
            Convolution(
                row=row.index,
                inputs=(source,),
                channels=channels,
                reduction=self.reduction_of(source) * stride,
                name=name,
                in_channels=in_channels,
                kernel_hw=kernel_hw,
                stride=stride,
                padding_hw=padding_hw or (kernel_hw[0] // 2, kernel_hw[1] // 2),
                groups=groups,
                batch_norm=batch_norm,
                activation=self.spec.activation if activation is None else activation,
                is_head=is_head,
            ),
            row,
        )

    def max_pool(self, row: Row, source: int, kernel: int, stride: int, padding: tuple[int, int, int, int]) -> int:
        """Append a max-pool."""
        return self.add(
            MaxPool(
                row=row.index,
                inputs=(source,),
                channels=self.channels_of(source),
                reduction=self.reduction_of(source) * stride,
                kernel=kernel,
                stride=stride,
                padding=padding,
            ),
            row,
        )

    def concat(self, row: Row, sources: tuple[int, ...]) -> int:
        """Append a concatenation; all inputs must have the same stride."""
        self.same_reduction(row, sources)
        return self.add(
            Concat(
                row=row.index,
                inputs=sources,
                channels=sum(self.channels_of(source) for source in sources),
                reduction=self.reduction_of(sources[0]),
            ),
            row,
        )

    def sum(self, row: Row, sources: tuple[int, ...], activation: str = "linear") -> int:
        """Append an addition; all inputs must have the same stride and channels."""
        self.same_reduction(row, sources)
        channels = [self.channels_of(source) for source in sources]
        if len(set(channels)) > 1:
            raise self.spec.error(row, f"inputs have {_listing(channels)} channels, expected the same number")
        return self.add(
            Add(
                row=row.index,
                inputs=sources,
                channels=channels[0],
                reduction=self.reduction_of(sources[0]),
                activation=activation,
            ),
            row,
        )

    def same_reduction(self, row: Row, sources: tuple[int, ...]) -> None:
        """Refuse inputs whose pictures differ in size."""
        reductions = [self.reduction_of(source) for source in sources]
        if len(set(reductions)) > 1:
            raise self.spec.error(row, f"inputs have strides {_listing(reductions)}, expected the same stride")


def _listing(values: list[int] | list[Fraction]) -> str:
    return " and ".join(str(value) for value in values[:5]) + (" and more" if len(values) > 5 else "")


def expand(spec: Spec) -> Network:
    """Take a Spec apart into primitive operations.

    Raises:
        ModelError: naming file and row: an unknown module, a source that isn't an earlier row, arguments of the
            wrong kind or number, shapes that don't fit, or more than a billion parameters.
    """
    from .modules import MODULES, build_detect

    rows = spec.rows
    if not rows or rows[-1].module != "Detect":
        raise spec.error(rows[-1] if rows else None, "the last row must be Detect")
    builder = Builder(spec)
    outputs: list[int] = []
    for row in rows[:-1]:
        if row.module == "Detect":
            raise spec.error(row, "stands once, as the last row")
        if row.module not in MODULES:
            known = ", ".join(MODULES)
            raise spec.error(row, f"unknown module, expected one of {known}")
        outputs.append(MODULES[row.module](builder, row, _resolve_sources(spec, row, outputs)))
    heads, operations = build_detect(builder, rows[-1], _resolve_sources(spec, rows[-1], outputs))
    _check_pads(spec, builder.operations)
    return Network(tuple(builder.operations), tuple(outputs), heads, operations, spec.nc)


def _check_pads(spec: Spec, operations: list[Operation]) -> None:
    """Padding by −∞ belongs to a max-pool, and to windows with something else in them: what else came of it is NaN."""
    for reader in operations:
        for pad in (operations[source] for source in reader.inputs if source >= 0):
            if not isinstance(pad, Pad) or pad.value != -math.inf:
                continue
            row = spec.rows[pad.row]
            if not isinstance(reader, MaxPool):
                by = f"row {reader.row} ({spec.rows[reader.row].module})"
                raise spec.error(row, f"pads by -.inf, which only a max-pool can read, but {by} does")
            if max(own + other for own, other in zip(pad.padding, reader.padding, strict=True)) >= reader.kernel:
                size = f"{reader.kernel}×{reader.kernel}"
                raise spec.error(
                    row, f"pads more than the max-pool behind it spans ({size}), expected windows with values"
                )


def _resolve_sources(spec: Spec, row: Row, outputs: list[int]) -> tuple[int, ...]:
    for source in row.sources:
        if not -1 <= source < row.index or (source == -1 and row.index > 0):
            expected = "-1 (the picture)" if row.index == 0 else f"a row from 0 to {row.index - 1}"
            raise spec.error(row, f"input comes from row {source}, expected {expected}")
    return tuple(-1 if source < 0 else outputs[source] for source in row.sources)
