"""Boxes and the letterbox: the only copy of each formula.

Boxes are float arrays of shape (N, 4). `xyxy` is left, top, right, bottom in pixels; `cxcywh` is centre and size.
Sizes are `(width, height)` where a name ends in `_wh` and `(height, width)` where it ends in `_hw`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
UInt8Array = NDArray[np.uint8]


def cxcywh_to_xyxy(boxes: FloatArray) -> FloatArray:
    """Boxes (..., 4) from centre and size to corners, in the same unit and dtype."""
    half = boxes[..., 2:] / 2
    return np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], axis=-1)


def xyxy_to_cxcywh(boxes: FloatArray) -> FloatArray:
    """Boxes (..., 4) from corners to centre and size, in the same unit and dtype."""
    size = boxes[..., 2:] - boxes[..., :2]
    return np.concatenate([boxes[..., :2] + size / 2, size], axis=-1)


def box_area(boxes: FloatArray) -> FloatArray:
    """Areas (...) of xyxy boxes (..., 4); a box with its corners swapped has area 0."""
    width = np.maximum(boxes[..., 2] - boxes[..., 0], 0)
    height = np.maximum(boxes[..., 3] - boxes[..., 1], 0)
    return np.asarray(width * height)


def intersection_area(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Areas (...) that xyxy boxes (..., 4) share with others (..., 4); shapes are broadcast."""
    side = np.minimum(boxes[..., 2:], others[..., 2:]) - np.maximum(boxes[..., :2], others[..., :2])
    np.maximum(side, 0, out=side)
    return np.asarray(side[..., 0] * side[..., 1])


def box_iou(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Intersection over union of xyxy boxes (N, 4) with others (M, 4): an array (N, M) in [0, 1].

    Two boxes without area have IoU 0.
    """
    intersection = intersection_area(boxes[:, None], others[None])
    union = box_area(boxes)[:, None] + box_area(others)[None, :] - intersection
    return np.asarray(np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0))


def clip_boxes(boxes: FloatArray, size_wh: tuple[int, int]) -> FloatArray:
    """xyxy boxes (N, 4) cut to a picture of `size_wh` pixels."""
    width, height = size_wh
    limit = np.array([width, height, width, height], dtype=boxes.dtype)
    return np.clip(boxes, 0, limit)


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a picture was laid into the network's input.

    Attributes:
        image_wh: the picture's size.
        resized_wh: its size inside the canvas.
        canvas_wh: the network's input size.
        left, top: the grey columns and rows before it.
    """

    image_wh: tuple[int, int]
    resized_wh: tuple[int, int]
    canvas_wh: tuple[int, int]
    left: int
    top: int

    def _scale_and_offset(self, dtype: np.dtype[np.floating]) -> tuple[FloatArray, FloatArray]:
        scale_x = self.resized_wh[0] / self.image_wh[0]
        scale_y = self.resized_wh[1] / self.image_wh[1]
        scale = np.array([scale_x, scale_y, scale_x, scale_y], dtype=dtype)
        return scale, np.array([self.left, self.top, self.left, self.top], dtype=dtype)

    def to_canvas(self, boxes: FloatArray) -> FloatArray:
        """xyxy boxes (N, 4) from pixels of the picture to pixels of the canvas."""
        scale, offset = self._scale_and_offset(boxes.dtype)
        return boxes * scale + offset

    def to_image(self, boxes: FloatArray) -> FloatArray:
        """xyxy boxes (N, 4) from pixels of the canvas to pixels of the picture (not clipped)."""
        scale, offset = self._scale_and_offset(boxes.dtype)
        return (boxes - offset) / scale


def plan_letterbox(
    image_wh: tuple[int, int],
    size_wh: tuple[int, int],
    *,
    resize: str = "letterbox",
    rect_stride: int | None = None,
) -> Letterbox:
    """Decide where a picture goes in the network's input, without touching pixels.

    The picture is scaled to fit, its sides rounded to whole pixels, and centred (Darknet's `letterbox_image`, but
    with rounded instead of truncated sides). `resize="stretch"` fills the whole input, as AlexeyAB's Darknet does.
    With `rect_stride` the canvas shrinks to the next multiple of that stride around the picture.

    Args:
        image_wh: the picture's size in pixels, both ≥ 1.
        size_wh: the network's input size in pixels.
        resize: "letterbox" or "stretch".
        rect_stride: the network's largest stride, or None for the full canvas.
    """
    if resize == "stretch":
        return Letterbox(image_wh, size_wh, size_wh, 0, 0)
    scale = min(size_wh[0] / image_wh[0], size_wh[1] / image_wh[1])
    width = min(max(int(image_wh[0] * scale + 0.5), 1), size_wh[0])
    height = min(max(int(image_wh[1] * scale + 0.5), 1), size_wh[1])
    canvas_wh = size_wh
    if rect_stride is not None:
        canvas_wh = (-(-width // rect_stride) * rect_stride, -(-height // rect_stride) * rect_stride)
    return Letterbox(image_wh, (width, height), canvas_wh, (canvas_wh[0] - width) // 2, (canvas_wh[1] - height) // 2)


def letterbox_image(image: UInt8Array, plan: Letterbox, pad_value: int = 127) -> UInt8Array:
    """Lay a picture into a new canvas as planned: half-pixel bilinear resize, grey around.

    Resized by OpenCV's INTER_LINEAR_EXACT: the same bytes on every machine and, unlike INTER_LINEAR on 8-bit
    pictures, without a bias to dark (docs/decisions/001-resize.md).

    Args:
        image: (H, W, 3) uint8, all that `plan.image_wh` is the size of, be it with fewer pixels; not changed.
        plan: from `plan_letterbox`.
        pad_value: the grey, 0 to 255.

    Returns:
        (canvas height, canvas width, 3) uint8.
    """
    import cv2

    width, height = plan.resized_wh
    canvas = np.empty((plan.canvas_wh[1], plan.canvas_wh[0], 3), np.uint8)
    right, bottom = plan.left + width, plan.top + height
    canvas[: plan.top] = canvas[bottom:] = pad_value
    canvas[plan.top : bottom, : plan.left] = canvas[plan.top : bottom, right:] = pad_value
    inner = canvas[plan.top : bottom, plan.left : right]
    if image.shape == inner.shape:
        inner[:] = image
    else:
        cv2.resize(image, plan.resized_wh, dst=inner, interpolation=cv2.INTER_LINEAR_EXACT)
    return canvas
