"""`yolov3 anchors`: anchors for a dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import dataset, options

if TYPE_CHECKING:
    from ..anchors import AnchorReport


@click.command()
@dataset.data
@click.option(
    "--model",
    default="yolov3",
    show_default=True,
    metavar="NAME|FILE",
    help="Whose anchors to compare with: yolov3, yolov3-tiny …, a .yaml, .cfg or .safetensors.",
)
@click.option("--clusters", type=click.IntRange(1), help="How many anchors; default as many as the model has.")
@click.option("--scales", type=click.IntRange(1), help="On how many scales; default the model's.")
@options.size
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the random choices.")
@click.option("--split", help="Whose boxes; default train's, else all.")
@dataset.images
@dataset.bad_rows_skipped
@click.option("--write", metavar="FILE.yaml", help="Write the model's architecture with the new anchors.")
@click.option("--picture", metavar="FILE.svg", help="Draw the boxes' shapes and both sets of anchors.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def anchors(data: Path, model: str, write: str | None, picture: str | None, as_json: bool, **given: Any) -> None:
    """Fit anchors to a dataset's boxes.

    Says whether they are worth having beside the model's own.

    DATA is a data.yaml, a COCO .json, a Pascal VOC folder or a Darknet .data file.

    Example: yolov3 anchors data.yaml --model yolov3-tiny --write own.yaml --picture anchors.svg
    """
    from ..anchors import box_shapes, draw_anchors, suggest_anchors, with_anchors
    from ..errors import UsageError
    from ..files import write_atomic
    from ..spec import parse_size, write_spec
    from .show import load_any_spec

    for option, path, suffix in (("--write", write, ".yaml"), ("--picture", picture, ".svg")):
        if path is not None and Path(path).suffix.lower() != suffix:
            raise UsageError(f"{option} {path}: expected a name that ends in {suffix}")
    spec, own_size = load_any_spec(model)
    size_wh = own_size if given["size"] is None else parse_size(given["size"], spec)
    samples = dataset.load(data, given, ("train",), need_pictures=False).samples
    shapes = box_shapes((sample for members in samples.values() for sample in members), size_wh)
    report = suggest_anchors(
        shapes, spec, size_wh, clusters=given["clusters"], scales=given["scales"], seed=given["seed"]
    )
    if write is not None:
        write_atomic(write, write_spec(with_anchors(spec, report.scales)))
    if picture is not None:
        write_atomic(picture, draw_anchors(shapes, report))
    if as_json:
        print(json.dumps(report.to_dict()))
    else:
        print(f"{report.boxes:,} boxes of {', '.join(samples)} at {size_wh[0]}×{size_wh[1]}")
        print_report(report)
    options.print_notes(f"{path}: written" for path in (write, picture) if path is not None)


def print_report(report: AnchorReport) -> None:
    """Both sets of anchors, how well they fit, and the verdict."""
    for place, shapes in enumerate(report.scales):
        words = "  ".join(f"{width:g}×{height:g}" for width, height in shapes)
        print(f"new anchors, scale {place + 1}{' (smallest stride)' if place == 0 else ''}: {words}")
    print("present anchors: " + "  ".join(f"{width:g}×{height:g}" for width, height in report.baseline.anchors))
    print(f"{'':<10}{'mean best IoU':>14}{'best IoU ≥ 0.5':>17}{'sides within 4×':>18}")
    for name, row in (("present", report.baseline), ("new", report)):
        print(f"{name:<10}{row.mean_iou:>14.3f}{row.recall:>17.1%}{row.ratio_recall:>18.1%}")
    print(report.verdict)
