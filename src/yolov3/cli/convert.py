"""`yolov3 convert`: from one kind of model to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from ..modelfile import Model


@click.command()
@click.argument("files", nargs=-1, required=True, type=options.FilePath, metavar="IN [WEIGHTS] OUT")
@click.option("--half", is_flag=True, help="Store convolution weights as float16: half the file (.safetensors).")
@click.option(
    "--dialect",
    default="alexeyab",
    show_default=True,
    metavar="NAME",
    help="Who shall read a .cfg: alexeyab (and hank-ai), pjreddie, or opencv.",
)
@options.together(options.names, options.masks, options.resize, options.allow_extra)
def convert(
    files: tuple[Path, ...],
    half: bool,
    dialect: str,
    names: Path | None,
    masks: str | None,
    resize: str | None,
    allow_extra: bool,
) -> None:
    """Convert a model: Darknet and PyTorch checkpoints to a model file, and any model to Darknet.

    IN is a Darknet .cfg followed by its WEIGHTS, a PyTorch checkpoint (.pt, .pth), a model file (.safetensors), or a
    model's name. A checkpoint that holds weights only stands as WEIGHTS behind a .cfg, a .yaml or a family name.

    OUT ends in .safetensors (a model file, which holds everything that using it takes), .cfg (Darknet, with .weights
    and .names beside it) or .weights (that alone).

    Example: yolov3 convert yolov3-tiny.cfg yolov3-tiny.weights tiny.safetensors --masks 1,2,3 --half
    """
    from dataclasses import replace

    from ..errors import UsageError
    from ..runtime.loading import DarknetOptions, load_model

    if not 2 <= len(files) <= 3:
        raise UsageError(f"{len(files)} files named, expected IN OUT or IN WEIGHTS OUT")
    *given, output = files
    outputs = _outputs(output, given)
    if half and output.suffix.lower() != ".safetensors":
        raise UsageError(f"--half goes with a .safetensors as OUT, not with {output}")
    weights = given[1] if len(given) == 2 else None
    loaded = load_model(given[0], DarknetOptions(weights, names, masks, allow_extra))
    model = loaded.model
    if resize is not None:
        model = replace(model, preprocess=replace(model.preprocess, resize=resize))
    notes = _save(model.half() if half else model, output, dialect)
    options.print_notes([*loaded.notes, *notes])
    print(describe(outputs, model))


def _outputs(output: Path, given: list[Path]) -> list[Path]:
    """The files that will be written; refused are an unknown kind, and to write over an input."""
    from ..darknet import darknet_paths
    from ..errors import UsageError
    from ..modelfile import SUFFIX

    suffix = output.suffix.lower()
    if suffix not in (SUFFIX, ".cfg", ".weights"):
        raise UsageError(f"{output}: expected an output that ends in {SUFFIX}, .cfg or .weights")
    inputs = {path.resolve() for path in given}
    outputs = [output] if suffix == SUFFIX else darknet_paths(output)
    for path in outputs:
        if path.resolve() in inputs:
            raise UsageError(f"{path}: is also an input, which is never changed; name another output")
    return outputs


def _save(model: Model, output: Path, dialect: str) -> list[str]:
    """Write the output; gives what there is to say about it."""
    from ..darknet import save_darknet
    from ..modelfile import SUFFIX

    if output.suffix.lower() == SUFFIX:
        model.save(output)
        return []
    return save_darknet(model, output, dialect=dialect).notes


def describe(paths: list[Path], model: Model) -> str:
    """One line about the files that were made of a model."""
    size = sum(path.stat().st_size for path in paths)
    return (
        f"{', '.join(map(str, paths))}: {len(model.spec.rows)} rows, {model.spec.nc} classes, "
        f"{model.size_wh[0]}×{model.size_wh[1]}, {size / 1e6:.1f} MB"
    )
