"""Spec → Darknet cfg text, and the order of the weight file that goes with it."""

from __future__ import annotations

import math

from ..errors import ModelError
from ..spec import Spec
from ..spec.primitives import Add, Concat, Convolution, MaxPool, Operation, Pad, Slice, Upsample
from .dialects import ACTIVATION_NAMES
from .weights import Stored

# Layers this far back or less are counted back from, as the official cfgs do; others by their number.
_NEAR = 10


def emit_cfg(spec: Spec, size_wh: tuple[int, int], resize: str) -> tuple[str, list[Stored]]:
    """Write a network as Darknet layers, in the order of its rows, each head right behind what feeds it.

    An SPP row joins its pools in Darknet's own order (largest first, the input last), and the convolution behind it
    carries the permutation.

    Args:
        spec: the network.
        size_wh: its input size.
        resize: "letterbox" or "stretch"; `letter_box`, which AlexeyAB's Darknet reads.

    Returns:
        The cfg text, and the convolutions in the order of its weight file.

    Raises:
        ModelError: naming the row: padding by a value, or not alike on all sides; a convolution that isn't square; a
            later layer that reads the picture.
    """
    emitter = _Emitter(spec)
    emitter.run()
    width, height = size_wh
    net: dict[str, object] = {"batch": 1, "subdivisions": 1, "width": width, "height": height, "channels": 3}
    net["letter_box"] = int(resize == "letterbox")
    sections = [("net", net), *emitter.sections]
    return "\n".join(_section_text(name, values) for name, values in sections), emitter.order


def _section_text(name: str, values: dict[str, object]) -> str:
    return "\n".join([f"[{name}]", *(f"{key}={value}" for key, value in values.items()), ""])


class _Emitter:
    """Collects sections; a Darknet layer's number is its place in them."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.network = spec.network
        self.sections: list[tuple[str, dict[str, object]]] = []
        self.order: list[Stored] = []
        self.layers: dict[int, int] = {}  # operation → the Darknet layer that gives its output
        self.pads: dict[int, Pad] = {}  # those by −∞, which the max-pools behind them take over
        self.waiting = list(range(len(self.network.heads)))  # heads not yet written
        self.permutations: dict[int, list[int]] = {}  # Concat → input channels of ours → of the file

    def run(self) -> None:
        self.heads_behind()
        for index, operation in enumerate(self.network.operations):
            if isinstance(operation, Convolution) and operation.is_head:
                continue
            if isinstance(operation, Pad):
                self.pads[index] = self.pad(operation)
                continue
            getattr(self, f"_{type(operation).__name__.lower()}")(index, operation)
            self.layers[index] = len(self.sections) - 1
            self.heads_behind()

    def error(self, operation: Operation, message: str) -> ModelError:
        return self.spec.error(self.spec.rows[operation.row], message)

    def add(self, name: str, **values: object) -> None:
        self.sections.append((name, values))

    def pad(self, operation: Pad) -> Pad:
        if operation.value != -math.inf:
            raise self.error(
                operation,
                f"pads by {operation.value:g}, which no Darknet can; expected padding by -.inf before a max-pool",
            )
        return operation

    def layer(self, source: int, reader: Operation) -> int:
        """The Darknet layer that gives the output of operation `source`."""
        if source < 0:
            raise self.error(reader, "reads the picture, which in Darknet only the first layer can")
        return self.layers[source]

    def reference(self, source: int, reader: Operation) -> int:
        """How the next layer names the one that gives `source`: counted back (negative), or its number."""
        layer = self.layer(source, reader)
        back = len(self.sections) - layer
        return -back if back <= _NEAR else layer

    def bring(self, source: int, reader: Operation) -> None:
        """Make `source` what the next layer reads, which is the layer before it: by a route where it isn't."""
        if source < 0 and not self.sections:
            return
        if self.layer(source, reader) != len(self.sections) - 1:
            self.add("route", layers=self.reference(source, reader))

    def _convolution(self, index: int, operation: Convolution) -> None:
        (size, width), (padding, side) = operation.kernel_hw, operation.padding_hw
        if size != width or padding != side:
            raise self.error(operation, f"kernel {size}×{width}, but Darknet's convolutions are square")
        self.bring(operation.inputs[0], operation)
        values: dict[str, object] = {"batch_normalize": 1} if operation.batch_norm else {}
        values |= {"filters": operation.channels, "size": size, "stride": operation.stride}
        values |= {"pad": 1} if padding == size // 2 else {"padding": padding}
        if operation.groups > 1:
            values["groups"] = operation.groups
        self.store(operation, self.permutations.get(operation.inputs[0]))
        self.add("convolutional", **values, activation=ACTIVATION_NAMES[operation.activation])

    def store(self, operation: Convolution, permutation: list[int] | None) -> None:
        layer = f"layer {len(self.sections)} [convolutional] (row {operation.row})"
        self.order.append(Stored(operation, layer, permutation))

    def _maxpool(self, index: int, operation: MaxPool) -> None:
        """Darknet pads `padding` in all, half of it (rounded down) before, by −∞ (`maxpool_layer.c`)."""
        source, sides = operation.inputs[0], operation.padding
        before = self.pads.get(source)
        if before is not None:
            source = before.inputs[0]
            sides = tuple(own + other for own, other in zip(sides, before.padding, strict=True))  # type: ignore[assignment]
        left, top, right, bottom = sides
        whole = left + right
        if not left == top == whole // 2 or right != bottom or whole > 2 * (operation.kernel - 1):
            raise self.error(
                operation,
                f"padded {left}, {right}, {top}, {bottom} (left, right, top, bottom), but Darknet pads all sides "
                "alike, or right and below by one more",
            )
        self.bring(source, operation)
        own = {} if whole == operation.kernel - 1 else {"padding": whole}
        self.add("maxpool", size=operation.kernel, stride=operation.stride, **own)

    def _upsample(self, index: int, operation: Upsample) -> None:
        self.bring(operation.inputs[0], operation)
        self.add("upsample", stride=operation.scale)

    def _concat(self, index: int, operation: Concat) -> None:
        sources = operation.inputs
        if self.spec.rows[operation.row].module == "SPP":
            channels = operation.channels // len(sources)
            parts = reversed(range(len(sources)))
            self.permutations[index] = [part * channels + channel for part in parts for channel in range(channels)]
            sources = sources[::-1]
        self.add("route", layers=",".join(str(self.reference(source, operation)) for source in sources))

    def _add(self, index: int, operation: Add) -> None:
        """A shortcut adds one layer to the one before it (the last input), so several inputs make several shortcuts."""
        *others, last = operation.inputs
        self.bring(last, operation)
        for place, source in enumerate(others, 1):
            activation = operation.activation if place == len(others) else "linear"
            self.add("shortcut", **{"from": self.reference(source, operation)}, activation=ACTIVATION_NAMES[activation])

    def _slice(self, index: int, operation: Slice) -> None:
        source = operation.inputs[0]
        reference = self.reference(source, operation)
        groups = self.network.operations[source].channels // operation.channels
        part = {"groups": groups, "group_id": operation.start // operation.channels} if groups > 1 else {}
        self.add("route", layers=reference, **part)

    def heads_behind(self) -> None:
        """The heads that can be written now; those of one stride in Detect's order, which readers keep."""
        blocked = set()
        for place in list(self.waiting):
            operation = self.network.operations[self.network.head_operations[place]]
            assert isinstance(operation, Convolution)
            source, stride = operation.inputs[0], operation.reduction
            if stride in blocked or (source >= 0 and source not in self.layers):
                blocked.add(stride)
                continue
            self.waiting.remove(place)
            self.head(place, operation)

    def head(self, place: int, operation: Convolution) -> None:
        """A head's convolution and its `[yolo]`."""
        head = self.network.heads[place]
        self.bring(operation.inputs[0], operation)
        square = head.wh == "square"
        self.store(operation, None)
        self.add(
            "convolutional",
            size=1,
            stride=1,
            pad=1,
            filters=operation.channels,
            activation="logistic" if square else "linear",
        )
        anchors = self.spec.anchors
        values: dict[str, object] = {
            "mask": ",".join(map(str, anchors.masks[place])),
            "anchors": ", ".join(f"{_number(width)},{_number(height)}" for width, height in anchors.pool),
            "classes": self.spec.nc,
            "num": len(anchors.pool),
        }
        if head.xy_scale != 1:
            values["scale_x_y"] = _number(head.xy_scale)
        if square:
            values["new_coords"] = 1
        self.add("yolo", **values)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
