"""Where pictures and their boxes go: tiles on a canvas, one affine map from the canvas to the network's input.

Coordinates are continuous: (0, 0) is the left top corner of the left top pixel, whose centre is (0.5, 0.5).
A letterboxed picture is one tile, a mosaic four; each tile is drawn by a single interpolation, from the picture
straight to the input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from ..geometry import UInt8Array, box_area, clip_boxes, plan_letterbox

if TYPE_CHECKING:
    from .augment import AugmentSettings

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A picture and what is in it.

    Attributes:
        image: RGB uint8 (H, W, 3).
        boxes: float64 (N, 4), xyxy in pixels of `image`.
        labels: int64 (N,), class indices.
        ignore: bool (N,): regions in which the network is neither rewarded nor blamed (crowds, difficult objects).
        file: the picture's name for messages; of a mosaic or a blend all names, joined by " + ".
    """

    image: UInt8Array
    boxes: Array
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    file: str


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A picture on the canvas.

    Attributes:
        example: the picture and its boxes.
        scale: float64 (2,): canvas pixels to a pixel of the picture, across and down.
        offset: float64 (2,): where the picture's left top corner lies.
        window: float64 (4,): xyxy, the part of the canvas where it shows.
    """

    example: Example
    scale: Array
    offset: Array
    window: Array

    @property
    def matrix(self) -> Array:
        """float64 (2, 3): from pixels of the picture to the canvas."""
        return np.array([[self.scale[0], 0, self.offset[0]], [0, self.scale[1], self.offset[1]]])


# ------------------------------------------------------------------------------------------- on the canvas


def place_single(
    example: Example, size_wh: tuple[int, int], jitter: float, stretch: bool, random: np.random.Generator
) -> Tile:
    """A picture alone on a canvas of the input's size: letterboxed, or with jitter at a random place on the grey."""
    image_wh = np.array(example.image.shape[1::-1], np.float64)
    if jitter == 0:
        plan = plan_letterbox(example.image.shape[1::-1], size_wh, resize="stretch" if stretch else "letterbox")
        fitted = np.array(plan.resized_wh, np.float64)
        offset = np.array([plan.left, plan.top], np.float64)
    else:
        fitted = _fitted(example, size_wh, jitter, stretch, random)
        offset = (np.array(size_wh) - fitted) * [random.random(), random.random()]
    return Tile(example, fitted / image_wh, offset, np.concatenate([offset, offset + fitted]))


def place_mosaic(
    examples: Sequence[Example], size_wh: tuple[int, int], jitter: float, stretch: bool, random: np.random.Generator
) -> list[Tile]:
    """Four pictures around a random point of a canvas of twice the input's size, each with a corner on that point.

    The point lies in the middle half of the canvas; what reaches out of the canvas is cut off.
    """
    size = np.array(size_wh, np.float64)
    centre = size * (0.5 + np.array([random.random(), random.random()]))
    tiles = []
    for number, example in enumerate(examples):
        side = np.array([number % 2, number // 2])  # 0: left of, or above, the point; 1: right of it, or below
        fitted = _fitted(example, size_wh, jitter, stretch, random)
        offset = centre - fitted * (1 - side)
        window = np.concatenate([np.maximum(offset, 0), np.minimum(offset + fitted, 2 * size)])
        window[2 * (1 - side) + [0, 1]] = centre  # to the digit, so that tiles meet without a gap
        scale = fitted / np.array(example.image.shape[1::-1], np.float64)
        tiles.append(Tile(example, scale, offset, window))
    return tiles


def _fitted(
    example: Example, size_wh: tuple[int, int], jitter: float, stretch: bool, random: np.random.Generator
) -> Array:
    """Width and height, float64 (2,), of a picture fitted into the input, its shape changed by jitter.

    As in Darknet (`data.c: load_data_detection`): width and height change each by up to `jitter` of themselves, and the
    new shape is made as large as fits.
    """
    shape = np.array(size_wh if stretch else example.image.shape[1::-1], np.float64)
    if jitter:
        shape = shape * (1 + jitter * (2 * np.array([random.random(), random.random()]) - 1))
    return np.asarray(shape * min(size_wh[0] / shape[0], size_wh[1] / shape[1]))


def random_affine(
    settings: AugmentSettings,
    canvas_wh: tuple[int, int],
    size_wh: tuple[int, int],
    random: np.random.Generator,
) -> Array:
    """A random map, float64 (2, 3), from the canvas to the input: about its centre slanted, turned, scaled, flipped.

    Without such settings it takes the canvas's centre to the input's and changes nothing else.
    """
    signed = [2 * random.random() - 1 for _ in range(6)]
    angle, across, down = (
        math.radians(limit * value)
        for limit, value in zip((settings.rotate, settings.shear, settings.shear), signed[:3], strict=True)
    )
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    slant = np.array([[1, math.tan(across)], [math.tan(down), 1]])
    flip_x = -1 if random.random() < settings.flip_horizontal else 1
    flip_y = -1 if random.random() < settings.flip_vertical else 1
    linear = (1 + settings.scale * signed[3]) * turn @ slant @ np.diag([flip_x, flip_y])
    middle = np.array(size_wh) * (0.5 + settings.translate * np.array(signed[4:]))
    return np.column_stack([linear, middle - linear @ np.array(canvas_wh) / 2])


def _is_upright(affine: Array) -> bool:
    """Whether the sides of boxes stay level and plumb."""
    return bool(affine[0, 1] == 0 and affine[1, 0] == 0)


def _determinant(affine: Array) -> float:
    """How many times larger areas become."""
    return abs(float(affine[0, 0] * affine[1, 1] - affine[0, 1] * affine[1, 0]))


def _after(outer: Array, inner: Array) -> Array:
    """The affine map (2, 3) that does `inner` first, then `outer`."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], _map(outer, inner[:, 2])])


def _map(affine: Array, points: Array) -> Array:
    """Points (..., 2) under an affine map (2, 3)."""
    return np.asarray(points @ affine[:, :2].T + affine[:, 2])


def _corners(boxes: Array) -> Array:
    """The corners (..., 4, 2) of xyxy boxes (..., 4), in order around them."""
    return np.asarray(boxes[..., [0, 1, 2, 1, 2, 3, 0, 3]].reshape(*boxes.shape[:-1], 4, 2))


# ------------------------------------------------------------------------------------------------- pixels


def paint(tiles: Sequence[Tile], affine: Array, size_wh: tuple[int, int], pad_value: int) -> UInt8Array:
    """Draw tiles into a new input of `size_wh` pixels, RGB uint8 (H, W, 3), grey where there is none.

    Bilinear. A pixel belongs to a tile when its centre does; under a turn or slant a tile may take in a pixel more.
    """
    image = np.full((size_wh[1], size_wh[0], 3), pad_value, np.uint8)
    for tile in tiles:
        _paint_tile(image, tile, affine)
    return image


def _paint_tile(image: UInt8Array, tile: Tile, affine: Array) -> None:
    corners = _map(affine, _corners(tile.window))
    first = np.maximum(np.ceil(corners.min(axis=0) - 0.5), 0).astype(int)
    last = np.minimum(np.ceil(corners.max(axis=0) - 0.5), image.shape[1::-1]).astype(int)
    if (first >= last).any():
        return
    area = image[first[1] : last[1], first[0] : last[0]]
    size_wh = (area.shape[1], area.shape[0])
    back = cv2.invertAffineTransform(_after(affine, tile.matrix))
    back[:, 2] += back[:, :2] @ (first + 0.5) - 0.5  # from pixel numbers of `area` to those of the picture
    if _is_upright(affine):
        cv2.warpAffine(tile.example.image, back, size_wh, dst=area, flags=_WARP, borderMode=cv2.BORDER_REPLICATE)
        return
    patch = cv2.warpAffine(tile.example.image, back, size_wh, flags=_WARP, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(area.shape[:2], np.uint8)
    outline = np.rint((corners - first - 0.5) * 2**_SHIFT).astype(np.int32)
    cv2.fillConvexPoly(mask, outline, 255, shift=_SHIFT)
    cv2.copyTo(patch, mask, area)


_WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_SHIFT = 8


# -------------------------------------------------------------------------------------------------- boxes


def follow(image: UInt8Array, tiles: Sequence[Tile], affine: Array, *, min_side: float, min_visible: float) -> Example:
    """The boxes of tiles where they are seen in `image`, the input that was drawn, cut to what is seen of them.

    Under a turn or slant a box becomes the smallest upright one around what is seen of the turned box. It is dropped
    when a side is shorter than `min_side` pixels, or less than the part `min_visible` of its area is seen. Ignored
    regions are kept as long as anything of them is seen.
    """
    found = join(image, [tile.example for tile in tiles])
    whole = [tile.example.boxes.reshape(-1, 2, 2) * tile.scale + tile.offset for tile in tiles]  # (N, corner, xy)
    shown = [
        np.minimum(np.maximum(corners, tile.window[:2]), tile.window[2:])
        for corners, tile in zip(whole, tiles, strict=True)
    ]
    size_wh = (image.shape[1], image.shape[0])
    map_boxes = _map_upright if _is_upright(affine) else _map_turned
    boxes, seen = map_boxes(np.concatenate(shown).reshape(-1, 4), affine, size_wh)
    sides = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
    least = min_visible * _determinant(affine) * box_area(np.concatenate(whole).reshape(-1, 4))
    kept = (sides > 0) & (seen > 0) & (found.ignore | ((sides >= min_side) & (seen >= least)))
    return replace(found, boxes=boxes[kept], labels=found.labels[kept], ignore=found.ignore[kept])


def _map_upright(boxes: Array, affine: Array, size_wh: tuple[int, int]) -> tuple[Array, Array]:
    """Boxes (N, 4) of the canvas in the input, cut to it, and the area (N,) that is left of them."""
    ends = boxes.reshape(-1, 2, 2) * affine.diagonal() + affine[:, 2]  # (N, 4) → (N, corner, xy)
    mapped = clip_boxes(np.concatenate([ends.min(axis=1), ends.max(axis=1)], axis=1), size_wh)
    return np.asarray(mapped, np.float64), np.asarray(box_area(mapped), np.float64)


def _map_turned(boxes: Array, affine: Array, size_wh: tuple[int, int]) -> tuple[Array, Array]:
    """As `_map_upright` under any affine map: what is seen of a box is a polygon, the new box goes around it."""
    corners = _map(affine, _corners(boxes))
    mapped = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    seen = np.asarray(box_area(boxes) * _determinant(affine), np.float64)
    cut = np.asarray(clip_boxes(mapped, size_wh), np.float64)
    frame = _corners(np.array([0, 0, *size_wh], np.float64)).astype(np.float32)
    for i in np.flatnonzero((cut != mapped).any(axis=1) & (seen > 0)):
        seen[i], polygon = cv2.intersectConvexConvex(corners[i].astype(np.float32), frame)
        if seen[i] > 0:
            points = polygon.reshape(-1, 2)
            cut[i] = np.concatenate([points.min(axis=0), points.max(axis=0)])
    return np.asarray(clip_boxes(cut, size_wh), np.float64), seen


def join(image: UInt8Array, parts: Sequence[Example]) -> Example:
    """`image` with the boxes of several examples."""
    return Example(
        image,
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.ignore for part in parts]),
        " + ".join(dict.fromkeys(part.file for part in parts)),
    )
