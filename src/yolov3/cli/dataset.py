"""The options of commands that read a dataset, and reading it as they say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options

if TYPE_CHECKING:
    from ..data import Dataset

data = click.argument("data", type=options.FilePath)
images = click.option("--images", type=options.FilePath, help="The pictures' folder, for COCO and VOC.")
bad_labels = click.option(
    "--bad-labels",
    type=click.Choice(["error", "skip-row", "skip-image"]),
    default="error",
    show_default=True,
    help="What to do about labels that can't be used.",
)


def load(path: Path, given: Mapping[str, Any]) -> Dataset:
    """The dataset that `path` and the options split, images and bad_labels name; says what is left out."""
    from ..data import load_dataset

    dataset = load_dataset(path, split=given["split"], images=given["images"], bad_labels=given["bad_labels"])
    left_out = sum(problem.severity == "error" for problem in dataset.problems)
    if left_out:
        options.print_notes(
            [f"{path}: {left_out:,} labels can't be used and are left out; yolov3 data check lists them"]
        )
    return dataset
