"""Large pictures in tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import yolov3
from yolov3 import Detector
from yolov3.runtime.tiling import Tiling


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)), st.integers(32, 900), st.sampled_from([0.0, 0.2, 0.5, 0.9])
)
@settings(max_examples=200, deadline=None)
def test_tiles_cover_the_picture_and_overlap(image_wh: tuple[int, int], tile: int, overlap: float) -> None:
    width, height = image_wh
    tiling = Tiling(tile, overlap)
    for side in image_wh:
        starts = tiling.starts(side)
        ends = [min(start + tile, side) for start in starts]
        assert starts[0] == 0 and ends[-1] == side
        for end, following in zip(ends, starts[1:], strict=False):
            assert end - following >= int(tile * overlap) - 1
    corners = tiling.corners(image_wh)
    assert corners[0] == (0, 0, width, height) and len(set(corners)) == len(corners)
    assert all(0 <= left < right <= width and 0 <= top < bottom <= height for left, top, right, bottom in corners)
    assert [corner for batch in tiling.batches(image_wh) for corner in batch] == corners


def test_a_small_object_in_a_large_picture(photo: Path) -> None:
    """Tiles find what the whole picture at network size is too small for, in pixels of the whole picture."""
    cup = yolov3.read_image(photo)
    large = np.full((2000, 3000, 3), 120, np.uint8)
    large[1300:1700, 2100:2700] = cup
    assert "cup" not in Detector(threads=1)(large).summary()
    found = Detector(threads=1, tile=640, overlap=0.5)(large)
    cups = [box for box, _, name in found if name == "cup"]
    assert cups, found
    expected = Detector(threads=1)(cup).boxes[0] + [2100, 1300, 2100, 1300]
    overlaps = yolov3.geometry.box_iou(np.array(cups), expected[None])
    assert overlaps.max() > 0.6


def test_a_picture_no_larger_than_a_tile_is_looked_at_once(photo: Path) -> None:
    plain, tiled = Detector(threads=1)(photo), Detector(threads=1, tile=640)(photo)
    np.testing.assert_array_equal(plain.boxes, tiled.boxes)
    np.testing.assert_array_equal(plain.scores, tiled.scores)


def test_boxes_of_tiles_are_merged_class_by_class() -> None:
    """Every tile of a picture that repeats itself sees the object; overlapping tiles don't double it."""
    detector = Detector(threads=1, tile=64, overlap=0.5)

    def engine(images: np.ndarray) -> list[np.ndarray]:
        heads = [np.full((len(images), 255, side, side), -20, np.float32) for side in (26, 13)]
        bright = images.reshape(len(images), -1).max(axis=1) > 200
        heads[1][bright, 4, 6, 6] = 9
        heads[1][bright, 5, 6, 6] = 9
        return heads

    detector._engine = engine
    image = np.zeros((64, 128, 3), np.uint8)
    assert len(detector(image)) == 0
    image[:, 60:68] = 255  # seen by the whole picture and by all three tiles
    found = detector(image)
    assert 1 <= len(found) <= 4 and set(found.labels) == {0}
    overlaps = yolov3.geometry.box_iou(found.boxes, found.boxes) - np.eye(len(found))
    assert overlaps.max(initial=0) <= 0.45


@pytest.mark.parametrize(("tile", "overlap"), [(31, 0.2), (64, -0.1), (64, 0.95), (64, float("nan"))])
def test_tiles_that_cannot_be(tile: int, overlap: float) -> None:
    with pytest.raises(yolov3.UsageError, match="expected"):
        Tiling(tile, overlap)
