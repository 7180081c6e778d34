"""Model files and Darknet files, written with the same proof as exports."""

from __future__ import annotations

import os
from pathlib import Path

from ..darknet import darknet_paths, save_darknet
from ..darknet.dialects import DEFAULT_DIALECT
from ..data import Dataset
from ..files import staged
from ..graph.signature import RAW, Signature
from ..modelfile import SUFFIX, Model
from ..runtime.detector import Detector
from ..runtime.loading import DarknetOptions, load_darknet
from .exporting import TOLERANCES, Progress, Written, check_companions, prove


def save_model(
    model: Model,
    path: str | os.PathLike[str],
    *,
    half: bool = False,
    dialect: str = DEFAULT_DIALECT,
    dataset: Dataset | None = None,
    split: str | None = None,
    progress: Progress | None = None,
) -> tuple[Written, list[str]]:
    """Write a model file or Darknet's files, prove them against the model, and put them into place.

    The figures are said, not kept: they differ a little from one processor to the next, and the same model always
    gives the same bytes (docs/decisions/008-proofs.md).

    Args:
        model: what to write.
        path: ends in .safetensors, .cfg or .weights; see `save_darknet`.
        half: store a model file's convolution weights as float16.
        dialect: of a cfg.
        dataset, split: to compare the AP on.
        progress: is told what is going on.

    Returns:
        What was written, and notes for the user.

    Raises:
        ModelError: a dialect lacks something, or the file differs from the model by more than allowed.
        UsageError: another suffix, no such dialect.
        Yolov3Error: a file can't be written.
    """
    path, notes = Path(path), []
    tell = progress or (lambda message: None)
    own = path.suffix.lower() == SUFFIX
    beside = [] if own else darknet_paths(path)[1:]
    check_companions(path, beside)
    tell(f"writing {path.name}")
    with staged(path, beside) as target:
        if own:
            (model.half() if half else model).save(target)
            again = Model.load(target, origin=str(path))
        else:
            # Weights alone are read back with the cfg that belongs to them, which stays behind.
            cfg, weights = target.with_suffix(".cfg"), target.with_suffix(".weights")
            notes = save_darknet(model, cfg, dialect=dialect).notes
            again = load_darknet(cfg, DarknetOptions(weights)).model
        tell("comparing it with the model")
        signature = Signature(precision="fp16") if half else RAW
        written = prove(
            Detector(model), Detector(again), signature, TOLERANCES["model", signature.precision], path, dataset, split
        )
    return written, notes
