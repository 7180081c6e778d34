"""What each row takes and gives: shapes, parameters, multiply-adds. The table that `yolov3 show` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from .primitives import Convolution, Network, output_hw
from .rows import Row, Spec

Shape = list[int]

MAX_SIDE = 16_384
MAX_ACTIVATIONS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Layer:
    """One row with its shapes, as `[1, channels, height, width]`; Detect's outputs are `[1, anchors, H, W, 5 + nc]`."""

    row: Row
    inputs: list[Shape]
    outputs: list[Shape]
    parameters: int
    multiply_adds: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: a single shape stands alone, several as a list."""
        from_ = list(self.row.from_) if isinstance(self.row.from_, tuple) else self.row.from_
        return {
            "index": self.row.index,
            "from": from_,
            "number": self.row.number,
            "module": self.row.module,
            "args": [_json_value(arg) for arg in self.row.args],
            "inputs": self.inputs[0] if len(self.inputs) == 1 else self.inputs,
            "outputs": self.outputs[0] if len(self.outputs) == 1 else self.outputs,
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
        }


def _json_value(value: Any) -> Any:
    return str(value) if isinstance(value, float) and value in (float("inf"), float("-inf")) else value


@dataclass(frozen=True, slots=True)
class Summary:
    """All rows of a network at one input size, and the totals."""

    layers: list[Layer]
    parameters: int
    multiply_adds: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `layers` and `total`."""
        return {
            "layers": [layer.to_dict() for layer in self.layers],
            "total": {"parameters": self.parameters, "multiply_adds": self.multiply_adds},
        }


def parse_size(size: int | str | Sequence[int], spec: Spec | None = None) -> tuple[int, int]:
    """An input size that a user asks for as (width, height): 416, "416", "640x384" or (640, 384).

    Raises:
        UsageError: something else, or a size that the network of `spec` can't take.
    """
    if isinstance(size, str):
        parts = size.lower().replace("×", "x").split("x")
        if not all(part.isascii() and part.isdigit() for part in parts):
            raise UsageError(f"size {size!r}: expected a number such as 416 or WIDTHxHEIGHT such as 640x384")
        size = [int(part) for part in parts]
    sides = [size] if isinstance(size, int) else [int(side) for side in size] if isinstance(size, Sequence) else []
    if len(sides) not in (1, 2):
        raise UsageError(f"size {size!r}: expected one side or width and height")
    size_wh = sides[0], sides[-1]
    fault = None if spec is None else _size_fault(spec, size_wh)
    if fault is not None:
        raise UsageError(fault)
    return size_wh


def check_size(spec: Spec, size_wh: tuple[int, int]) -> None:
    """Refuse an input size that the network can't take.

    Raises:
        ModelError: a side isn't a multiple of the network's largest stride, or is too large.
    """
    stride = spec.network.max_stride
    if stride > MAX_SIDE:
        raise spec.error(None, f"its strides need input sides that are multiples of {stride:,}, more than {MAX_SIDE:,}")
    fault = _size_fault(spec, size_wh)
    if fault is not None:
        raise spec.error(None, fault)


def _size_fault(spec: Spec, size_wh: tuple[int, int]) -> str | None:
    """Why the network can't take an input of this size; None where it can."""
    stride = spec.network.max_stride
    for side in size_wh:
        if stride <= MAX_SIDE and (not 0 < side <= MAX_SIDE or side % stride):
            near = nearest_side(spec, side)
            return f"the input size {side} must be a multiple of {stride} up to {MAX_SIDE:,}; {near} is one"
    return None


def nearest_side(spec: Spec, side: int) -> int:
    """The input side closest to `side` that the network can take."""
    stride = spec.network.max_stride
    return max(min(round(side / stride), MAX_SIDE // stride), 1) * stride


def operation_sizes(network: Network, size_wh: tuple[int, int]) -> list[tuple[int, int]]:
    """(height, width) of every operation's output for an input of `size_wh` pixels."""
    sizes: list[tuple[int, int]] = []
    for operation in network.operations:
        source = operation.inputs[0]
        given = (size_wh[1], size_wh[0]) if source < 0 else sizes[source]
        sizes.append(output_hw(operation, given))
    return sizes


def summarise(spec: Spec, size_wh: tuple[int, int]) -> Summary:
    """Work out every row's shapes and costs at an input of `size_wh` (width, height) pixels.

    Raises:
        ModelError: the size doesn't suit the network, or inputs of a row differ in size at it.
    """
    check_size(spec, size_wh)
    network = spec.network
    sizes = operation_sizes(network, size_wh)
    _check_joins(spec, network, sizes)
    _check_heads(spec, network, sizes, size_wh)

    def shape(index: int) -> Shape:
        if index < 0:
            return [1, 3, size_wh[1], size_wh[0]]
        return [1, network.operations[index].channels, *sizes[index]]

    parameters = dict.fromkeys(range(len(spec.rows)), 0)
    multiply_adds = dict.fromkeys(range(len(spec.rows)), 0)
    for operation, (height, width) in zip(network.operations, sizes, strict=True):
        if isinstance(operation, Convolution):
            parameters[operation.row] += operation.parameters
            multiply_adds[operation.row] += operation.weight_count * height * width

    layers = []
    for row in spec.rows:
        inputs = [shape(-1 if source < 0 else network.row_outputs[source]) for source in row.sources]
        if row.module == "Detect":
            outputs = [
                [1, len(head.anchors), *sizes[index], 5 + spec.nc]
                for head, index in zip(network.heads, network.head_operations, strict=True)
            ]
        else:
            outputs = [shape(network.row_outputs[row.index])]
        layers.append(Layer(row, inputs, outputs, parameters[row.index], multiply_adds[row.index]))
    return Summary(layers, sum(parameters.values()), sum(multiply_adds.values()))


def _check_joins(spec: Spec, network: Network, sizes: list[tuple[int, int]]) -> None:
    total = 0
    for operation, (height, width) in zip(network.operations, sizes, strict=True):
        row = spec.rows[operation.row]
        total += operation.channels * height * width
        if height < 1 or width < 1:
            raise spec.error(row, f"gives {width}×{height} cells here; the input size doesn't suit this network")
        if total > MAX_ACTIVATIONS:
            raise spec.error(row, f"the network's values pass {MAX_ACTIVATIONS:,} here, more than is supported")
        given = [sizes[source] for source in operation.inputs if source >= 0]
        if len(set(given)) > 1:
            listing = " and ".join(f"{other_w}×{other_h}" for other_h, other_w in list(dict.fromkeys(given))[:5])
            raise spec.error(row, f"its inputs have {listing} cells, expected the same size")


def _check_heads(spec: Spec, network: Network, sizes: list[tuple[int, int]], size_wh: tuple[int, int]) -> None:
    """Decoding places a cell at its number times the stride, so the cells must cover the picture."""
    for place, (head, index) in enumerate(zip(network.heads, network.head_operations, strict=True)):
        height, width = sizes[index]
        expected_wh = size_wh[0] // head.stride, size_wh[1] // head.stride
        if (width, height) != expected_wh:
            raise spec.error(
                spec.rows[-1],
                f"input {place} has {width}×{height} cells, expected {expected_wh[0]}×{expected_wh[1]} (stride "
                f"{head.stride}); a layer before it isn't padded so that only strides shrink the picture",
            )
