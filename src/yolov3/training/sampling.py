"""Which picture comes when: order, batches, shares of several processes, input sizes. NumPy alone.

Everything is a pure function of (seed, epoch, step), so any step can be computed without those before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data import Sample
from ..errors import DataError, UsageError

Indices = NDArray[np.int64]

PLACE, ORDER, SIZE = range(3)
"""What a stream of random numbers is for: one picture, an epoch's order, a step's input size."""

SIZE_STEPS = 10
"""So many steps keep one input size, as in Darknet (`detector.c: train_detector`)."""


def random_stream(seed: int, epoch: int, number: int, purpose: int = PLACE) -> np.random.Generator:
    """Random numbers of their own for each (seed, epoch, number, purpose).

    Philox is a block cipher in counter mode: the seed is the key, the rest the counter's higher words, so that streams
    never overlap and none has to be run to reach another.

    Args:
        seed: 0 to 2^64 − 1.
        epoch, number: from 0.
        purpose: PLACE, ORDER or SIZE.
    """
    counter = np.array([0, number, epoch, purpose], np.uint64)
    return np.random.Generator(np.random.Philox(key=np.array([seed, 0], np.uint64), counter=counter))


def epoch_order(count: int, seed: int, epoch: int, weights: NDArray[np.float64] | None = None) -> Indices:
    """The order, int64 (count,), in which `count` pictures come in an epoch.

    Without weights each comes once. With weights (count,), above 0, a picture comes as often as its part of their sum
    says, rounded up or down by chance (systematic sampling); the epoch has as many places as before.
    """
    random = random_stream(seed, epoch, 0, ORDER)
    chosen = np.arange(count)
    if weights is not None:
        ends = np.cumsum(weights) * (count / weights.sum())
        chosen = np.minimum(np.searchsorted(ends, chosen + random.random(), side="right"), count - 1)
    return np.asarray(chosen[np.argsort(random.random(count), kind="stable")], np.int64)


def class_weights(samples: Sequence[Sample], classes: int) -> NDArray[np.float64]:
    """Weights (N,) for class-balanced sampling: √(most / own) of a picture's rarest class, 1 for one without objects.

    A class's frequency is the number of pictures it is in. The root and the rarest class are those of repeat factor
    sampling (Gupta, Dollár, Girshick: LVIS, 2019); here the commonest class is the measure, so nothing is to be tuned.
    """
    present = [np.unique(sample.labels[~(sample.crowd | sample.difficult)]) for sample in samples]
    frequency = np.bincount(np.concatenate([*present, np.zeros(0, np.int64)]), minlength=classes)
    factor = np.sqrt(frequency.max(initial=1) / np.maximum(frequency, 1))
    return np.array([factor[labels].max(initial=1.0) for labels in present])


def batch_bounds(count: int, batch: int, ranks: int = 1) -> Indices:
    """Where batches begin and end in an epoch of `count` places: int64 (steps + 1,).

    Sizes differ by at most one, so no picture is left out and no small batch comes last: 33 pictures in batches of at
    most 16 are three of 11. A batch of one picture, poor food for batch normalisation, only comes with `batch` 1, with
    2 and an odd count, or from a dataset of one.

    Args:
        count: pictures in the epoch.
        batch: most pictures in a step, of all processes together.
        ranks: how many processes share each batch.

    Raises:
        DataError: there is no picture, or a batch has too few to give every process one.
        UsageError: `batch` is less than 1, or less than the number of processes.
    """
    if count < 1:
        raise DataError("no pictures to train on, expected some")
    if batch < max(1, ranks):
        raise UsageError(f"batch {batch}: expected at least {max(1, ranks)}, a picture for each process")
    steps = -(-count // batch)
    if count // steps < ranks:
        raise DataError(
            f"{count} pictures in batches of {batch} leave {count // steps} for {ranks} processes: use fewer processes"
        )
    return np.arange(steps + 1) * count // steps


def share(places: range, rank: int, ranks: int) -> range:
    """The places of a batch that process `rank` of `ranks` takes; shares differ by at most one, none overlap."""
    ends = [len(places) * part // ranks for part in (rank, rank + 1)]
    return places[ends[0] : ends[1]]


def input_sizes(size_wh: tuple[int, int], multi_scale: float, stride: int) -> list[tuple[int, int]]:
    """The input sizes for multi-scale training, small to large; all multiples of the stride.

    Args:
        size_wh: the network's own input size, a multiple of the stride.
        multi_scale: most change, 0 to 0.9, in parts of it.
        stride: the network's largest.

    Raises:
        UsageError: the size isn't a multiple of the stride.
    """
    if min(size_wh) < stride or size_wh[0] % stride or size_wh[1] % stride:
        raise UsageError(f"size {size_wh[0]}×{size_wh[1]}: expected multiples of {stride}")
    cells = [side // stride for side in size_wh]
    least, most = (round(max(cells) * (1 + sign * multi_scale)) for sign in (-1, 1))
    factors = [step / max(cells) for step in range(max(least, 1), most + 1)]
    return [
        (stride * max(round(cells[0] * factor), 1), stride * max(round(cells[1] * factor), 1)) for factor in factors
    ]


def step_size(sizes: Sequence[tuple[int, int]], seed: int, epoch: int, step: int) -> tuple[int, int]:
    """The input size of a step; it changes every `SIZE_STEPS` steps and is the same for all processes."""
    if len(sizes) == 1:
        return sizes[0]
    return sizes[int(random_stream(seed, epoch, step // SIZE_STEPS, SIZE).random() * len(sizes))]
