"""The options of `yolov3 convert` that shape an exported network, and what is said about one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import dataset, options

if TYPE_CHECKING:
    from ..data import Dataset
    from ..export import Written
    from ..graph.signature import Signature
    from ..modelfile import Model

given_options = options.together(
    click.option("--raw", is_flag=True, help="Export raw heads instead of boxes and scores."),
    click.option("--nms", is_flag=True, help="Export with non-maximum suppression in the graph."),
    click.option("--conf", type=click.FloatRange(0, 1), help="With --nms: least score.  [default: 0.25]"),
    click.option("--iou", type=click.FloatRange(0, 1), help="With --nms: boxes that overlap more go.  [default: 0.45]"),
    click.option("--max-det", type=click.IntRange(1), help="With --nms: most boxes a picture.  [default: 300]"),
    click.option("--uint8", is_flag=True, help="Export with RGB pictures as input: nothing to normalise."),
    click.option("--static", is_flag=True, help="Export for one input size; default any."),
    click.option("--batch", type=click.IntRange(1, 1024), help="Export for so many pictures at once; default any."),
    click.option("--int8", is_flag=True, help="Export in 8 bits; needs --data."),
    click.option("--data", type=options.FilePath, help="A dataset: compare the AP too, and calibrate --int8."),
    click.option("--split", help="Which split is scored; default val, else test."),
    dataset.images,
    dataset.bad_labels,
)

SIGNATURE_OPTIONS = ("raw", "nms", "uint8", "static", "batch", "int8")
SUPPRESSION_OPTIONS = ("conf", "iou", "max_det")


def load_dataset(given: dict[str, Any]) -> Dataset | None:
    """The dataset that the options name, if they do; all its splits, as calibration takes another than scoring."""
    from ..errors import UsageError
    from ..evaluation.coco import require_evaluator

    if given["data"] is None:
        for name in ("split", "images"):
            if given[name] is not None:
                raise UsageError(f"--{name} goes with --data")
        return None
    require_evaluator()
    loaded = dataset.load(given["data"], given | {"split": None})
    loaded.split(given["split"])  # refuses a name that isn't there before the hours, not after
    return loaded


def refuse_export_options(output: Path, given: dict[str, Any]) -> None:
    """Refuse what only exports know."""
    from ..errors import UsageError

    for name in (*SIGNATURE_OPTIONS, *SUPPRESSION_OPTIONS):
        if given[name]:
            raise UsageError(
                f"--{name.replace('_', '-')} goes with an export (.onnx, .xml, .param, .mnn), not {output}"
            )


def make_signature(output: Path, model: Model, half: bool, given: dict[str, Any]) -> Signature:
    """The signature that the options ask for."""
    from ..errors import UsageError
    from ..export import signature_for

    if given["raw"] and given["nms"]:
        raise UsageError("--raw and --nms can't go together")
    if half and given["int8"]:
        raise UsageError("--half and --int8 can't go together")
    suppression = {name: given[name] for name in SUPPRESSION_OPTIONS if given[name] is not None}
    if suppression and not given["nms"]:
        raise UsageError(f"--{next(iter(suppression)).replace('_', '-')} goes with --nms")
    return signature_for(
        output,
        model,
        outputs="raw" if given["raw"] else "detections" if given["nms"] else None,
        precision="fp16" if half else "int8" if given["int8"] else "fp32",
        uint8=given["uint8"],
        batch=given["batch"],
        fixed=given["static"],
        **suppression,
    )


def tell(message: str) -> None:
    """Say on a terminal what is going on."""
    if sys.stderr.isatty():
        print(f"{message} …", file=sys.stderr)


def proof_lines(written: Written, model: Model) -> list[str]:
    """What the file takes and gives where it is an export, and what was proven, for people."""
    from ..runtime.exported import exported_kind

    figures, allowed = written.figures, written.tolerance
    parts = []
    for name, value, limit, unit in (
        ("raw", figures.raw, allowed.raw, ""),
        ("box", figures.box, allowed.box, " px"),
        ("score", figures.score, allowed.score, ""),
    ):
        if value is not None:
            parts.append(f"{name} {value:.2g}{unit}" + ("" if limit is None else f" (at most {limit:g})"))
    lines = []
    if exported_kind(written.path) is not None:
        outputs = ", ".join(map(str, written.signature.tensors(model.spec.network)))
        lines.append(f"takes {written.signature.input}; gives {outputs}")
    lines.append(
        f"largest difference on {figures.pictures} pictures to the model in {written.reference}: {', '.join(parts)}"
    )
    if written.AP is not None:
        source, found = written.AP
        lines.append(
            f"AP {found:.4f}, the model's {source:.4f}, on {written.scored} pictures (a loss of at most {allowed.AP:g})"
        )
    if written.calibrated:
        lines.append(f"calibrated with {written.calibrated} other pictures; kept in float: {', '.join(written.kept)}")
    return lines
