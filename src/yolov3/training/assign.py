"""Which cells answer for which true box: Darknet's way and a modern one. Nothing here looks at predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..spec import Anchors, Head
from .boxes import anchors_tensor, shape_iou

# Truth is a float32 tensor (M, 6) throughout: index of the picture in its batch, label, cx, cy, w, h in pixels of the
# network's input.
RATIO_LIMIT = 4.0


@dataclass(frozen=True, slots=True)
class Positives:
    """The places of one head that answer for a true box. Each (image, anchor, row, column) stands here once.

    Attributes:
        image, anchor, row, column: int64 (P,).
        boxes: float32 (P, 4), cxcywh in pixels of the network's input.
        classes: float32 (P, nc), 1 for the box's class; for several where Darknet lets boxes share a place.
    """

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    boxes: Tensor
    classes: Tensor

    def __len__(self) -> int:
        return len(self.image)

    @property
    def index(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Where they stand in a head's output (N, A, H, W, 5 + nc)."""
        return self.image, self.anchor, self.row, self.column


def assign_darknet(
    truth: Tensor, anchors: Anchors, heads: Sequence[Head], nc: int, size_hw: tuple[int, int]
) -> list[Positives]:
    """One anchor a box: the one of the whole pool with the best shape IoU, in the cell that holds the centre.

    Darknet's `yolo_layer.c: forward_yolo_layer` (YOLOv3 section 2.1). Of equal anchors the first wins; every head
    whose mask holds the anchor answers. Where several boxes meet in one place, the last one's box counts, and the
    classes of all. A centre on the right or lower edge belongs to the last cell (Darknet reads beyond the row there).

    Args:
        truth: (M, 6); boxes without width or height are left out.
        anchors: the pool and each head's mask.
        heads: their strides.
        nc: number of classes.
        size_hw: of the network's input in pixels.
    """
    truth = _with_area(truth)
    pool = torch.tensor(anchors.pool, dtype=truth.dtype, device=truth.device)
    best = shape_iou(truth[:, 4:], pool).argmax(dim=1)
    positives = []
    for mask, head in zip(anchors.masks, heads, strict=True):
        chosen, anchor = torch.nonzero(best[:, None] == torch.tensor(mask, device=truth.device), as_tuple=True)
        boxes = truth[chosen]
        cells, _ = _centre_cells(boxes, head, size_hw)
        positives.append(_merge(boxes, anchor, cells, nc, share_classes=True))
    return positives


def assign_modern(
    truth: Tensor, heads: Sequence[Head], nc: int, size_hw: tuple[int, int], ratio_limit: float = RATIO_LIMIT
) -> list[Positives]:
    """Several places a box: every anchor of a similar shape, in the centre's cell and in those that reach the centre.

    An anchor is similar when its width and height differ from the box's by factors below `ratio_limit` (YOLOv5's
    rule; with `wh: square` a head can't express more than 4). A neighbouring cell answers too where the head's
    decoding can reach the centre from it: with `xy_scale` 2 the nearer neighbour in each direction, with 1 none.
    Where several boxes meet in one place, the one whose shape is nearest to the anchor's has it, of equals the last.

    Args:
        truth: (M, 6); boxes without width or height are left out.
        heads: anchors, strides and decoding.
        nc: number of classes.
        size_hw: of the network's input in pixels.
        ratio_limit: above 1.
    """
    truth = _with_area(truth)
    positives = []
    for head in heads:
        anchors = anchors_tensor(head, truth)
        factor = truth[:, None, 4:] / anchors
        similar = torch.maximum(factor, 1 / factor).amax(dim=2) < ratio_limit
        # Ascending similarity, so that the last one in a place is the nearest.
        order = shape_iou(truth[:, 4:], anchors)[similar].argsort(stable=True)
        chosen, anchor = (index[order] for index in torch.nonzero(similar, as_tuple=True))
        cells, source = _reaching_cells(truth[chosen], head, size_hw)
        positives.append(_merge(truth[chosen][source], anchor[source], cells, nc, share_classes=False))
    return positives


def _with_area(truth: Tensor) -> Tensor:
    return truth[(truth[:, 4:] > 0).all(dim=1)]


def _centre_cells(truth: Tensor, head: Head, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The cell (M, 2), column and row, that holds each centre, and the last cell's (2,)."""
    last = torch.tensor([size_hw[1], size_hw[0]], device=truth.device) // head.stride - 1
    return torch.minimum((truth[:, 2:4] / head.stride).floor().long().clamp(min=0), last), last


def _reaching_cells(truth: Tensor, head: Head, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Cells (P, 2) from which a head can express each centre, and (P,) the box that each is for, in ascending order."""
    cells, last = _centre_cells(truth, head, size_hw)
    reach = min((head.xy_scale - 1) / 2, 0.5)
    inside = truth[:, 2:4] / head.stride - cells  # 0 to 1
    steps = torch.tensor([[0, 0], [-1, 0], [0, -1], [1, 0], [0, 1]], device=truth.device)
    before, after = inside < reach, inside > 1 - reach
    near = torch.cat([torch.ones_like(before[:, :1]), before, after], dim=1)
    candidates = cells[:, None] + steps
    near &= ((candidates >= 0) & (candidates <= last)).all(dim=2)
    return candidates[near], torch.nonzero(near)[:, 0]


def _merge(truth: Tensor, anchor: Tensor, cells: Tensor, nc: int, *, share_classes: bool) -> Positives:
    """Keep one box a place, the last; its classes are the last one's or those of all."""
    places = torch.stack([truth[:, 0].long(), anchor, cells[:, 1], cells[:, 0]], dim=1)
    unique, which = torch.unique(places, dim=0, return_inverse=True)
    numbers = torch.arange(len(places), device=truth.device)
    winner = numbers.new_zeros(len(unique)).scatter_reduce_(0, which, numbers, "amax", include_self=False)
    labels = truth[:, 1].long()
    if share_classes:
        classes = truth.new_zeros(len(unique), nc)
        classes[which, labels] = 1
    else:
        classes = F.one_hot(labels[winner], nc).to(truth.dtype)
    image, anchor, row, column = unique.unbind(1)
    return Positives(image, anchor, row, column, truth[winner, 2:], classes)
