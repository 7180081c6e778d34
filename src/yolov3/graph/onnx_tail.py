"""Decoding and suppression as ONNX nodes, for exports that give boxes instead of raw heads.

The same arithmetic as `postprocess`, in float32 whatever the network's precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..spec.rows import MAX_LOG_SIDE, Head
from .signature import Signature

if TYPE_CHECKING:
    from .onnx import Emitter


def emit_boxes(emitter: Emitter, raw: list[str], heads: tuple[Head, ...], nc: int, signature: Signature) -> None:
    """Decode the heads: nodes "boxes" (batch, candidates, 4) and "scores" (batch, candidates, classes)."""
    final = signature.outputs == "boxes"
    parts = [
        _Decoder(emitter, f"decode.{place}", head, nc, signature).run(name)
        for place, (name, head) in enumerate(zip(raw, heads, strict=True))
    ]
    for place, name in enumerate(("boxes", "scores")):
        output = name if final else f"decode.{name}"
        emitter.add("Concat", output, [part[place] for part in parts], axis=1)


class _Decoder:
    """One head: raw values (batch, anchors · (5 + classes), height, width) to boxes and scores."""

    def __init__(self, emitter: Emitter, prefix: str, head: Head, nc: int, signature: Signature) -> None:
        self.emitter = emitter
        self.prefix = prefix
        self.head = head
        self.nc = nc
        self.size_wh = signature.size_wh

    def add(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        name = f"{self.prefix}.{name}"
        self.emitter.add(kind, name, list(inputs), **attributes)
        return name

    def number(self, value: float) -> str:
        return self.emitter.constant(f"decode.constant_{float(value)!r}", np.array(value, np.float32))

    def indices(self, *values: int) -> str:
        name = "_".join(map(str, values)).replace("-", "m")
        return self.emitter.constant(f"decode.index_{name}", np.array(values, np.int64))

    def run(self, raw: str) -> tuple[str, str]:
        values = 5 + self.nc
        # (N, A · values, H, W) → (N, A, values, H · W) → (N, A, H · W, values)
        apart = self.add("Reshape", "apart", raw, self.indices(0, len(self.head.anchors), values, -1))
        last = self.add("Transpose", "last", apart, perm=[0, 1, 3, 2])
        shifts, sides, objectness, classes = (
            self.add("Slice", f"values_{start}", last, *(self.indices(index) for index in (start, stop, 3, 1)))
            for start, stop in ((0, 2), (2, 4), (4, 5), (5, values))
        )
        centre, half = self.centre(shifts, raw), self.half_sides(sides)
        corners = [self.add(kind, f"corner_{kind.lower()}", centre, half) for kind in ("Sub", "Add")]
        boxes = self.add("Concat", "xyxy", *corners, axis=3)
        scores = self.add("Mul", "scores", self.sigmoid(objectness), self.sigmoid(classes))
        # (N, A, H · W, ·) → (N, A · H · W, ·)
        return (
            self.add("Reshape", "boxes", boxes, self.indices(0, -1, 4)),
            self.add("Reshape", "flat_scores", scores, self.indices(0, -1, self.nc)),
        )

    def sigmoid(self, source: str) -> str:
        return self.add("Sigmoid", f"{source.removeprefix(self.prefix + '.')}_sigmoid", source)

    def centre(self, shifts: str, raw: str) -> str:
        moved = self.sigmoid(shifts)
        if self.head.xy_scale != 1:
            around = self.add("Sub", "around_0", moved, self.number(0.5))
            stretched = self.add("Mul", "stretched", around, self.number(self.head.xy_scale))
            moved = self.add("Add", "around_half", stretched, self.number(0.5))
        cells = self.add("Add", "cells", moved, self.grid(raw))
        return self.add("Mul", "centre", cells, self.number(self.head.stride))

    def half_sides(self, sides: str) -> str:
        # (1, A, 1, 2)
        anchors = np.array(self.head.anchors, np.float32)[None, :, None] / np.float32(2)
        name = self.emitter.constant(f"{self.prefix}.half_anchors", anchors)
        if self.head.wh == "exp":
            factor = self.add("Exp", "exp", self.add("Min", "bounded", sides, self.number(MAX_LOG_SIDE)))
        else:
            double = self.add("Mul", "double", self.sigmoid(sides), self.number(2))
            factor = self.add("Mul", "square", double, double)
        return self.add("Mul", "half", factor, name)

    def grid(self, raw: str) -> str:
        """Column and row of each cell: (H · W, 2) float32."""
        if self.size_wh is not None:
            lines = [np.arange(side // self.head.stride, dtype=np.float32) for side in self.size_wh]
            return self.emitter.constant(f"{self.prefix}.grid", np.stack(np.meshgrid(*lines), axis=-1).reshape(-1, 2))
        shape = self.add("Shape", "shape", raw)
        sides = [self.add("Gather", f"side_{axis}", shape, self.scalar(axis), axis=0) for axis in (2, 3)]
        size = self.add("Slice", "size", shape, *(self.indices(index) for index in (2, 4, 0)))
        columns = self.add("Expand", "columns", self.count("column", sides[1], (1, -1)), size)
        rows = self.add("Expand", "rows", self.count("row", sides[0], (-1, 1)), size)
        # (H, W) and (H, W) → (H · W, 1) and (H · W, 1) → (H · W, 2)
        flat = [
            self.add("Reshape", f"{name}_flat", line, self.indices(-1, 1))
            for name, line in zip("xy", (columns, rows), strict=True)
        ]
        return self.add("Concat", "grid", *flat, axis=1)

    def count(self, name: str, side: str, place: tuple[int, int]) -> str:
        """0, 1, 2, … up to a side, as float32 of a shape."""
        whole = self.add("Range", f"{name}_whole", self.scalar(0), side, self.scalar(1))
        real = self.add("Cast", f"{name}_real", whole, to=self.emitter.FLOAT)
        return self.add("Reshape", name, real, self.indices(*place))

    def scalar(self, value: int) -> str:
        return self.emitter.constant(f"decode.scalar_{value}", np.array(value, np.int64))


def emit_suppression(emitter: Emitter, signature: Signature) -> None:
    """From "decode.boxes" and "decode.scores" to "boxes", "scores" and "labels" of the best boxes.

    Each box counts for its best class only. What NonMaxSuppression keeps is written back to where it stood, so that
    the best are found by one TopK and every picture of a batch has its own row.
    """
    add, constant = emitter.add, emitter.constant
    boxes, scores = "decode.boxes", "decode.scores"

    def number(name: str, value: Any) -> str:
        return constant(f"nms.{name}", np.array(value))

    last, zero = number("axis", np.array([2], np.int64)), number("zero", np.float32(0))
    add("ReduceMax", "nms.best", [scores, last], keepdims=1)
    add("ArgMax", "nms.labels", [scores], axis=2, keepdims=0)
    add("Equal", "nms.is_best", [scores, "nms.best"])
    add("Where", "nms.single", ["nms.is_best", scores, zero])
    add("Transpose", "nms.by_class", ["nms.single"], perm=[0, 2, 1])
    limits = [
        number("max_det", np.array([signature.max_det], np.int64)),
        number("iou", np.array([signature.iou], np.float32)),
        number("conf", np.array([signature.conf], np.float32)),
    ]
    add("NonMaxSuppression", "nms.selected", [boxes, "nms.by_class", *limits])  # (n, 3): picture, class, candidate
    add("GatherND", "nms.selected_scores", ["nms.by_class", "nms.selected"])
    add("Mul", "nms.nothing", ["nms.by_class", zero])
    add("ScatterND", "nms.kept", ["nms.nothing", "nms.selected", "nms.selected_scores"])
    add("ReduceMax", "nms.kept_scores", ["nms.kept", number("class_axis", np.array([1], np.int64))], keepdims=0)
    add("Shape", "nms.shape", ["nms.kept_scores"], start=1, end=2)
    add("Min", "nms.count", ["nms.shape", limits[0]])
    emitter.nodes.append(_top(emitter))
    add("Greater", "nms.filled", ["scores", zero])
    add("GatherElements", "nms.top_labels", ["nms.labels", "nms.places"], axis=1)
    add("Where", "labels", ["nms.filled", "nms.top_labels", number("none", np.int64(-1))])
    add("Unsqueeze", "nms.places_3d", ["nms.places", last])
    add("GatherND", "nms.top_boxes", [boxes, "nms.places_3d"], batch_dims=1)
    add("Unsqueeze", "nms.filled_3d", ["nms.filled", last])
    add("Where", "boxes", ["nms.filled_3d", "nms.top_boxes", zero])


def _top(emitter: Emitter) -> Any:
    from onnx import helper

    return helper.make_node("TopK", ["nms.kept_scores", "nms.count"], ["scores", "nms.places"], name="nms.top", axis=1)
