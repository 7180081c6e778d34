"""Large pictures cut into overlapping tiles, so that small objects stay large enough for the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

Corners = tuple[int, int, int, int]

MIN_TILE = 32
TILES_AT_ONCE = 8
EDGE = 0.02


@dataclass(frozen=True, slots=True)
class Tiling:
    """How pictures are cut.

    Attributes:
        tile: side of a tile in pixels of the picture, 32 or more.
        overlap: the share of a tile's side that the next one repeats, 0 to 0.9.

    Raises:
        UsageError: a value out of range.
    """

    tile: int
    overlap: float = 0.2

    def __post_init__(self) -> None:
        if self.tile < MIN_TILE:
            raise UsageError(f"tile is {self.tile}, expected {MIN_TILE} pixels or more")
        if not 0 <= self.overlap <= 0.9:
            raise UsageError(f"overlap is {self.overlap}, expected a number from 0 to 0.9")

    def starts(self, side: int) -> list[int]:
        """Where tiles begin along a side: evenly spread, the first at 0, the last ending at the side's end."""
        if side <= self.tile:
            return [0]
        step = max(int(self.tile * (1 - self.overlap)), 1)
        count = -(-(side - self.tile) // step) + 1
        return [round(index * (side - self.tile) / (count - 1)) for index in range(count)]

    def corners(self, image_wh: tuple[int, int]) -> list[Corners]:
        """The whole picture first, then its tiles row by row, as left, top, right, bottom.

        The whole picture is looked at too: an object larger than a tile is seen there.
        """
        width, height = image_wh
        tiles = [
            (left, top, min(left + self.tile, width), min(top + self.tile, height))
            for top in self.starts(height)
            for left in self.starts(width)
        ]
        whole = (0, 0, width, height)
        return [whole, *(tile for tile in tiles if tile != whole)]

    def batches(self, image_wh: tuple[int, int]) -> Iterator[tuple[Corners, ...]]:
        """The corners in groups that go through the network together."""
        corners = self.corners(image_wh)
        for start in range(0, len(corners), TILES_AT_ONCE):
            yield tuple(corners[start : start + TILES_AT_ONCE])

    def cuts(self, boxes: NDArray[np.float32], corner: Corners, image_wh: tuple[int, int]) -> NDArray[np.bool_]:
        """Which of a tile's boxes (N, 4), in pixels of the picture, end at an edge of it that isn't the picture's."""
        left, top, right, bottom = corner
        near = EDGE * self.tile
        at_left = (boxes[:, 0] < left + near) & (left > 0)
        at_top = (boxes[:, 1] < top + near) & (top > 0)
        at_right = (boxes[:, 2] > right - near) & (right < image_wh[0])
        at_bottom = (boxes[:, 3] > bottom - near) & (bottom < image_wh[1])
        return np.asarray(at_left | at_top | at_right | at_bottom)
