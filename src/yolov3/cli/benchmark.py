"""`yolov3 benchmark`: how fast each engine is on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from . import options


@click.command()
@options.together(options.model, options.weights, options.size)
@click.option("--batch", default=1, show_default=True, help="Pictures that go through the network together.")
@click.option("--engines", default="all", show_default=True, metavar="all|LIST", help="ncnn,mnn; all: those installed.")
@click.option(
    "--pictures",
    metavar="N|FOLDER",
    help="How many sample photos in a turn (default 16), or the pictures of a folder.",
)
@click.option("--against", metavar="LIST", help="Other software on the same pictures: ultralytics,opencv.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
@click.option("--chart", type=options.FilePath, metavar="FILE.svg", help="Draw pictures a second as bars.")
def benchmark(
    model: str,
    weights: Path | None,
    size: str | None,
    batch: int,
    engines: str,
    pictures: str | None,
    against: str | None,
    as_json: bool,
    chart: Path | None,
) -> None:
    """Measure how fast each engine is on this machine.

    Load, first picture, network alone, from file to boxes, memory, and the share of the machine's floating-point
    peak. Each engine runs in a process of its own; all take turns on the same pictures.

    Example: yolov3 benchmark --engines ncnn,onnxruntime --against opencv --chart speed.svg
    """
    from ..benchmark import Job, run_benchmark
    from ..benchmark.plan import parse_pictures
    from ..errors import UsageError
    from ..files import write_atomic

    if chart is not None and chart.suffix.lower() != ".svg":
        raise UsageError(f"--chart {chart}: expected a name that ends in .svg")
    job = Job(
        model=model,
        weights=weights,
        size=size,
        batch=batch,
        engines=None if engines.strip() == "all" else split(engines),
        pictures=None if pictures is None else parse_pictures(pictures),
        against=[] if against is None else split(against),
    )
    report = run_benchmark(job, show_progress)
    options.print_notes(report.notes)
    print(json.dumps(report.to_dict()) if as_json else report.table())
    if chart is not None:
        write_atomic(chart, report.chart())
        options.print_notes([f"the chart is {chart}"])


def split(words: str) -> list[str]:
    """A list with commas."""
    return [word.strip() for word in words.split(",")]


def show_progress(message: str) -> None:
    """What is going on, on a terminal only."""
    if sys.stderr.isatty():
        print(f"yolov3: {message}", file=sys.stderr)
