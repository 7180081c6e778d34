"""Decoding and IoU as tensors, against the package's NumPy copies and slow references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from yolov3 import geometry, postprocess
from yolov3.spec import Head
from yolov3.training.boxes import complete_iou, decode_grid, intersection, pairwise_iou, shape_iou, to_corners

HEADS = [
    Head(((10.0, 14.0), (23.0, 27.0), (37.0, 58.0)), 8),
    Head(((10.0, 14.0), (81.0, 82.0)), 16, xy_scale=1.05),
    Head(((33.0, 23.0),), 32, xy_scale=2.0, wh="square"),
]


@pytest.mark.parametrize("head", HEADS, ids=["yolov3", "scaled", "square"])
def test_decoding_is_that_of_postprocess(head: Head, rng: np.random.Generator) -> None:
    raw = rng.normal(0, 2, (2, len(head.anchors), 3, 5, 7)).astype(np.float32)
    raw[0, 0, 0, 0, 2:4] = 80  # beyond what exp can say
    found = to_corners(decode_grid(torch.from_numpy(raw), head)).numpy()
    for image, anchor, row, column in np.ndindex(raw.shape[:4]):
        expected = postprocess.decode_boxes(
            raw[None, image, anchor, row, column],
            np.array([[column, row]], np.float32),
            np.array([head.anchors[anchor]], np.float32),
            head,
        )[0]
        np.testing.assert_allclose(found[image, anchor, row, column], expected, rtol=1e-5, atol=1e-4)


def test_iou_is_that_of_geometry(rng: np.random.Generator) -> None:
    corners = rng.uniform(0, 50, (40, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 30, (40, 2))], axis=1)
    boxes[3] = boxes[4]
    boxes[5, 2:] = boxes[5, :2]
    boxes[6] = boxes[5]
    found = pairwise_iou(torch.from_numpy(boxes), torch.from_numpy(boxes[:9]))
    np.testing.assert_allclose(found.numpy(), geometry.box_iou(boxes, boxes[:9]), rtol=1e-9)
    assert found[5, 6] == 0


def test_shape_iou_is_iou_on_one_centre(rng: np.random.Generator) -> None:
    shapes, anchors = rng.uniform(1, 60, (8, 2)), rng.uniform(1, 60, (3, 2))
    found = shape_iou(torch.from_numpy(shapes), torch.from_numpy(anchors)).numpy()
    expected = geometry.box_iou(np.concatenate([-shapes, shapes], 1), np.concatenate([-anchors, anchors], 1))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def slow_ciou(box: list[float], other: list[float]) -> tuple[float, float]:
    """Equations 7 to 11 of arXiv 1911.08287, one pair, cxcywh."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = box, other
    width = min(ax + aw / 2, bx + bw / 2) - max(ax - aw / 2, bx - bw / 2)
    height = min(ay + ah / 2, by + bh / 2) - max(ay - ah / 2, by - bh / 2)
    common = max(width, 0) * max(height, 0)
    iou = common / (aw * ah + bw * bh - common)
    hull_w = max(ax + aw / 2, bx + bw / 2) - min(ax - aw / 2, bx - bw / 2)
    hull_h = max(ay + ah / 2, by + bh / 2) - min(ay - ah / 2, by - bh / 2)
    v = 4 / math.pi**2 * (math.atan(bw / bh) - math.atan(aw / ah)) ** 2
    alpha = v / (1 - iou + v) if v else 0.0
    return iou, iou - ((ax - bx) ** 2 + (ay - by) ** 2) / (hull_w**2 + hull_h**2) - alpha * v


def test_ciou_against_the_papers_formula(rng: np.random.Generator) -> None:
    boxes = np.concatenate([rng.uniform(0, 60, (50, 2)), rng.uniform(1, 60, (50, 2))], axis=1)
    others = np.concatenate([rng.uniform(0, 60, (50, 2)), rng.uniform(1, 60, (50, 2))], axis=1)
    others[:3] = boxes[:3]
    iou, ciou = complete_iou(torch.from_numpy(boxes), torch.from_numpy(others))
    expected = np.array([slow_ciou(a, b) for a, b in zip(boxes.tolist(), others.tolist(), strict=True)])
    np.testing.assert_allclose(iou.numpy(), expected[:, 0], atol=1e-6)
    np.testing.assert_allclose(ciou.numpy(), expected[:, 1], atol=1e-6)
    assert ciou.max() <= 1 and ciou.min() > -1.5


def test_ciou_pulls_a_box_that_does_not_touch() -> None:
    box = torch.tensor([[10.0, 10.0, 4.0, 4.0]], requires_grad=True)
    _, ciou = complete_iou(box, torch.tensor([[40.0, 10.0, 4.0, 4.0]]))
    (1 - ciou).sum().backward()
    assert box.grad is not None and box.grad[0, 0] < 0 and abs(box.grad[0, 1]) < 1e-9


def test_ciou_of_extreme_boxes_is_finite() -> None:
    boxes = torch.tensor([[0.0, 0.0, 1e13, 1e13], [0.0, 0.0, 0.0, 0.0], [5.0, 5.0, 1e-6, 40.0]], requires_grad=True)
    _, ciou = complete_iou(boxes, torch.tensor([[8.0, 8.0, 2.0, 2.0]]).expand(3, 4))
    ciou.sum().backward()
    assert torch.isfinite(ciou).all() and boxes.grad is not None and torch.isfinite(boxes.grad).all()


def test_intersection_of_boxes_that_only_touch_is_nothing() -> None:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
    assert intersection(boxes, torch.tensor([[4.0, 0.0, 8.0, 4.0]])).item() == 0
