"""Networks as engines compiled them, kept in the user's cache folder for the next start.

What costs time is writing a network for an engine (MNN converts for seconds) and what the engine makes of it; ncnn
takes the weights as they are (docs/decisions/013-compiled-networks.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from .. import __version__
from ..errors import ModelError, Yolov3Error
from ..files import atomic_path
from ..graph import Graph, lowering
from ..machine import processor_identity
from ..zoo import cache_folder

MOST_BYTES = 2 << 30
"""When all kept networks are larger together, those that were used longest ago go."""

Engine = TypeVar("Engine")


def load_compiled(
    graph: Graph,
    package: str,
    suffix: str,
    write: Callable[[Path], None],
    load: Callable[[Path], Engine],
    build: Callable[[], Engine],
) -> Engine:
    """An engine from the network that was kept, or else from one that is made, and kept where that is possible.

    A kept one is for this network, processor and versions; how many threads use it makes no difference.

    Args:
        graph: the network.
        package: the engine's.
        suffix: of the file.
        write: makes the file.
        load: makes the engine from it; it raises ModelError for a damaged one, which is then made anew.
        build: makes the engine without it, where there is no room, no right to write, or the engine can't keep this.
    """
    path = cache_folder() / "compiled" / (_key(graph, package) + suffix)
    if path.is_file():
        with suppress(ModelError):
            engine = load(path)
            with suppress(OSError):
                os.utime(path)  # it was used
            return engine
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            write(temporary)
        _drop_old(path)
        return load(path)
    except (OSError, Yolov3Error):  # what is wrong with the network itself shows again
        return build()


def _key(graph: Graph, package: str) -> str:
    import hashlib

    writers = hashlib.sha256()
    for source in sorted(Path(lowering.__file__).parent.glob("*.py")):
        writers.update(source.read_bytes())
    about = {
        "machine": processor_identity(),
        "versions": {"yolov3": __version__, package: package_version(package)},
        "writers": writers.hexdigest(),  # a version stays the same while it is worked on
        "model": graph.nodes[0].model.digest,
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:40]


def _drop_old(newest: Path) -> None:
    """Remove what was used longest ago until the rest is small enough."""
    with suppress(OSError):
        others = [(path.stat().st_mtime, path.stat().st_size, path) for path in newest.parent.iterdir()]
        room = MOST_BYTES - newest.stat().st_size
        for _, size, path in sorted((each for each in others if each[2] != newest), reverse=True):
            room -= size
            if room < 0:
                path.unlink()


def package_version(package: str) -> str | None:
    """The version of an installed package."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    try:
        return version(package)
    except PackageNotFoundError:
        return None
