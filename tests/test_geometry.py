"""Boxes and the letterbox."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov3.geometry import (
    box_iou,
    clip_boxes,
    cxcywh_to_xyxy,
    letterbox_image,
    plan_letterbox,
    xyxy_to_cxcywh,
)

sides = st.integers(1, 5000)
sizes = st.integers(1, 20).map(lambda cells: cells * 32)
coordinates = st.floats(-1000, 6000, allow_nan=False)


@given(width=sides, height=sides, size_w=sizes, size_h=sizes, box=st.tuples(*[coordinates] * 4), rect=st.booleans())
@settings(max_examples=200, deadline=None)
def test_to_image_undoes_to_canvas(
    width: int, height: int, size_w: int, size_h: int, box: tuple[float, ...], rect: bool
) -> None:
    plan = plan_letterbox((width, height), (size_w, size_h), rect_stride=32 if rect else None)
    boxes = np.array([box])
    np.testing.assert_allclose(plan.to_image(plan.to_canvas(boxes)), boxes, atol=1e-6 * max(width, height, 1000))


@given(width=sides, height=sides, size_w=sizes, size_h=sizes)
@settings(max_examples=200, deadline=None)
def test_the_picture_lies_inside_the_canvas_and_keeps_its_shape(
    width: int, height: int, size_w: int, size_h: int
) -> None:
    plan = plan_letterbox((width, height), (size_w, size_h))
    (inner_w, inner_h), (canvas_w, canvas_h) = plan.resized_wh, plan.canvas_wh
    assert (canvas_w, canvas_h) == (size_w, size_h)
    assert 1 <= inner_w <= size_w and 1 <= inner_h <= size_h
    assert inner_w == size_w or inner_h == size_h
    scale = min(size_w / width, size_h / height)
    assert abs(inner_w - width * scale) <= 1 and abs(inner_h - height * scale) <= 1
    assert 0 <= canvas_w - inner_w - 2 * plan.left <= 1 and 0 <= canvas_h - inner_h - 2 * plan.top <= 1


@given(width=sides, height=sides, size=sizes)
@settings(max_examples=100, deadline=None)
def test_a_rectangular_canvas_is_the_next_multiple_of_the_stride(width: int, height: int, size: int) -> None:
    plan = plan_letterbox((width, height), (size, size), rect_stride=32)
    for side, inner in zip(plan.canvas_wh, plan.resized_wh, strict=True):
        assert side % 32 == 0 and 0 <= side - inner < 32 and side <= size


def test_stretch_fills_the_whole_input() -> None:
    plan = plan_letterbox((100, 50), (64, 64), resize="stretch")
    corners = np.array([[0.0, 0.0, 100.0, 50.0]])
    np.testing.assert_allclose(plan.to_canvas(corners), [[0, 0, 64, 64]])


def test_sides_are_rounded_not_truncated() -> None:
    assert plan_letterbox((500, 333), (416, 416)).resized_wh == (416, 277)  # 277.06
    assert plan_letterbox((640, 427), (416, 416)).resized_wh == (416, 278)  # 277.55


@pytest.mark.parametrize("image_wh", [(1, 1), (10, 4000), (4000, 10), (1, 5000)])
def test_extreme_pictures(image_wh: tuple[int, int]) -> None:
    image = np.full((image_wh[1], image_wh[0], 3), 200, np.uint8)
    plan = plan_letterbox(image_wh, (64, 64))
    canvas = letterbox_image(image, plan)
    inside = canvas[plan.top : plan.top + plan.resized_wh[1], plan.left : plan.left + plan.resized_wh[0]]
    assert canvas.shape == (64, 64, 3) and (inside == 200).all()
    assert (canvas == 127).sum() == canvas.size - inside.size


def test_the_resize_is_half_pixel_bilinear(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (9, 14, 3), np.uint8)
    plan = plan_letterbox((14, 9), (7, 7))
    canvas = letterbox_image(image, plan, pad_value=0)
    height, width = plan.resized_wh[1], plan.resized_wh[0]
    for y in range(height):
        for x in range(width):
            source_x = np.clip((x + 0.5) * 14 / width - 0.5, 0, 13)
            source_y = np.clip((y + 0.5) * 9 / height - 0.5, 0, 8)
            x0, y0 = int(source_x), int(source_y)
            x1, y1 = min(x0 + 1, 13), min(y0 + 1, 8)
            right, below = source_x - x0, source_y - y0
            top = image[y0, x0] * (1 - right) + image[y0, x1] * right
            bottom = image[y1, x0] * (1 - right) + image[y1, x1] * right
            expected = top * (1 - below) + bottom * below
            assert np.abs(canvas[plan.top + y, plan.left + x] - expected).max() <= 1


def test_the_picture_is_not_changed(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (30, 40, 3), np.uint8)
    image.flags.writeable = False
    letterbox_image(image, plan_letterbox((40, 30), (64, 64)))
    letterbox_image(image, plan_letterbox((40, 30), (40, 40)))


@given(st.lists(st.tuples(*[st.floats(-100, 100, allow_nan=False, width=32)] * 4), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_iou_against_a_slow_reference(values: list[tuple[float, ...]]) -> None:
    boxes = np.array(values)

    def area(box: np.ndarray) -> float:
        return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)

    for i, one in enumerate(boxes):
        for j, other in enumerate(boxes):
            shared = area(np.array([*np.maximum(one[:2], other[:2]), *np.minimum(one[2:], other[2:])]))
            union = area(one) + area(other) - shared
            expected = shared / union if union > 0 else 0
            assert box_iou(boxes, boxes)[i, j] == pytest.approx(expected, abs=1e-9)


def test_corners_and_centres() -> None:
    boxes = np.array([[10.0, 20.0, 30.0, 60.0]])
    np.testing.assert_array_equal(xyxy_to_cxcywh(boxes), [[20, 40, 20, 40]])
    np.testing.assert_array_equal(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)
    np.testing.assert_array_equal(clip_boxes(boxes, (25, 50)), [[10, 20, 25, 50]])
