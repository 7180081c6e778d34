"""Which pictures of a dataset calibrate and which are scored: never the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset, Sample
from ..errors import DataError
from ..geometry import letterbox_image
from ..images import read_image
from ..runtime.detector import Detector

MOST = 100
FEWEST = 8


def divide(dataset: Dataset, split: str | None = None) -> tuple[list[Sample], Dataset]:
    """Pictures to calibrate with, and the dataset to score on without any of them.

    Scored is what `Dataset.split` gives. Calibration takes up to 100 pictures, evenly spread over the train split
    (else another one), and where there is none, over a quarter of the scored split, which then is scored without them.

    Raises:
        DataError: fewer than 8 pictures are left for calibration, or none to score.
        UsageError: no such split.
    """
    scored = dataset.split(split)
    others = [name for name in ("train", "val", "test", "all") if name in dataset.samples]
    pool = next((dataset.samples[name] for name in others if dataset.samples[name] is not scored), None)
    if pool is None:
        pool = scored[::4]
    chosen = [pool[index] for index in np.linspace(0, len(pool) - 1, min(MOST, len(pool))).round().astype(int)]
    taken = {sample.image.resolve() for sample in chosen}
    rest = [sample for sample in scored if sample.image.resolve() not in taken]
    if len(chosen) < FEWEST or not rest:
        raise DataError(
            f"{dataset.path}: {len(chosen)} pictures to calibrate with and {len(rest)} others to score on, expected at "
            f"least {FEWEST} and 1"
        )
    return chosen, replace(dataset, samples={"val": rest})


def calibration_inputs(
    source: Detector, samples: Sequence[Sample], scale: float | None, batch: int
) -> Iterator[NDArray[Any]]:
    """What the network takes for each picture: letterboxed as the model says.

    Args:
        source: knows size and preprocessing.
        samples: the pictures.
        scale: what pixel values are multiplied by; None: pictures as they are.
        batch: how many the network takes at once; the picture is repeated.
    """
    from ..runtime.engines import network_input

    for sample in samples:
        picture = read_image(sample.image)
        plan = source.plan((picture.shape[1], picture.shape[0]))
        canvas = letterbox_image(picture, plan, source.model.preprocess.pad)[None]
        array = canvas if scale is None else network_input(canvas, scale)
        yield np.repeat(array, batch, axis=0)
