"""Boxes as tensors: decoding a head's raw values, and IoU with gradients."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..spec import Head
from ..spec.rows import MAX_LOG_SIDE


def decode_boxes(raw: Tensor, cells_xy: Tensor, anchors_wh: Tensor, head: Head) -> Tensor:
    """Boxes (..., 4) cxcywh in pixels of the network's input, with gradients; the formulas of `spec.rows.Head`.

    Args:
        raw: (..., ≥ 4), tx, ty, tw, th first.
        cells_xy: (..., 2), column and row of each cell; anything that broadcasts.
        anchors_wh: (..., 2), the anchor of each; the same.
        head: stride and scales.
    """
    centre = (torch.sigmoid(raw[..., :2]) - 0.5) * head.xy_scale + 0.5 + cells_xy
    if head.wh == "exp":
        size = torch.exp(raw[..., 2:4].clamp(max=MAX_LOG_SIDE))
    else:
        size = (2 * torch.sigmoid(raw[..., 2:4])).square()
    return torch.cat([centre * head.stride, size * anchors_wh], dim=-1)


def decode_grid(raw: Tensor, head: Head) -> Tensor:
    """All boxes of a head: (N, A, H, W, ≥ 4) raw → (N, A, H, W, 4) cxcywh in pixels of the network's input."""
    height, width = raw.shape[2:4]
    rows = torch.arange(height, device=raw.device, dtype=raw.dtype)
    columns = torch.arange(width, device=raw.device, dtype=raw.dtype)
    cells_xy = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)  # (H, W, 2)
    return decode_boxes(raw, cells_xy, anchors_tensor(head, raw)[:, None, None], head)


def anchors_tensor(head: Head, like: Tensor) -> Tensor:
    """A head's anchors (A, 2), width and height in pixels, on the device and in the type of another tensor."""
    return torch.tensor(head.anchors, dtype=like.dtype, device=like.device)


def to_corners(boxes: Tensor) -> Tensor:
    """cxcywh (..., 4) → xyxy."""
    half = boxes[..., 2:] / 2
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], dim=-1)


def intersection(boxes: Tensor, others: Tensor) -> Tensor:
    """Common area of xyxy boxes that broadcast against each other (..., 4) → (...)."""
    side = torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])
    return side.clamp(min=0).prod(dim=-1)


def area(boxes: Tensor) -> Tensor:
    """Areas of xyxy boxes (..., 4) with ordered corners → (...)."""
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)


def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of xyxy boxes (N, 4) with others (M, 4): (N, M); 0 for two boxes without area."""
    common = intersection(boxes[:, None], others[None])
    union = area(boxes)[:, None] + area(others)[None] - common
    return torch.where(union > 0, common / union, torch.zeros_like(common))


def shape_iou(shapes: Tensor, anchors: Tensor) -> Tensor:
    """IoU (N, K) of widths and heights (N, 2) with anchors (K, 2), laid on one centre."""
    common = torch.minimum(shapes[:, None], anchors[None]).prod(dim=-1)
    return common / (shapes.prod(dim=-1)[:, None] + anchors.prod(dim=-1)[None] - common)


def complete_iou(boxes: Tensor, others: Tensor, epsilon: float = 1e-7) -> tuple[Tensor, Tensor]:
    """IoU and CIoU, pair by pair (Zheng et al., arXiv 1911.08287, equations 7 to 11).

    CIoU takes from the IoU the squared distance of the centres over that of the hull's corners, and a term for the
    ratio of the sides; the weight of that term is taken as a constant, as the paper's code does.

    Args:
        boxes: (P, 4) cxcywh.
        others: (P, 4) cxcywh.
        epsilon: keeps divisions finite.

    Returns:
        IoU in [0, 1] and CIoU in (-1.5, 1], both (P,).
    """
    corners, other_corners = to_corners(boxes), to_corners(others)
    common = intersection(corners, other_corners)
    iou = common / (boxes[:, 2:].prod(dim=-1) + others[:, 2:].prod(dim=-1) - common + epsilon)
    hull = torch.maximum(corners[:, 2:], other_corners[:, 2:]) - torch.minimum(corners[:, :2], other_corners[:, :2])
    distance = (boxes[:, :2] - others[:, :2]).square().sum(dim=-1) / (hull.square().sum(dim=-1) + epsilon)
    angles = [torch.atan2(sides[:, 2], sides[:, 3]) for sides in (boxes, others)]
    ratio = 4 / math.pi**2 * (angles[0] - angles[1]).square()
    with torch.no_grad():
        weight = ratio / (1 - iou + ratio + epsilon)
    return iou, iou - distance - weight * ratio
