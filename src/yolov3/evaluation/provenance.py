"""Was the model trained on what it is scored on? Known for Darknet's official weights, which carry their sha256."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data import Sample
from ..zoo.registry import OFFICIAL_WEIGHTS

_TRAINED_ON = ("val2017", "train2017", "val2014", "train2014")


def training_note(source: Mapping[str, Any], data: Path, samples: Sequence[Sample]) -> str | None:
    """What to say when Darknet's official COCO weights meet pictures that they were mostly trained on, else None.

    Args:
        source: the model's, with the sha256 of the files that it was made from.
        data: what was given as the dataset.
        samples: the pictures.
    """
    files = source.get("files")
    digests = {file.get("sha256") for file in files if isinstance(file, dict)} if isinstance(files, list) else set()
    weights = next((known for known in OFFICIAL_WEIGHTS if known.sha256 in digests), None)
    part = _coco_part(data, samples)
    if weights is None or part is None:
        return None
    return (
        f"the official {weights.name} weights were trained on COCO's trainvalno5k, with most pictures of {part}, "
        "so scores read higher than on pictures that the model hasn't seen"
    )


def _coco_part(data: Path, samples: Sequence[Sample]) -> str | None:
    """Which part of COCO this is, by the name of the annotation file or of the first picture's folder."""
    words = [data.name, data.stem, *(sample.image.parent.name for sample in samples[:1])]
    words += [sample.label_file.name for sample in samples[:1] if sample.label_file is not None]
    return next((part for part in _TRAINED_ON if any(part in word for word in words)), None)
