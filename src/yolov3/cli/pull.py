"""`yolov3 pull`: get official weights."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import click

from . import options


@click.command()
@click.argument("name")
@click.option("--to", type=options.FilePath, help="Folder or .safetensors file; default the user's cache folder.")
def pull(name: str, to: Path | None) -> None:
    """Download official weights and make a model file of them.

    NAME is yolov3, yolov3-spp or yolov3-tiny. A download that was cut is continued; its sha256 is checked. Pulled into
    the cache folder, NAME works wherever a model is asked for.

    Example: yolov3 pull yolov3-spp
    """
    from ..modelfile import Model
    from ..zoo.pull import find_official, pull_target
    from ..zoo.pull import pull as pull_weights
    from .convert import describe

    target = pull_target(name, to)
    if target.is_file():
        print(f"{target}: there already")
        return
    size = find_official(name).size
    with ExitStack() as stack:
        progress = None
        if sys.stderr.isatty():
            bar = stack.enter_context(click.progressbar(length=size, label=name, file=sys.stderr))
            progress = lambda done, total: bar.update(max(done - bar.pos, 0))  # noqa: E731
        path = pull_weights(name, to, progress=progress)
    print(describe([path], Model.load(path)))
