"""Raw heads → thresholds → boxes → non-maximum suppression → `Detections`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .detections import Detections
from .errors import UsageError
from .geometry import Letterbox, box_area, clip_boxes, cxcywh_to_xyxy, intersection_area
from .spec.rows import MAX_LOG_SIDE, Head

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

# The share of a cut box inside a larger one from which they are taken for one object.
COVERED = 0.6


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is kept.

    Attributes:
        conf: least score, 0 to 1.
        iou: a box that overlaps a better one of its class by more is dropped, 0 to 1.
        max_det: most boxes a picture, best first; where it cuts, `Detections.truncated` says so.
        classes: class indices to keep, or None for all.
        multi_label: a box counts for every class above `conf` (Darknet, and scoring), or for its best one only.

    Raises:
        UsageError: a value out of range.
    """

    conf: float = 0.25
    iou: float = 0.45
    max_det: int = 300
    classes: frozenset[int] | None = None
    multi_label: bool = False

    def __post_init__(self) -> None:
        for name, value in (("conf", self.conf), ("iou", self.iou)):
            if not 0 <= value <= 1:
                raise UsageError(f"{name} is {value}, expected a number from 0 to 1")
        if self.max_det < 1:
            raise UsageError(f"max-det is {self.max_det}, expected 1 or more")


def sigmoid(values: Float32) -> Float32:
    """Logistic function, without overflow and with small results still exact."""
    result: Float32 = np.float32(1) / (np.float32(1) + np.exp(np.minimum(-values, np.float32(80))))
    return result


def decode_boxes(raw: Float32, cells_xy: Float32, anchors_wh: Float32, head: Head) -> Float32:
    """Boxes (N, 4) xyxy in pixels of the network's input from raw values (N, ≥ 4).

    YOLOv3 section 2.1 and, for `xy_scale` and `wh="square"`, AlexeyAB's `yolo_layer.c: get_yolo_box`.

    Args:
        raw: tx, ty, tw, th first.
        cells_xy: (N, 2), column and row of each cell.
        anchors_wh: (N, 2), the anchor of each.
        head: strides and scales.
    """
    scale = np.float32(head.xy_scale)
    centre = ((sigmoid(raw[:, :2]) - np.float32(0.5)) * scale + np.float32(0.5) + cells_xy) * np.float32(head.stride)
    if head.wh == "exp":
        size = anchors_wh * np.exp(np.minimum(raw[:, 2:4], np.float32(MAX_LOG_SIDE)))
    else:
        size = anchors_wh * np.square(2 * sigmoid(raw[:, 2:4]))
    return cxcywh_to_xyxy(np.concatenate([centre, size], axis=1)).astype(np.float32, copy=False)


def head_candidates(raw: Float32, head: Head, nc: int, thresholds: Thresholds) -> tuple[Float32, Float32, Int64]:
    """Boxes, scores and labels of one head that reach `conf`; only objectness above it is decoded.

    Args:
        raw: (anchors · (5 + nc), H, W) float32: for each anchor tx, ty, tw, th, objectness, classes, all logits.
        head: anchors, stride and decoding.
        nc: number of classes.
        thresholds: what is kept.

    Returns:
        (N, 4) xyxy in pixels of the network's input, (N,), (N,).
    """
    width = raw.shape[2]
    grid = raw.reshape(len(head.anchors), 5 + nc, -1)
    # A class probability is at most 1, so objectness must pass conf by itself.
    anchor, cell = np.nonzero(grid[:, 4] > _logit(thresholds.conf))
    values = grid[anchor, :, cell]
    objectness = sigmoid(values[:, 4])
    if thresholds.multi_label:
        scores = objectness[:, None] * sigmoid(values[:, 5:])
        chosen, labels = np.nonzero(scores > thresholds.conf)
        scores = scores[chosen, labels]
    else:
        labels = values[:, 5:].argmax(axis=1)
        scores = objectness * sigmoid(values[np.arange(len(values)), 5 + labels])
        chosen = np.flatnonzero(scores > thresholds.conf)
        scores, labels = scores[chosen], labels[chosen]
    if thresholds.classes is not None:
        wanted = np.isin(labels, list(thresholds.classes))
        chosen, scores, labels = chosen[wanted], scores[wanted], labels[wanted]
    cells_xy = np.stack([cell[chosen] % width, cell[chosen] // width], axis=1).astype(np.float32)
    anchors_wh = np.array(head.anchors, np.float32)[anchor[chosen]]
    return decode_boxes(values[chosen], cells_xy, anchors_wh, head), scores, labels.astype(np.int64, copy=False)


def _logit(probability: float) -> float:
    if probability <= 0:
        return -math.inf
    if probability >= 1:
        return math.inf
    # A hair below, so that rounding can't drop a candidate here that the exact test would keep.
    return math.log(probability / (1 - probability)) - 1e-4


def nms(boxes: Float32, scores: Float32, labels: Int64, iou_threshold: float, most: int) -> Int64:
    """Class-wise greedy non-maximum suppression.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        labels: (N,); boxes of different classes never suppress each other.
        iou_threshold: a box is dropped when its IoU with a kept one of its class is larger.
        most: stop after so many.

    Returns:
        Indices of kept boxes, best score first; of equal scores the earlier first.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, labels = boxes[order], labels[order]
    areas = box_area(boxes)
    members = {label: np.flatnonzero(labels == label) for label in np.unique(labels).tolist()}
    passed = dict.fromkeys(members, 0)
    alive = np.ones(len(order), bool)
    kept: list[int] = []
    for index, label in enumerate(labels.tolist()):
        passed[label] += 1
        if not alive[index]:
            continue
        kept.append(index)
        if len(kept) == most:
            break
        rest = members[label][passed[label] :]
        if len(rest):
            shared = intersection_area(boxes[index], boxes[rest])
            alive[rest[shared > iou_threshold * (areas[index] + areas[rest] - shared)]] = False
    return order[kept]


Candidates = tuple[Float32, Float32, Int64]


def candidates(
    raw_heads: Sequence[Float32], heads: Sequence[Head], nc: int, plan: Letterbox, thresholds: Thresholds
) -> Candidates:
    """Boxes, scores and labels of one picture that reach `conf`, not yet suppressed.

    Args:
        raw_heads: for each head (anchors · (5 + nc), H, W) float32 logits.
        heads: how each is decoded.
        nc: number of classes.
        plan: how the picture was laid into the network's input.
        thresholds: what is kept.

    Returns:
        (N, 4) xyxy in pixels of the picture (not clipped), (N,), (N,).
    """
    found = [head_candidates(raw, head, nc, thresholds) for raw, head in zip(raw_heads, heads, strict=True)]
    boxes, scores, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return plan.to_image(boxes).astype(np.float32, copy=False), scores, labels


def suppress(
    found: Candidates, names: tuple[str, ...], image_wh: tuple[int, int], thresholds: Thresholds
) -> Detections:
    """Class-wise suppression of candidates in pixels of the picture; boxes are clipped to it afterwards."""
    boxes, scores, labels = found
    kept = nms(boxes, scores, labels, thresholds.iou, thresholds.max_det + 1)
    truncated = len(kept) > thresholds.max_det
    kept = kept[: thresholds.max_det]
    return Detections(clip_boxes(boxes[kept], image_wh), scores[kept], labels[kept], names, image_wh, truncated)


def drop_cut_boxes(found: Candidates, cut: NDArray[np.bool_]) -> Candidates:
    """Leave out the parts of objects that a tile's edge cut, where another tile shows more of them.

    Args:
        found: candidates of all tiles, in pixels of the picture.
        cut: (N,), which boxes end at an edge inside the picture. One of these goes when more than `COVERED` of it
            lies inside a larger box of its class.
    """
    boxes, scores, labels = found
    areas = box_area(boxes)
    keep = np.ones(len(boxes), bool)
    for index in np.flatnonzero(cut):
        others = np.flatnonzero((labels == labels[index]) & (areas > areas[index]))
        keep[index] = not (intersection_area(boxes[index], boxes[others]) > COVERED * areas[index]).any()
    return boxes[keep], scores[keep], labels[keep]


def detect_objects(
    raw_heads: Sequence[Float32],
    heads: Sequence[Head],
    names: tuple[str, ...],
    plan: Letterbox,
    thresholds: Thresholds,
) -> Detections:
    """From one picture's raw heads to objects in its own pixels; see `candidates` and `suppress`."""
    found = candidates(raw_heads, heads, len(names), plan, thresholds)
    return suppress(found, names, plan.image_wh, thresholds)
