"""Options that several commands share, and how notes are printed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import printable

FilePath = click.Path(path_type=Path)
Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Command], Command]

model = click.option(
    "--model",
    default="yolov3-tiny",
    show_default=True,
    metavar="NAME|FILE",
    help="A name, a .safetensors, .pt or Darknet .cfg, or an exported .onnx, .xml, .param, .mnn.",
)
weights = click.option("--weights", type=FilePath, help="Weight file of a Darknet .cfg model.")
names = click.option("--names", type=FilePath, help="Class names, one a line (Darknet's .names).")
masks = click.option(
    "--masks", metavar="LIST", help="Anchor masks instead of the cfg's: 1,2,3 (smallest stride) or 3,4,5/1,2,3 (all)."
)
allow_extra = click.option("--allow-extra", is_flag=True, help="Accept weights with floats left over.")
size = click.option(
    "--size", metavar="N|WxH", help="Network input: 416 or 640x384, a multiple of the stride; default the model's own."
)
resize = click.option(
    "--resize", type=click.Choice(["letterbox", "stretch"]), help="How pictures fit the input; default the model's own."
)

engine = click.option(
    "--engine",
    help="ncnn, onnxruntime, openvino or mnn (extras but ncnn); default ncnn, for an exported network its own.",
)

precision = click.option(
    "--precision",
    default="float32",
    show_default=True,
    help="float32 or bfloat16: with openvino, much faster where the processor has units for it.",
)


def together(*options: Option[Any]) -> Option[Any]:
    """Several options as one decorator, in their order."""

    def decorate(command: Any) -> Any:
        return reduce(lambda decorated, option: option(decorated), reversed(options), command)

    return decorate


darknet = together(weights, names, masks, allow_extra)


def print_notes(notes: Iterable[str]) -> None:
    """Things worth knowing, on standard error."""
    for note in notes:
        print(f"yolov3: note: {printable(note)}", file=sys.stderr)


def counted(count: int, word: str) -> str:
    """A number with its noun: "1 picture", "1,200 pictures"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
