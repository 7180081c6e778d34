"""`yolov3 convert`: from one kind of model to another, with a proof at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import exporting, options

if TYPE_CHECKING:
    from ..export import Written
    from ..modelfile import Model


@click.command()
@click.argument("files", nargs=-1, required=True, type=options.FilePath, metavar="IN [WEIGHTS] OUT")
@click.option("--half", is_flag=True, help="Store convolution weights as float16: half the file.")
@click.option(
    "--dialect",
    default="alexeyab",
    show_default=True,
    metavar="NAME",
    help="Who shall read a .cfg: alexeyab (and hank-ai), pjreddie, or opencv.",
)
@options.together(options.names, options.masks, options.size, options.resize, options.allow_extra)
@exporting.given_options
def convert(
    files: tuple[Path, ...],
    half: bool,
    dialect: str,
    names: Path | None,
    masks: str | None,
    size: str | None,
    resize: str | None,
    allow_extra: bool,
    **given: Any,
) -> None:
    """Convert a model: Darknet and PyTorch checkpoints to a model file, and any model to Darknet, ONNX and others.

    IN is a Darknet .cfg followed by its WEIGHTS, a PyTorch checkpoint (.pt, .pth), a model file (.safetensors), or a
    model's name. A checkpoint that holds weights only stands as WEIGHTS behind a .cfg, a .yaml or a family name.

    OUT ends in .safetensors (a model file, which holds everything that using it takes), .cfg (Darknet, with .weights
    and .names beside it), .weights (that alone), or is an export: .onnx, .xml (OpenVINO, with .bin), .param (ncnn, with
    .bin and .param.json) or .mnn (with .mnn.json). What was written is compared with the model before it is put there.

    Example: yolov3 convert yolov3-tiny.cfg yolov3-tiny.weights tiny.safetensors --masks 1,2,3 --half
    """
    from ..errors import UsageError
    from ..runtime.loading import DarknetOptions, load_model

    if not 2 <= len(files) <= 3:
        raise UsageError(f"{len(files)} files named, expected IN OUT or IN WEIGHTS OUT")
    *inputs, output = files
    first = inputs[0].suffix.lower()
    if first == ".weights" or (first == ".cfg" and len(inputs) == 1):
        raise UsageError(f"{inputs[0]}: expected a Darknet cfg, its weights, then the output: CFG WEIGHTS OUT")
    outputs = _outputs(output, inputs)
    if half and output.suffix.lower() in (".cfg", ".weights"):
        raise UsageError(f"--half goes with a .safetensors or an export as OUT, not with {output}")
    weights = inputs[1] if len(inputs) == 2 else None
    loaded = load_model(inputs[0], DarknetOptions(weights, names, masks, allow_extra))
    model = _adjusted(loaded.model, size, resize)
    written, notes = _save(model, output, half, dialect, given)
    options.print_notes([*loaded.notes, *notes])
    for line in [describe(outputs, model), *exporting.proof_lines(written, model)]:
        print(line)


def _outputs(output: Path, given: list[Path]) -> list[Path]:
    """The files that will be written; refused are an unknown kind, and to write over an input."""
    from ..darknet import darknet_paths
    from ..errors import UsageError
    from ..modelfile import SUFFIX
    from ..runtime.exported import KINDS, companions

    suffix = output.suffix.lower()
    if suffix in (SUFFIX, *KINDS):
        outputs = [output, *companions(output)]
    elif suffix in (".cfg", ".weights"):
        outputs = darknet_paths(output)
    else:
        raise UsageError(f"{output}: expected an output that ends in {', '.join([SUFFIX, '.cfg', '.weights', *KINDS])}")
    inputs = {path.resolve() for path in given}
    for path in outputs:
        if path.resolve() in inputs:
            raise UsageError(f"{path}: is also an input, which is never changed; name another output")
    return outputs


def _adjusted(model: Model, size: str | None, resize: str | None) -> Model:
    """The model with another input size and another way to fit pictures into it."""
    from dataclasses import replace

    from ..spec import parse_size

    if size is not None:
        model = replace(model, size_wh=parse_size(size, model.spec))
    if resize is not None:
        model = replace(model, preprocess=replace(model.preprocess, resize=resize))
    return model


def _save(model: Model, output: Path, half: bool, dialect: str, given: dict[str, Any]) -> tuple[Written, list[str]]:
    """Write and prove the output; gives what there is to say about it."""
    from ..export import export_model, save_model
    from ..runtime.exported import exported_kind

    dataset = exporting.load_dataset(given)
    if exported_kind(output) is None:
        exporting.refuse_export_options(output, given)
        return save_model(
            model, output, half=half, dialect=dialect, dataset=dataset, split=given["split"], progress=exporting.tell
        )
    signature = exporting.make_signature(output, model, half, given)
    written = export_model(model, output, signature, dataset=dataset, split=given["split"], progress=exporting.tell)
    return written, []


def describe(paths: list[Path], model: Model) -> str:
    """One line about the files that were made of a model."""
    size = sum(path.stat().st_size for path in paths)
    return (
        f"{', '.join(map(str, paths))}: {len(model.spec.rows)} rows, {model.spec.nc} classes, "
        f"{model.size_wh[0]}×{model.size_wh[1]}, {size / 1e6:.1f} MB"
    )
