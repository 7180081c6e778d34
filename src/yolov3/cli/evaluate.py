"""`yolov3 evaluate`: score a model on a dataset."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import dataset, options

if TYPE_CHECKING:
    from ..data import Dataset
    from ..evaluation.scoring import Evaluation
    from ..runtime import Detector

DEFAULT_FOLDER = Path("runs/evaluate/exp")

# Options that the Detector takes under their own names.
DETECTOR_OPTIONS = (
    *("weights", "names", "masks", "allow_extra", "size", "resize", "rect"),
    *("engine", "threads", "precision", "conf", "iou", "max_det"),
)


@click.command()
@dataset.data
@options.together(options.model, options.darknet, options.size, options.resize)
@click.option("--rect", is_flag=True, help="Pad only to a multiple of the stride: faster, other scores.")
@click.option("--split", help="train, val or test; default val, else test.")
@dataset.images
@dataset.bad_labels
@click.option("--conf", default=0.001, show_default=True, help="Least score, 0 to 1.")
@click.option("--iou", default=0.45, show_default=True, help="Boxes of a class that overlap a better one more go.")
@click.option("--max-det", default=100, show_default=True, help="Most boxes a picture.")
@options.engine
@click.option("--threads", type=int, help="For the engine; default all cores.")
@options.precision
@click.option(
    "--resamples",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="Of the interval on AP; 0: no interval.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the interval.")
@click.option("--output", type=options.FilePath, help=f"New folder for card and charts; default {DEFAULT_FOLDER}.")
@click.option("--no-save", is_flag=True, help="Write no card, charts and metrics.json.")
@click.option("--predictions", metavar="FILE", help="Write what was found, as COCO results.")
@click.option("--from-predictions", metavar="FILE", help="Score COCO results instead of running a model.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
def evaluate(data: Path, split: str | None, output: Path | None, no_save: bool, as_json: bool, **given: Any) -> None:
    """Score a model on a dataset, as COCO does.

    AP in all and per class, with an interval, curves, mistakes and speed.

    DATA is a data.yaml, a COCO .json, a Pascal VOC folder or a Darknet .data file.

    Example: yolov3 evaluate data.yaml --model own.safetensors --split test
    """
    from ..evaluate import write_results
    from ..evaluation.coco import require_evaluator
    from ..evaluation.report import write_report
    from ..sinks.folder import new_folder

    check_options(given)
    require_evaluator()
    runs_model = given["from_predictions"] is None
    loaded = dataset.load(data, {"split": split, **given}, ("val", "test"), need_pictures=runs_model)
    about = {"data": data.name, "split": split_name(loaded, split)}
    if runs_model:
        result = run_model(loaded, about, given)
    else:
        result = score_file(loaded, about, given)
    if given["predictions"] is not None:
        write_results(given["predictions"], result.predictions, result.truth)
    card = None
    if not no_save:
        card, *_ = write_report(new_folder(output or DEFAULT_FOLDER, take_empty=output is not None), result)
    options.print_notes(result.notes)
    if as_json:
        print(json.dumps(result.to_dict()))
    else:
        print_table(result)
    if card is not None:
        options.print_notes([f"the evaluation card is {card}"])


def check_options(given: dict[str, Any]) -> None:
    """Refuse options of a model where none is run."""
    from click.core import ParameterSource

    from ..errors import UsageError

    if given["from_predictions"] is None:
        return
    context = click.get_current_context()
    for name in ("model", "predictions", *DETECTOR_OPTIONS):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} goes with running a model, not with --from-predictions: leave one out")


def split_name(loaded: Dataset, split: str | None) -> str:
    """The name of the split that is scored; a single COCO file is one split, whatever its name."""
    members = loaded.split(None if len(loaded.samples) == 1 else split)
    return next(name for name, samples in loaded.samples.items() if samples is members)


def score_file(loaded: Dataset, about: dict[str, str], given: dict[str, Any]) -> Evaluation:
    """Score a file of COCO results."""
    from ..evaluate import evaluate_results

    path = given["from_predictions"]
    return evaluate_results(
        path,
        loaded,
        about["split"],
        resamples=given["resamples"],
        seed=given["seed"],
        about={"model": Path(path).name, **about},
    )


def run_model(loaded: Dataset, about: dict[str, str], given: dict[str, Any]) -> Evaluation:
    """Run the model over the split and score what it finds."""
    from ..evaluate import evaluate_detector
    from ..evaluation.provenance import training_note
    from ..images import quiet_decoders
    from ..runtime import Detector
    from .table import Progress

    detector = Detector(given["model"], multi_label=True, **{name: given[name] for name in DETECTOR_OPTIONS})
    options.print_notes(detector.notes)
    samples = loaded.split(about["split"])
    note = training_note(detector.model.source, loaded.path, samples)
    with quiet_decoders(), closing(Progress(len(samples))) as progress:
        return evaluate_detector(
            detector,
            loaded,
            about["split"],
            resamples=given["resamples"],
            seed=given["seed"],
            notes=[] if note is None else [note],
            about=about_run(detector, about, given),
            progress=lambda done, total: progress.step(),
        )


def about_run(detector: Detector, about: dict[str, str], given: dict[str, Any]) -> dict[str, str]:
    """What was scored how, for the card."""
    width, height = detector.size_wh
    kept = detector.thresholds
    return {
        "model": Path(given["weights"] or given["model"]).name,
        **about,
        "engine": detector.engine if given["precision"] == "float32" else f"{detector.engine}, {given['precision']}",
        "input": f"{width}×{height}, {detector.model.preprocess.resize}{', rect' if given['rect'] else ''}",
        "kept": f"scores from {kept.conf:g}, IoU up to {kept.iou:g}, {kept.max_det} boxes, several classes a box",
    }


def print_table(result: Evaluation) -> None:
    """The classes, then the whole."""
    width = max(12, *(len(score.name) for score in result.per_class))
    print(f"{'class':<{width}} {'objects':>8}" + "".join(f"{name:>10}" for name in ("AP", "AP50", "P", "R", "F1")))
    for score in result.per_class:
        values = (score.AP, score.AP50, score.precision, score.recall, score.f1)
        print(f"{score.name:<{width}} {score.objects:>8,}" + "".join(f"{_number(value):>10}" for value in values))
    best = result.best
    print(
        f"\nP, R and F1 at confidence {best.confidence:.3f}, where their mean F1 is largest: "
        f"{_number(best.precision)}, {_number(best.recall)}, {_number(best.f1)}"
    )
    if result.speed is not None:
        speed = result.speed
        stages = (("decode", speed.decode), ("letterbox", speed.letterbox), ("network", speed.network))
        words = [f"{name} {value:.1f}" for name, value in (*stages, ("NMS", speed.nms)) if value is not None]
        print(f"milliseconds a picture: {', '.join(words)}")
    print(", ".join(f"{name} {_number(value)}" for name, value in result.metrics.items()))
    interval = result.interval
    if interval is not None and interval.AP is not None and interval.AP50 is not None:
        (low, high), (low50, high50) = interval.AP, interval.AP50
        print(f"{interval.level:.0%} interval: AP {low:.4f} to {high:.4f}, AP50 {low50:.4f} to {high50:.4f}")


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"
