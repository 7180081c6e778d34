"""The two losses: Darknet's and a modern one. Each says what it assigns, and adds up its terms.

Terms are sums; what they are divided by is counted over all pictures of an optimiser step, on all machines, before
the first of them goes through the network. So neither the split into batches nor the number of machines matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..spec import Anchors, Head, Spec
from .assign import RATIO_LIMIT, Positives, assign_darknet, assign_modern
from .boxes import anchors_tensor, area, complete_iou, decode_boxes, decode_grid, intersection, pairwise_iou, to_corners

CROWD_SHARE = 0.5


class Terms(NamedTuple):
    """The parts of a loss: boxes, objectness, classes; scalars."""

    box: Tensor
    objectness: Tensor
    classes: Tensor


class Truth(NamedTuple):
    """What is known about a batch.

    Attributes:
        boxes: float32 (M, 6): index of the picture, label, cx, cy, w, h in pixels of the network's input.
        crowd: float32 (K, 5): index of the picture, x1, y1, x2, y2: regions of many objects, where nothing is punished.
    """

    boxes: Tensor
    crowd: Tensor


class Recipe(Protocol):
    """A way to train: who answers for a box, and what a prediction costs."""

    def assign(self, truth: Tensor, size_hw: tuple[int, int]) -> list[Positives]:
        """Who answers for each box, head by head."""
        ...

    def terms(self, outputs: Sequence[Tensor], truth: Truth, positives: Sequence[Positives]) -> Terms:
        """Weighted sums over a batch.

        Args:
            outputs: for each head (N, A, H, W, 5 + nc), raw.
            truth: the batch's boxes and crowds.
            positives: from `assign`.
        """
        ...

    def divisors(self, pictures: float, positives: float) -> tuple[float, float, float]:
        """What the three sums are divided by, for a step of so many pictures and positives."""
        ...


@dataclass(frozen=True)
class DarknetRecipe:
    """Darknet's own: a sum of squared and logistic errors over everything, divided by the number of pictures.

    `yolo_layer.c` writes no loss but its gradients, `delta`, with respect to the raw values; this is the function
    that has them: binary cross-entropy for x, y, objectness and every class, half the squared error for w, h, the
    box's four weighted by `2 - w·h` (in parts of the input), so that small boxes count more. A cell whose box
    overlaps some true box by more than `ignore_threshold` isn't told that it is empty (0.7 in the COCO cfgs, 0.5 in
    YOLOv3 section 2.1).

    Beyond YOLOv3, and other than in AlexeyAB's Darknet: with `xy_scale` the logistic error is taken at the sigmoid
    before it is stretched; with `wh: square` the squared error is that of `σ(t)`, the square root of a quarter of
    the ratio.
    """

    anchors: Anchors
    heads: tuple[Head, ...]
    nc: int
    ignore_threshold: float = 0.7

    @classmethod
    def of(cls, spec: Spec, ignore_threshold: float = 0.7) -> DarknetRecipe:
        """For a network."""
        return cls(spec.anchors, spec.network.heads, spec.nc, ignore_threshold)

    def assign(self, truth: Tensor, size_hw: tuple[int, int]) -> list[Positives]:
        """See `assign_darknet`."""
        return assign_darknet(truth, self.anchors, self.heads, self.nc, size_hw)

    def divisors(self, pictures: float, positives: float) -> tuple[float, float, float]:
        """The number of pictures (`convolutional_layer.c: update` divides the learning rate by the batch)."""
        return pictures, pictures, pictures

    def terms(self, outputs: Sequence[Tensor], truth: Truth, positives: Sequence[Positives]) -> Terms:
        """See `Recipe.terms`."""
        parts = [
            self._head_terms(output, head, truth, found)
            for output, head, found in zip(outputs, self.heads, positives, strict=True)
        ]
        return _total(parts)

    def _head_terms(self, output: Tensor, head: Head, truth: Truth, positives: Positives) -> Terms:
        counted = ~overlapping_truth(output, head, truth, self.ignore_threshold)
        counted[positives.index] = True
        target = torch.zeros_like(output[..., 4])
        target[positives.index] = 1
        objectness = _logistic(output[..., 4], target, counted.to(output.dtype))
        raw = output[positives.index]
        classes = _logistic(raw[:, 5:], positives.classes)
        return Terms(self._box_term(raw, head, positives, output.shape[2:4]), objectness, classes)

    def _box_term(self, raw: Tensor, head: Head, positives: Positives, cells_hw: Sequence[int]) -> Tensor:
        height, width = (side * head.stride for side in cells_hw)
        boxes = positives.boxes
        weight = (2 - boxes[:, 2] * boxes[:, 3] / (width * height))[:, None]
        cells_xy = torch.stack([positives.column, positives.row], dim=1)
        inside = boxes[:, :2] / head.stride - cells_xy
        centre = _logistic(raw[:, :2], (inside - 0.5) / head.xy_scale + 0.5, weight)
        ratio = boxes[:, 2:] / anchors_tensor(head, boxes)[positives.anchor]
        if head.wh == "exp":
            error = raw[:, 2:4] - ratio.log()
        else:
            error = torch.sigmoid(raw[:, 2:4]) - (ratio / 4).sqrt()
        return centre + (0.5 * weight * error.square()).sum()


@dataclass(frozen=True)
class ModernRecipe:
    """Several positives a box, CIoU for boxes, objectness that learns the IoU.

    Attributes:
        heads, nc: of the network.
        ratio_limit: see `assign_modern`.
        box_weight, objectness_weight, class_weight: factors of the terms; the defaults are measured (docs/log.md).
        iou_objectness: how much of the objectness target is the predicted box's IoU (PP-YOLO's IoU-aware branch,
            arXiv 2007.12099, folded into objectness as in YOLOv5); the rest is 1.
        focal: exponent of `|target - σ|` before the logistic errors (quality focal loss, arXiv 2006.04388); 0 is off.
        label_smoothing: how much of a class target is spread evenly between right and wrong.
    """

    heads: tuple[Head, ...]
    nc: int
    ratio_limit: float = RATIO_LIMIT
    box_weight: float = 5.0
    objectness_weight: float = 1.0
    class_weight: float = 1.0
    iou_objectness: float = 1.0
    focal: float = 0.0
    label_smoothing: float = 0.0

    @classmethod
    def of(cls, spec: Spec, *, focal: float = 0.0, label_smoothing: float = 0.0) -> ModernRecipe:
        """For a network."""
        return cls(spec.network.heads, spec.nc, focal=focal, label_smoothing=label_smoothing)

    def assign(self, truth: Tensor, size_hw: tuple[int, int]) -> list[Positives]:
        """See `assign_modern`."""
        return assign_modern(truth, self.heads, self.nc, size_hw, self.ratio_limit)

    def divisors(self, pictures: float, positives: float) -> tuple[float, float, float]:
        """The number of positives (at least one, so that empty pictures count)."""
        positives = max(positives, 1.0)
        return positives, positives, positives

    def terms(self, outputs: Sequence[Tensor], truth: Truth, positives: Sequence[Positives]) -> Terms:
        """See `Recipe.terms`."""
        parts = [
            self._head_terms(output, head, truth, found)
            for output, head, found in zip(outputs, self.heads, positives, strict=True)
        ]
        return _total(parts)

    def _head_terms(self, output: Tensor, head: Head, truth: Truth, positives: Positives) -> Terms:
        raw = output[positives.index]
        cells_xy = torch.stack([positives.column, positives.row], dim=1)
        boxes = decode_boxes(raw, cells_xy, anchors_tensor(head, raw)[positives.anchor], head)
        iou, ciou = complete_iou(boxes, positives.boxes)
        target = torch.zeros_like(output[..., 4])
        target[positives.index] = 1 - self.iou_objectness * (1 - iou.detach())
        counted = None
        if len(truth.crowd):
            inside = ~inside_crowd(output, head, truth.crowd)
            inside[positives.index] = True
            counted = inside.to(output.dtype)
        smooth = positives.classes * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        return Terms(
            self.box_weight * (1 - ciou).sum(),
            self.objectness_weight * _logistic(output[..., 4], target, counted, self.focal),
            self.class_weight * _logistic(raw[:, 5:], smooth, None, self.focal),
        )


RECIPES = ("darknet", "modern")


def _total(parts: Sequence[Terms]) -> Terms:
    box, objectness, classes = (torch.stack(column).sum() for column in zip(*parts, strict=True))
    return Terms(box, objectness, classes)


def _logistic(raw: Tensor, target: Tensor, weight: Tensor | None = None, focal: float = 0.0) -> Tensor:
    """Binary cross-entropy of logits, summed."""
    if not focal:
        return F.binary_cross_entropy_with_logits(raw, target, weight, reduction="sum")
    losses = F.binary_cross_entropy_with_logits(raw, target, weight, reduction="none")
    return ((target - torch.sigmoid(raw)).abs().pow(focal) * losses).sum()


@torch.no_grad()
def overlapping_truth(output: Tensor, head: Head, truth: Truth, threshold: float) -> Tensor:
    """Which places predict a box that overlaps some true box of its picture by more, or lies in a crowd.

    Args:
        output: (N, A, H, W, 5 + nc), raw.
        head: how it is decoded.
        truth: boxes and crowds.
        threshold: an IoU.

    Returns:
        bool (N, A, H, W).
    """
    boxes = to_corners(decode_grid(output, head))
    result = torch.zeros(boxes.shape[:-1], dtype=torch.bool, device=output.device)
    for image in range(len(output)):
        true = truth.boxes[truth.boxes[:, 0] == image, 2:]
        if len(true):
            iou = pairwise_iou(boxes[image].reshape(-1, 4), to_corners(true))
            result[image] = (iou > threshold).any(dim=1).view(result.shape[1:])
    return result | _inside(boxes, truth.crowd) if len(truth.crowd) else result


@torch.no_grad()
def inside_crowd(output: Tensor, head: Head, crowd: Tensor) -> Tensor:
    """Which places predict a box that lies by more than half in a crowd region: bool (N, A, H, W)."""
    return _inside(to_corners(decode_grid(output, head)), crowd)


def _inside(boxes: Tensor, crowd: Tensor) -> Tensor:
    """COCO's evaluation takes the intersection over the prediction's own area there, so this does too."""
    result = torch.zeros(boxes.shape[:-1], dtype=torch.bool, device=boxes.device)
    for region in crowd:
        mine = boxes[int(region[0])]
        result[int(region[0])] |= intersection(mine, region[1:]) > CROWD_SHARE * area(mine)
    return result
