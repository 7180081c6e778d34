"""Networks unlike the family's, small enough to read: what a drawing, a reader and a writer must cope with."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from yolov3.spec import Anchors, Row, Spec, read_spec


def _text(backbone: list[str], head: list[str], anchors: list[str], more: str = "") -> str:
    lines = ["nc: 3", *more.splitlines(), "anchors:", *(f"  - [{shapes}]" for shapes in anchors), "backbone:"]
    lines[-1] += "" if backbone else " []"
    return "\n".join([*lines, *(f"  - {row}" for row in backbone), "head:", *(f"  - {row}" for row in head)]) + "\n"


def _chain(count: int) -> str:
    """One stage of many rows, one head."""
    backbone = ["[-1, 1, Conv, [8, 3, 2]]", *(f"[-1, 1, Conv, [{8 + row % 5}, 3, 1]]" for row in range(count))]
    return _text(backbone, ["[-1, 1, Detect, [nc, anchors]]"], ["10,13"])


def _path_aggregation(heads: int) -> str:
    """Up to the finest of `heads` scales and down again, as PAN does, with a head at each."""
    levels = heads + 2
    backbone = []
    for level in range(levels):
        backbone += [f"[-1, 1, Conv, [{8 << min(level, 4)}, 3, 2]]", f"[-1, 2, Bottleneck, [{8 << min(level, 4)}]]"]
    last = len(backbone)
    head, rows, laterals = [], last, {}
    for level in range(levels - 1, levels - heads, -1):
        head.append("[-1, 1, Conv, [16, 1, 1]]")
        laterals[level] = rows
        head += ["[-1, 1, nn.Upsample, [None, 2, 'nearest']]", f"[[-1, {2 * level - 1}], 1, Concat, [1]]"]
        head.append("[-1, 1, Bottleneck, [32, False]]")
        rows += 4
    feeds = [rows - 1]
    for level in range(levels - heads + 1, levels):
        head += ["[-1, 1, Conv, [16, 3, 2]]", f"[[-1, {laterals[level]}], 1, Concat, [1]]"]
        head.append("[-1, 1, Bottleneck, [32, False]]")
        rows += 3
        feeds.append(rows - 1)
    head.append(f"[{feeds}, 1, Detect, [nc, anchors]]")
    return _text(backbone, head, [f"{10 << level},{13 << level}" for level in range(heads)])


def _partial_stages() -> str:
    backbone = ["[-1, 1, Conv, [16, 3, 2, {activation: mish}]]"]
    for channels in (32, 64, 128):
        start = len(backbone)
        backbone += [
            f"[-1, 1, Conv, [{channels}, 3, 2]]",
            f"[-1, 1, Conv, [{channels // 2}, 1, 1]]",
            f"[{start}, 1, Conv, [{channels // 2}, 1, 1]]",
            f"[-1, 3, Bottleneck, [{channels // 2}]]",
            f"[-1, 1, Conv, [{channels // 2}, 1, 1]]",
            f"[[-1, {start + 1}], 1, Concat, [1]]",
            f"[-1, 1, Conv, [{channels}, 1, 1]]",
        ]
    head = ["[-1, 1, SPP, [128, [3, 5, 7, 9]]]", "[-1, 1, Detect, [nc, anchors, {xy_scale: 1.2, wh: square}]]"]
    return _text(backbone, head, ["10,13, 16,30, 33,23, 30,61, 62,45, 59,119, 116,90"], "activation: silu")


_SLICES = _text(
    [
        "[-1, 1, Conv, [16, 3, 2]]",
        "[-1, 1, Conv, [32, 3, 2]]",
        "[-1, 1, Slice, [2, 1]]",
        "[-1, 1, Conv, [16, 3, 1]]",
        "[-1, 1, Conv, [16, 3, 1]]",
        "[[-1, -2], 1, Concat, [1]]",
        "[-1, 1, Conv, [32, 1, 1]]",
        "[[1, -1], 1, Concat, [1]]",
        "[-1, 1, nn.MaxPool2d, [2, 2]]",
        "[-1, 1, Conv, [64, 3, 1, {groups: 4, bn: false, activation: linear}]]",
        "[-1, 1, nn.ConstantPad2d, [[0, 1, 0, 1], -.inf]]",
        "[-1, 2, nn.MaxPool2d, [3, 1, 1]]",
        "[-1, 1, nn.MaxPool2d, [2, 1]]",
    ],
    ["[-1, 1, Conv, [32, 3, 1]]", "[[-1, 5], 1, Detect, [nc, anchors, {xy_scale: [1.05, 1.0], wh: [exp, square]}]]"],
    ["10,14, 23.5,27", "81,82, 135,169, 344,319"],
)

_SUMS = _text(
    [
        "[-1, 1, Conv, [16, 3, 1]]",
        "[-1, 1, Conv, [16, 3, 1]]",
        "[-1, 1, Conv, [16, 1, 1]]",
        "[[-1, 0], 1, Add, [{activation: leaky}]]",
        "[-1, 1, Conv, [16, 3, 1]]",
        "[[-1, 3, 0], 1, Add, []]",
        "[-1, 1, Conv, [16, 3, 2]]",
        "[-1, 1, Conv, [16, 3, 1]]",
        "[[6, 7], 1, Add, []]",
        "[[6, 7, 8, -1], 1, Concat, [1]]",
    ],
    [
        "[-1, 1, nn.Upsample, [None, 2, 'nearest']]",
        "[[-1, 5], 1, Concat, []]",
        "[[11, 9, 9], 1, Detect, [nc, anchors]]",
    ],
    ["1,1", "1000,20", "20,1000, 5,5"],
)

_ONE_PART = _text(
    [],
    [
        "[-1, 1, Conv, [8, 3, 2]]",
        "[-1, 1, Conv, [16, 3, 2]]",
        "[-1, 1, Conv, [32, 3, 2]]",
        "[-1, 1, nn.Upsample, [None, 4, 'nearest']]",
        "[[-1, 0], 1, Concat, [1]]",
        "[-1, 1, Conv, [16, 3, 1]]",
        "[[5, 2], 1, Detect, [nc, anchors]]",
    ],
    ["10,14", "81,82"],
)

_SHARED_POOL = """
nc: 80
anchors:
  pool: [10,14, 23,27, 37,58, 81,82, 135,169, 344,319]
  masks: [[1, 2, 3], [3, 4, 5]]
depth_multiple: 0.33
width_multiple: 0.5
backbone:
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 3, Bottleneck, [32]]
  - [-1, 9, Conv, [64, 3, 1]]
head:
  - [-1, 1, Conv, [64, 3, 2]]
  - [[1, 3], 1, Detect, [nc, anchors]]
"""

TEXTS = {
    "only Detect": _text([], ["[-1, 1, Detect, [nc, anchors]]"], ["10,13"]),
    "a chain of 120": _chain(120),
    "one head": _chain(4),
    "two heads, down and up": _path_aggregation(2),
    "five heads, down and up": _path_aggregation(5),
    "cross-stage partial stages": _partial_stages(),
    "slices": _SLICES,
    "sums": _SUMS,
    "no backbone": _ONE_PART,
    "shared anchors, multiples": _SHARED_POOL,
}


def odd_spec(name: str) -> Spec:
    """One of the networks above."""
    return read_spec(TEXTS[name], f"{name}.yaml")


@dataclass
class _Growing:
    """A network under construction: rows so far with the channels and stride of their outputs."""

    chance: random.Random
    rows: list[Row] = field(default_factory=list)
    outputs: list[tuple[int, Fraction]] = field(default_factory=list)

    def add(
        self, sources: list[int], module: str, args: list[Any], channels: int, stride: Fraction, number: int = 1
    ) -> None:
        index = len(self.rows)
        from_ = [self.chance.choice([source, source - index]) if source >= 0 else -1 for source in sources]
        self.rows.append(Row(index, from_[0] if len(from_) == 1 else tuple(from_), number, module, tuple(args)))
        self.outputs.append((channels, stride))

    def grow(self) -> None:
        """One more row, of any module that fits the row it is put on."""
        chance, last = self.chance, len(self.rows) - 1
        source = last if chance.random() < 0.75 or last < 0 else chance.randint(0, last)
        if source >= 0 and self.outputs[source][1] < 0:
            source = last
        channels, stride = self.outputs[source] if source >= 0 else (3, Fraction(1))
        alike = [row for row in range(last + 1) if self.outputs[row][1] == stride and row != source]
        equal = [row for row in alike if self.outputs[row][0] == channels]
        kind = chance.choice(
            ["Conv", "Conv", "down", "Bottleneck", "SPP", "pool", "pad", "up", "Concat", "Add", "Slice"]
        )
        out = chance.choice([2, 4, 8])
        if kind == "down" and stride < 32:
            self.add(
                [source], *chance.choice([("Conv", [out, 3, 2], out), ("nn.MaxPool2d", [2, 2], channels)]), stride * 2
            )
        elif kind == "up" and stride > 1:
            self.add([source], "nn.Upsample", [None, 2, "nearest"], channels, stride / 2)
        elif kind == "Bottleneck":
            shortcut = channels == out
            args = [out] if shortcut else [out, False]
            self.add(
                [source], "Bottleneck", [*args, {"activation": "mish"}] if out == 8 else args, out, stride, out // 2
            )
        elif kind == "SPP" and channels > 1:
            self.add([source], "SPP", [out, [3, 5]], out, stride)
        elif kind == "pool":
            self.add([source], "nn.MaxPool2d", [3, 1, 1], channels, stride, chance.choice([1, 2]))
        elif kind == "pad":
            self._pad(source, channels, stride)
        elif kind == "Concat" and alike:
            several = [source, *chance.sample(alike, min(len(alike), chance.randint(1, 4)))]
            self.add(several, "Concat", chance.choice([[1], []]), sum(self.outputs[row][0] for row in several), stride)
        elif kind == "Add" and equal:
            several = [source, *chance.sample(equal, min(len(equal), 2))]
            self.add(several, "Add", chance.choice([[], [{"activation": "relu"}]]), channels, stride)
        elif kind == "Slice" and channels % 2 == 0:
            self.add([source], "Slice", [2, chance.randint(0, 1)], channels // 2, stride)
        else:
            self._conv(source, out, stride)

    def _conv(self, source: int, out: int, stride: Fraction) -> None:
        options = self.chance.choice([[], [], [{"activation": "silu", "bn": False}], [{"groups": 1, "padding": 1}]])
        args = [out, self.chance.choice([3, [3, 3]]), 1, *options]
        self.add([source], "Conv", args, out, stride, self.chance.choice([1, 1, 3]))

    def _pad(self, source: int, channels: int, stride: Fraction) -> None:
        """Padding and the pool that takes it off again: sizes stay those of the stride."""
        filler = self.chance.choice([0, 0.5, float("-inf")])
        self.add([source], "nn.ConstantPad2d", [[0, 1, 0, 1], filler], channels, stride)
        self.add([len(self.rows) - 1], "nn.MaxPool2d", [2, 1, 0], channels, stride)
        self.outputs[-2] = (
            channels,
            Fraction(-len(self.rows)),
        )  # of no other row's size: nothing but the pool takes it


def random_spec(chance: random.Random) -> Spec:
    """A network of random rows that fit each other, with one to four heads."""
    growing = _Growing(chance)
    for _ in range(chance.randint(0, 40)):
        growing.grow()
    last = len(growing.rows) - 1
    whole = [row for row, (_, stride) in enumerate(growing.outputs) if stride >= 1]
    heads = [last if last in whole else -1, *chance.sample(whole, min(len(whole), chance.randint(0, 3)))]
    heads = [head for head in heads if head >= 0 or last < 0] or whole[-1:]
    growing.add(
        heads, "Detect", chance.choice([["nc", "anchors"], ["nc", "anchors", {"xy_scale": 1.05}]]), 0, Fraction(1)
    )
    shapes = tuple((float(chance.randint(1, 400)), chance.choice([7.5, 90.0])) for _ in range(6))
    masks = tuple(tuple(sorted(chance.sample(range(6), chance.randint(1, 3)))) for _ in heads)
    anchors = Anchors(shapes, masks)
    if chance.random() < 0.5:
        anchors = Anchors.per_head(tuple(anchors.of_head(head) for head in range(len(masks))))
    cut = chance.randint(0, len(growing.rows) - 1)
    return Spec(
        tuple(growing.rows[:cut]),
        tuple(growing.rows[cut:]),
        chance.choice([1, 3, 80]),
        anchors,
        chance.choice(["leaky", "mish", "linear"]),
        chance.choice([1.0, 0.33]),
    )
