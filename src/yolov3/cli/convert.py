"""`yolov3 convert`: from one kind of model to another."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command()
@click.argument("files", nargs=-1, required=True, type=options.FilePath, metavar="IN [WEIGHTS] OUT")
@click.option("--half", is_flag=True, help="Store convolution weights as float16: half the file.")
@options.together(options.names, options.masks, options.resize, options.allow_extra)
def convert(
    files: tuple[Path, ...],
    half: bool,
    names: Path | None,
    masks: str | None,
    resize: str | None,
    allow_extra: bool,
) -> None:
    """Convert a Darknet model to a model file (.safetensors), which holds everything that using it takes.

    IN is a Darknet .cfg, followed by its WEIGHTS, or a model file; OUT ends in .safetensors.

    Example: yolov3 convert yolov3-tiny.cfg yolov3-tiny.weights tiny.safetensors --masks 1,2,3 --half
    """
    from dataclasses import replace

    from ..errors import UsageError
    from ..modelfile import SUFFIX
    from ..runtime.loading import DarknetOptions, load_model

    if not 2 <= len(files) <= 3:
        raise UsageError(f"{len(files)} files named, expected IN OUT or IN WEIGHTS OUT")
    *given, output = files
    if output.suffix.lower() != SUFFIX:
        raise UsageError(f"{output}: expected an output that ends in {SUFFIX}")
    if output.resolve() in {path.resolve() for path in given}:
        raise UsageError(f"{output}: is also an input, which is never changed; name another file")
    weights = given[1] if len(given) == 2 else None
    loaded = load_model(given[0], DarknetOptions(weights, names, masks, allow_extra))
    model = loaded.model
    if resize is not None:
        model = replace(model, preprocess=replace(model.preprocess, resize=resize))
    (model.half() if half else model).save(output)
    options.print_notes(loaded.notes)
    print(
        f"{output}: {len(model.spec.rows)} rows, {model.spec.nc} classes, {model.size_wh[0]}×{model.size_wh[1]}, "
        f"{output.stat().st_size / 1e6:.1f} MB"
    )
