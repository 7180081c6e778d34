"""`yolov3 show`: a network row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from ..spec import Layer, Spec, Summary

OTHER_SIDE = 416  # of a YAML file, which doesn't say its input size


@click.command()
@click.argument("model")
@options.size
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
@click.option("--picture", metavar="FILE.svg", help="Draw the network too: rows, scales, anchors.")
def show(model: str, size: str | None, as_json: bool, picture: str | None) -> None:
    """Show a network row by row.

    Each row's shapes, parameters and multiply-adds, and the totals.

    MODEL is yolov3, yolov3-spp or yolov3-tiny (the architectures), or a .yaml, .cfg or .safetensors file.

    Example: yolov3 show yolov3-spp --size 608 --picture yolov3-spp.svg
    """
    from ..errors import UsageError
    from ..files import write_atomic
    from ..spec import parse_size, summarise
    from ..spec.picture import draw_network

    if picture is not None and Path(picture).suffix.lower() != ".svg":
        raise UsageError(f"--picture {picture}: expected a name that ends in .svg")
    spec, own_size = load_any_spec(model)
    size_wh = own_size if size is None else parse_size(size, spec)
    summary = summarise(spec, size_wh)
    if picture is not None:
        write_atomic(picture, draw_network(spec, size_wh, Path(model).name))
    if as_json:
        print(json.dumps(summary.to_dict()))
    else:
        print_table(spec, summary, size_wh)


def load_any_spec(reference: str) -> tuple[Spec, tuple[int, int]]:
    """A Spec and its own input size (width, height), from whatever names a network."""
    from ..darknet import load_cfg
    from ..errors import UsageError
    from ..modelfile import SUFFIX, Model
    from ..spec import FAMILY, load_spec
    from ..spec.shapes import nearest_side

    suffix = Path(reference).suffix.lower()
    if suffix == ".cfg":
        network = load_cfg(reference)
        return network.spec, network.size_wh
    if suffix == SUFFIX:
        model = Model.load(reference)
        return model.spec, model.size_wh
    if suffix not in ("", ".yaml", ".yml"):
        raise UsageError(f"{reference}: expected {', '.join(FAMILY)}, or a file that ends in .yaml, .cfg or {SUFFIX}")
    spec = load_spec(reference)
    side = nearest_side(spec, FAMILY.get(Path(reference).stem, OTHER_SIDE))
    return spec, (side, side)


def print_table(spec: Spec, summary: Summary, size_wh: tuple[int, int]) -> None:
    """The rows as text, and the totals."""
    rows = [("row", "from", "n", "module", "args", "input", "output", "parameters", "multiply-adds")]
    rows += [_cells(layer) for layer in summary.layers]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:7], widths[:7], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[7:], widths[7:], strict=True)]
        print("  ".join([*left, *right]).rstrip())
    anchors = [spec.anchors.of_head(head) for head in range(len(spec.anchors.masks))]
    print()
    for head, shapes in zip(spec.network.heads, anchors, strict=True):
        print(f"anchors at stride {head.stride}: " + "  ".join(f"{w:g}×{h:g}" for w, h in shapes))
    print(
        f"{spec.nc} classes, {len(summary.layers)} rows at {size_wh[0]}×{size_wh[1]}: "
        f"{summary.parameters:,} parameters, {2 * summary.multiply_adds / 1e9:.3f} billion operations "
        f"(two a multiply-add)"
    )


def _cells(layer: Layer) -> tuple[str, str, str, str, str, str, str, str, str]:
    from ..spec import row_text

    row = layer.row
    args = row_text(row).split(row.module, 1)[1].removeprefix(", ").removesuffix("]")
    from_ = str(list(row.from_)) if isinstance(row.from_, tuple) else str(row.from_)
    return (
        str(row.index),
        from_,
        str(row.number),
        row.module,
        args,
        _shapes(layer.inputs),
        _shapes(layer.outputs),
        f"{layer.parameters:,}",
        f"{layer.multiply_adds:,}",
    )


def _shapes(shapes: list[list[int]]) -> str:
    return " ".join("×".join(map(str, shape)) for shape in shapes)
