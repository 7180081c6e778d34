"""Options that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

Weights = Annotated[Path | None, typer.Option(help="Weight file of a Darknet .cfg model.")]
Names = Annotated[Path | None, typer.Option(help="Class names, one a line (Darknet's .names).")]
Masks = Annotated[
    str | None, typer.Option(help="Anchor masks instead of the cfg's: 1,2,3 (smallest stride) or 3,4,5/1,2,3 (all).")
]
AllowExtra = Annotated[bool, typer.Option("--allow-extra", help="Accept weights with floats left over.")]
Size = Annotated[str | None, typer.Option(help="Network input: 416 or 640x384; a multiple of the stride.")]
Resize = Annotated[str | None, typer.Option(help="letterbox or stretch; by default the model's own.")]


def print_notes(notes: Iterable[str]) -> None:
    """Things worth knowing, on standard error."""
    for note in notes:
        print(f"yolov3: note: {note}", file=sys.stderr)
