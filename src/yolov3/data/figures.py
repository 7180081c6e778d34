"""Pictures of a dataset: a contact sheet with boxes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..annotate import draw
from ..detections import Detections
from ..errors import DataError, UsageError
from ..geometry import UInt8Array, clip_boxes, plan_letterbox
from ..images import display_name, read_image
from .dataset import Dataset, Sample

GREY, PAPER, INK = 127, 245, (40, 40, 40)
MOST_LABELS = 25
"""With more boxes in a picture their labels would hide it."""

_GAP, _CAPTION = 8, 20


def contact_sheet(
    dataset: Dataset, count: int = 16, *, split: str | None = None, seed: int = 0, tile: int = 360
) -> UInt8Array:
    """Some pictures of a dataset with their true boxes, side by side: RGB uint8 (H, W, 3).

    Pictures with boxes come first. One that can't be read gets an empty tile that says so.

    Args:
        dataset: where to take them from.
        count: how many pictures, from 1.
        split: from this split alone; None for all.
        seed: which of them.
        tile: the side of a picture on the sheet, in pixels.

    Raises:
        UsageError: there is no such split, or nothing to show.
    """
    if count < 1 or tile < 64:
        raise UsageError(f"{count} pictures of {tile} pixels, expected at least 1 of 64")
    pool = dataset.split(split) if split else list(chain.from_iterable(dataset.samples.values()))
    chosen = _choose(pool, count, seed)
    if not chosen:
        raise UsageError(f"{display_name(dataset.path)}: no picture to show")
    columns = int(np.ceil(len(chosen) ** 0.5))
    rows = -(-len(chosen) // columns)
    step_x, step_y = tile + _GAP, tile + _CAPTION + _GAP
    sheet = np.full((rows * step_y + _GAP, columns * step_x + _GAP, 3), PAPER, np.uint8)
    for index, sample in enumerate(chosen):
        top, left = _GAP + index // columns * step_y, _GAP + index % columns * step_x
        picture, words = _tile(sample, dataset.names, tile)
        sheet[top : top + tile, left : left + tile] = picture
        sheet[top + tile : top + tile + _CAPTION, left : left + tile] = _caption(words, tile)
    return sheet


def _choose(pool: Sequence[Sample], count: int, seed: int) -> list[Sample]:
    """`count` samples by chance, those with boxes before those without, in the order of the dataset."""
    indices = list(range(len(pool)))
    random.Random(seed).shuffle(indices)
    indices.sort(key=lambda index: not len(pool[index].labels))
    return [pool[index] for index in sorted(indices[:count])]


def _tile(sample: Sample, names: tuple[str, ...], side: int) -> tuple[UInt8Array, str]:
    """A picture with its boxes in the middle of a grey square, and its caption."""
    canvas = np.full((side, side, 3), GREY, np.uint8)
    try:
        image = read_image(sample.image)
        size_wh = (image.shape[1], image.shape[0])
        boxes = clip_boxes(sample.boxes_for(size_wh), size_wh)
    except DataError as error:
        return canvas, str(error)
    plan = plan_letterbox(size_wh, (side, side))
    width, height = plan.resized_wh
    shrinking = width < size_wh[0]
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    canvas[plan.top : plan.top + height, plan.left : plan.left + width] = small
    objects = Detections(
        plan.to_canvas(boxes).astype(np.float32),
        np.ones(len(boxes), np.float32),
        sample.labels,
        names,
        (side, side),
    )
    plural = "" if len(boxes) == 1 else "es"
    caption = f"{display_name(sample.image.name)} · {len(boxes)} box{plural}"
    return draw(canvas, objects, show_labels=len(boxes) <= MOST_LABELS, show_scores=False), caption


def _caption(words: str, width: int) -> UInt8Array:
    """A line of text, RGB uint8 (caption height, width, 3), cut with … where it is too long."""
    font = ImageFont.load_default(12)
    text = words
    while len(text) > 1 and font.getlength(text) > width:
        words = words[:-1]
        text = words + "..."
    strip = Image.new("RGB", (width, _CAPTION), (PAPER, PAPER, PAPER))
    ImageDraw.Draw(strip).text((0, 3), text, fill=INK, font=font)
    return np.asarray(strip)
