"""What stands in each box: a row in a few words, read from its operations."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction

from ..primitives import Add, Concat, Convolution, MaxPool, Operation, Pad, Slice, Upsample
from ..reading import row_text
from ..rows import Row, Spec
from ..shapes import Layer, Summary

PICTURE = -1  # the row number of the picture that goes in


@dataclass(frozen=True, slots=True)
class Box:
    """One row as it is drawn.

    Attributes:
        row: its number, -1 for the picture.
        kind: the module's name without `nn.`.
        repeats: how often the module stands in sequence.
        detail: kernel, stride and the like in a few words.
        shape: the output, channels × height × width.
        sources: rows that feed it.
        stride: pixels a cell of its output.
        tooltip: everything that `yolov3 show` prints about it.
    """

    row: int
    kind: str
    repeats: int
    detail: str
    shape: str
    sources: tuple[int, ...]
    stride: Fraction
    tooltip: str


def boxes_of(spec: Spec, summary: Summary) -> list[Box]:
    """The picture, then every row but Detect."""
    network = spec.network
    operations: dict[int, list[Operation]] = defaultdict(list)
    for operation in network.operations:
        operations[operation.row].append(operation)
    channels, height, width = (summary.layers[0].inputs[0])[1:]
    picture = Box(PICTURE, "picture", 1, "RGB, 0 to 1", f"{channels}×{height}×{width}", (), Fraction(1), "the input")
    boxes = [picture]
    for layer in summary.layers[:-1]:
        row, own = layer.row, operations[layer.row.index]
        stride = network.operations[network.row_outputs[row.index]].reduction
        inputs = [shape[1] for shape in layer.inputs]
        boxes.append(
            Box(
                row.index,
                row.module.removeprefix("nn."),
                _repeats(row, own),
                _detail(spec, row, own, inputs),
                "×".join(map(str, layer.outputs[0][1:])),
                tuple(dict.fromkeys(row.sources)),
                stride,
                tooltip(layer),
            )
        )
    return boxes


def tooltip(layer: Layer) -> str:
    """A row with its shapes and costs, a line each."""
    shapes = [", ".join("×".join(map(str, shape)) for shape in side) for side in (layer.inputs, layer.outputs)]
    return (
        f"row {layer.row.index}: {row_text(layer.row)}\ninput {shapes[0]}\noutput {shapes[1]}\n"
        f"{layer.parameters:,} parameters, {layer.multiply_adds:,} multiply-adds"
    )


def _repeats(row: Row, operations: list[Operation]) -> int:
    convolutions = sum(isinstance(operation, Convolution) for operation in operations)
    if row.module == "SPP":
        return 1
    return max(convolutions // 2 if row.module == "Bottleneck" else convolutions or len(operations), 1)


def _detail(spec: Spec, row: Row, operations: list[Operation], input_channels: list[int]) -> str:
    if row.module == "Bottleneck":
        return "1×1, 3×3, add" if any(isinstance(operation, Add) for operation in operations) else "1×1, 3×3"
    if row.module == "SPP":
        return "pools " + ", ".join(str(pool.kernel) for pool in operations if isinstance(pool, MaxPool))
    first = operations[0]
    if isinstance(first, Convolution):
        return ", ".join(_convolution_words(spec, first))
    if isinstance(first, MaxPool):
        return f"{first.kernel}×{first.kernel}{_stride(first.stride)}"
    if isinstance(first, Pad):
        filler = {0.0: "", float("-inf"): "−∞ "}.get(first.value, f"{first.value:g} ")
        sides = zip(("left", "top", "right", "bottom"), first.padding, strict=True)
        return filler + ", ".join(side if count == 1 else f"{side} {count}" for side, count in sides if count)
    if isinstance(first, Upsample):
        return f"{first.scale}× finer"
    if isinstance(first, Concat):
        return " + ".join(map(str, input_channels)) if len(input_channels) < 4 else f"{len(input_channels)} inputs"
    if isinstance(first, Slice):
        return f"channels {first.start} to {first.start + first.channels - 1}"
    assert isinstance(first, Add)
    return f"{len(input_channels)} inputs" + ("" if first.activation == "linear" else f", {first.activation}")


def _convolution_words(spec: Spec, convolution: Convolution) -> list[str]:
    height, width = convolution.kernel_hw
    words = [f"{height}×{width}{_stride(convolution.stride)}"]
    if convolution.groups > 1:
        words.append(f"{convolution.groups} groups")
    if convolution.activation != spec.activation:
        words.append(convolution.activation)
    if not convolution.batch_norm:
        words.append("no BN")
    return words


def _stride(stride: int) -> str:
    return f" /{stride}" if stride > 1 else ""
