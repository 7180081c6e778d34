"""The options of commands that read a dataset, and reading it as they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options

if TYPE_CHECKING:
    from ..data import Dataset

data = click.argument("data", type=options.FilePath)
images = click.option("--images", type=options.FilePath, help="The pictures' folder, for COCO and VOC.")


def _bad_labels(default: str) -> options.Option[Any]:
    return click.option(
        "--bad-labels",
        type=click.Choice(["error", "skip-row", "skip-image"]),
        default=default,
        show_default=True,
        help="What to do about labels that can't be used.",
    )


bad_labels = _bad_labels("error")
bad_rows_skipped = _bad_labels("skip-row")  # where a few rows more or less change nothing


def load(
    path: Path, given: Mapping[str, Any], default_split: Sequence[str] | None = None, *, need_pictures: bool = True
) -> Dataset:
    """The dataset that `path` and the options split, images and bad_labels name; says what is left out.

    Args:
        path: DATA.
        given: the options.
        default_split: without `--split` the first of these that the dataset has is loaded; None for all.
        need_pictures: as in `load_dataset`.
    """
    from ..data import load_dataset

    split = given["split"] or default_split
    dataset = load_dataset(
        path, split=split, images=given["images"], bad_labels=given["bad_labels"], need_pictures=need_pictures
    )
    left_out = sum(problem.severity == "error" for problem in dataset.problems)
    if left_out:
        options.print_notes(
            [f"{path}: {left_out:,} labels can't be used and are left out; yolov3 data check lists them"]
        )
    return dataset
