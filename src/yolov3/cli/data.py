"""`yolov3 data`: look at datasets, check, repair and convert them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from . import augmenting, dataset, options

if TYPE_CHECKING:
    from ..data import BadLabels, Dataset, Report
    from ..data.output import Pictures
    from ..geometry import UInt8Array

SHEET_FOLDER = Path("runs/data/exp")
MOST_LINES = 1000


@click.group()
def data() -> None:
    """Check, repair, show and convert datasets.

    Example: yolov3 data check data.yaml
    """


@data.command()
@dataset.data
@click.option("--split", help="This split alone; default all, with leakage between them.")
@dataset.images
@click.option("--labels-only", is_flag=True, help="Don't open pictures: quick.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--fix-to", type=options.FilePath, metavar="DIR", help="Write a repaired copy, with a ledger.")
@click.option("--picture", metavar="FILE.svg", help="Draw the distributions of classes, sizes and places.")
@click.option("--all", "everything", is_flag=True, help=f"Print all problems, not the first {MOST_LINES:,}.")
def check(
    data: Path,
    split: str | None,
    images: Path | None,
    labels_only: bool,
    as_json: bool,
    fix_to: Path | None,
    picture: str | None,
    everything: bool,
) -> int:
    """Find everything that is wrong with a dataset: a line each, and a summary. Nothing of yours is changed.

    DATA is a data.yaml, a COCO .json, a Pascal VOC folder or a Darknet .data file. Exit code 3 when something is wrong.

    Example: yolov3 data check data.yaml --fix-to repaired --picture data.svg
    """
    from ..data import check_dataset, distribution_figure, fix_dataset
    from ..data.load import read_dataset
    from ..errors import UsageError
    from ..files import write_atomic
    from ..images import quiet_decoders

    if picture is not None and Path(picture).suffix.lower() != ".svg":
        raise UsageError(f"--picture {picture}: expected a name that ends in .svg")
    with quiet_decoders():
        report = check_dataset(data, split=split, images=images, labels_only=labels_only)
        if as_json:
            print(json.dumps(report.to_dict()))
        else:
            print_report(report, None if everything else MOST_LINES)
        if picture is not None:
            write_atomic(picture, distribution_figure(read_dataset(data, split=split, images=images)))
            options.print_notes([f"{picture}: written"])
        if fix_to is not None:
            repaired = fix_dataset(data, fix_to, images=images)
            done = ", ".join(f"{count:,} × {action}" for action, count in repaired.actions().most_common()) or "nothing"
            options.print_notes([f"{repaired.path}: a repaired copy ({done}); ledger.csv there lists what was done"])
    return report.exit_code


def print_report(report: Report, most: int | None) -> None:
    """Every problem on a line of its own, then what the dataset holds."""
    for problem in report.problems[:most]:
        print(problem)
    left = len(report.problems) - len(report.problems[:most])
    if left:
        print(f"… and {left:,} more (--all prints them)")
    if report.problems:
        print()
    print_columns(report.summary_rows())
    if report.names and report.splits:
        print()
        print_columns(report.class_rows())
    counts = ", ".join(options.counted(report.count(severity), severity) for severity in ("error", "warning", "note"))
    print(f"\n{report.path}: {counts}")


def print_columns(rows: list[tuple[str, ...]]) -> None:
    """A table: the first column to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        print("  ".join(cells).rstrip())


@data.command()
@dataset.data
@click.option("--count", type=click.IntRange(1), default=16, show_default=True, help="How many pictures.")
@click.option("--split", help="From this split alone.")
@dataset.images
@dataset.bad_rows_skipped
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Which pictures; of a training.")
@click.option("--augmented", is_flag=True, help="As `yolov3 train` shows them to the network, pixel for pixel.")
@augmenting.options
@click.option(
    "--size", type=click.IntRange(32), default=416, show_default=True, help="The network's input (augmented)."
)
@click.option("--epoch", type=click.IntRange(1), default=1, show_default=True, help="Of a training (augmented).")
@click.option("--output", type=options.FilePath, metavar="FILE", help=f"Default {SHEET_FOLDER}/sheet.jpg.")
@click.pass_context
def show(ctx: click.Context, /, data: Path, count: int, output: Path | None, **given: Any) -> None:
    """Save a contact sheet: some of a dataset's pictures with their boxes.

    DATA is a data.yaml, a COCO .json, a Pascal VOC folder or a Darknet .data file. With --augmented it shows the first
    pictures of an epoch as a training with this seed, size and augmentation gets them.

    Example: yolov3 data show data.yaml --augmented --set rotate=15 --output sheet.jpg
    """
    from ..images import quiet_decoders, write_image
    from ..sinks.folder import new_folder

    if not given["augmented"]:
        refuse_without_augmented(ctx)
    loaded = dataset.load(data, given)
    with quiet_decoders():
        sheet = draw_sheet(loaded, count, given)
    target = output or new_folder(SHEET_FOLDER, take_empty=False) / "sheet.jpg"
    write_image(target, sheet)
    print(f"{target}: {sheet.shape[1]}×{sheet.shape[0]}")


def refuse_without_augmented(ctx: click.Context) -> None:
    """Options that would do nothing are refused.

    Raises:
        UsageError: one of them is given.
    """
    from ..errors import UsageError

    for name in ("augment", "changes", "size", "epoch"):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            word = "set" if name == "changes" else name
            raise UsageError(f"--{word}: only with --augmented, which shows what a training makes of the pictures")


def draw_sheet(loaded: Dataset, count: int, given: Mapping[str, Any]) -> UInt8Array:
    """Pictures as they are, or as a training gets them."""
    if not given["augmented"]:
        from ..data import contact_sheet

        return contact_sheet(loaded, count, split=given["split"], seed=given["seed"])
    from ..training.sheet import augmented_sheet

    settings = augmenting.settings(given["augment"] or "darknet", given["changes"])
    return augmented_sheet(
        loaded, settings, given["seed"], given["size"], count, epoch=given["epoch"] - 1, split=given["split"]
    )


@data.command()
@dataset.data
@click.argument("out", type=options.FilePath)
@click.option("--to", "kind", type=click.Choice(["yolo", "coco", "voc"]), required=True, help="The new format.")
@click.option("--split", help="This split alone.")
@dataset.images
@dataset.bad_labels
@click.option("--link", is_flag=True, help="Link to the pictures instead of copying them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def convert(
    data: Path,
    out: Path,
    kind: str,
    split: str | None,
    images: Path | None,
    bad_labels: BadLabels,
    link: bool,
    as_json: bool,
) -> None:
    """Write a dataset in another format into a new folder OUT; what that format can't hold is listed.

    DATA is a data.yaml, a COCO .json, a Pascal VOC folder or a Darknet .data file.

    Example: yolov3 data convert annotations.json my-yolo --to yolo
    """
    from ..data import convert_dataset

    pictures: Pictures = "link" if link else "copy"
    written = convert_dataset(data, out, kind, split=split, images=images, bad_labels=bad_labels, pictures=pictures)
    if as_json:
        print(json.dumps(written.to_dict()))
        return
    print(f"{written.path}: {written.pictures:,} pictures, {written.boxes:,} boxes as {written.kind}")
    for words in written.lost:
        print(f"not held by {written.kind}: {words}")
