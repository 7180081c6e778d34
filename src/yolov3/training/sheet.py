"""A sheet of training pictures as the network sees them, with their boxes. No PyTorch."""

from __future__ import annotations

import numpy as np

from ..annotate import draw
from ..data import Dataset
from ..detections import Detections
from ..errors import UsageError
from ..geometry import UInt8Array
from ..modelfile import Preprocess
from .augment import AugmentSettings, augment
from .pictures import TrainingPictures
from .placing import Example
from .sampling import epoch_order, random_stream

_GAP, _PAPER = 8, 245
_MOST_LABELS = 25  # with more boxes in a picture their labels would hide it


def augmented_sheet(
    dataset: Dataset,
    settings: AugmentSettings,
    seed: int = 0,
    size: int = 416,
    n: int = 16,
    *,
    epoch: int = 0,
    split: str | None = None,
    preprocess: Preprocess = Preprocess(),
) -> UInt8Array:
    """The first pictures of an epoch, pixel for pixel what a training with this seed shows the network.

    Regions that are ignored (crowds, difficult objects) are drawn as the class "ignored".

    Args:
        dataset: where pictures come from.
        settings: how they are changed.
        seed: the training's, 0 to 2^63 − 1.
        size: the network's input size in pixels, from 32.
        n: how many pictures, from 1; at most an epoch's.
        epoch: which epoch, from 0.
        split: which split; by default train, else the first.
        preprocess: how the model wants pictures to be fitted.

    Returns:
        RGB uint8 (H, W, 3), pictures side by side.

    Raises:
        DataError: no picture can be used.
        UsageError: a size or number is out of range, or there is no such split.
    """
    if size < 32 or n < 1 or not 0 <= seed < 2**63:
        raise UsageError(f"{n} pictures of {size} pixels, seed {seed}: expected at least 1 of 32, seed from 0")
    chosen = split or ("train" if "train" in dataset.samples else next(iter(dataset.samples), None))
    pictures = TrainingPictures(dataset.split(chosen), (size, size), preprocess=preprocess)
    tiles = []
    for place, index in enumerate(epoch_order(len(pictures), seed, epoch)[:n]):
        random = random_stream(seed, epoch, place)
        example = augment(pictures, int(index), settings, (size, size), random, preprocess)
        tiles.append(_draw(example, dataset.names))
    return _side_by_side(tiles)


def _draw(example: Example, names: tuple[str, ...]) -> UInt8Array:
    """The picture with its boxes."""
    labels = np.where(example.ignore, len(names), example.labels)
    size_wh = (example.image.shape[1], example.image.shape[0])
    ones = np.ones(len(labels), np.float32)
    objects = Detections(example.boxes.astype(np.float32), ones, labels, (*names, "ignored"), size_wh)
    return draw(example.image, objects, show_labels=len(labels) <= _MOST_LABELS, show_scores=False)


def _side_by_side(tiles: list[UInt8Array]) -> UInt8Array:
    """Square pictures of one size in rows and columns, paper between them."""
    columns = int(np.ceil(len(tiles) ** 0.5))
    rows = -(-len(tiles) // columns)
    step = len(tiles[0]) + _GAP
    sheet = np.full((rows * step + _GAP, columns * step + _GAP, 3), _PAPER, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = _GAP + number // columns * step, _GAP + number % columns * step
        sheet[top : top + len(tile), left : left + len(tile)] = tile
    return sheet
