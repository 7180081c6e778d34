"""Engines: one short file each behind one contract.

An engine takes pictures at network size and gives raw heads; thresholds, decoding and suppression are
`postprocess`'s. Calls from several threads at once are safe, and nothing is kept between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError, Yolov3Error
from ...graph import Graph

if TYPE_CHECKING:
    from ..exported import Exported

RawHeads = list[NDArray[np.float32]]


class Engine(Protocol):
    """What every engine does."""

    def __call__(self, images: NDArray[np.uint8]) -> RawHeads:
        """Run the network.

        Args:
            images: (N, H, W, 3) RGB uint8, C-contiguous; H and W are multiples of the network's largest stride.

        Returns:
            For each head, in Detect's order, (N, anchors · (5 + nc), H / stride, W / stride) float32 logits.
        """
        ...


@dataclass(frozen=True, slots=True)
class Use:
    """How an engine will be used.

    Attributes:
        threads: how many a call may use, 1 or more.
        few: few pictures are coming: start soon rather than run fast.
        callers: so many calls will come at once; more are right too, but may wait for each other.
        precision: one of `PRECISIONS`, in which the network computes.
    """

    threads: int
    few: bool = False
    callers: int = 1
    precision: str = "float32"


# name → (module, class, the package it needs, the extra that brings it)
_ENGINES = {
    "ncnn": (".ncnn", "NcnnEngine", "ncnn", ""),
    "onnxruntime": (".onnxruntime", "OnnxRuntimeEngine", "onnxruntime", "onnx"),
    "openvino": (".openvino", "OpenvinoEngine", "openvino", "convert"),
    "mnn": (".mnn", "MnnEngine", "MNN", "mnn"),
}
ENGINES = tuple(_ENGINES)
DEFAULT_ENGINE = "ncnn"
PRECISIONS = ("float32", "bfloat16")
BFLOAT16_ENGINE = "openvino"
"""The one that computes in bfloat16, too."""

# kind of exported file → the engines that run it, its own first
FILE_ENGINES = {
    "onnx": ("onnxruntime", "openvino"),
    "openvino": ("openvino",),
    "ncnn": ("ncnn",),
    "mnn": ("mnn",),
}


def installed_engines() -> tuple[str, ...]:
    """Those of `ENGINES` whose package is here."""
    return tuple(name for name, (_, _, package, _) in _ENGINES.items() if find_spec(package) is not None)


def package_of(name: str) -> str:
    """The package that an engine of `ENGINES` needs."""
    return _ENGINES[name][2]


def make_engine(
    name: str, graph: Graph, threads: int, *, few: bool = False, callers: int = 1, precision: str = "float32"
) -> Engine:
    """Build an engine for a graph.

    Args:
        name: one of `ENGINES`.
        graph: from `lower`.
        threads, few, callers, precision: see `Use`.

    Raises:
        UsageError: no such engine, or it doesn't compute in this precision.
        Yolov3Error: its package isn't installed.
    """
    use = Use(threads, few, callers, precision)
    build: Callable[[Graph, Use], Engine] = _engine(name, use).from_graph
    return build(graph, use)


def open_engine(
    name: str, exported: Exported, threads: int, *, few: bool = False, callers: int = 1, precision: str = "float32"
) -> Engine:
    """Build an engine for an exported network; it gives the outputs that the network's signature declares.

    Args:
        name: one of `ENGINES`.
        exported: from `read_exported`.
        threads, few, callers, precision: see `Use`.

    Raises:
        UsageError: this engine doesn't run that kind of file, or doesn't compute in this precision.
        Yolov3Error: its package isn't installed.
    """
    able = FILE_ENGINES[exported.kind]
    if name not in able:
        raise UsageError(f"{exported.origin}: engine {name} doesn't run such a file, expected {' or '.join(able)}")
    use = Use(threads, few, callers, precision)
    build: Callable[[Exported, Use], Engine] = _engine(name, use).from_file
    engine = build(exported, use)
    return engine if exported.signature.batch is None else FixedBatch(engine, exported.signature.batch)


def _engine(name: str, use: Use) -> Any:
    """An engine's class."""
    if name not in _ENGINES:
        raise UsageError(f"engine {name!r} is not known, expected one of {', '.join(ENGINES)}")
    if use.precision not in PRECISIONS:
        raise UsageError(f"precision {use.precision!r} is not known, expected {' or '.join(PRECISIONS)}")
    if use.precision != "float32" and name != BFLOAT16_ENGINE:
        raise UsageError(f"engine {name} computes in float32 only; {use.precision} goes with {BFLOAT16_ENGINE}")
    module, kind, package, extra = _ENGINES[name]
    try:
        return getattr(import_module(module, __name__), kind)
    except ImportError as error:
        wanted = f"yolov3[{extra}]" if extra else package
        raise Yolov3Error(f"engine {name}: {error.name or package} is not installed; pip install '{wanted}'") from None


class FixedBatch:
    """Any number of pictures through a network that takes a fixed number at once."""

    def __init__(self, engine: Engine, batch: int) -> None:
        self._engine = engine
        self._batch = batch

    def __call__(self, images: NDArray[np.uint8]) -> RawHeads:
        """As `Engine`; the last pictures are joined by grey ones."""
        missing = -len(images) % self._batch
        filled = np.concatenate([images, np.full((missing, *images.shape[1:]), 127, np.uint8)]) if missing else images
        parts = [self._engine(filled[start : start + self._batch]) for start in range(0, len(filled), self._batch)]
        return [np.concatenate(outputs)[: len(images)] for outputs in zip(*parts, strict=True)]


def network_input(images: NDArray[np.uint8], scale: float) -> NDArray[np.float32]:
    """(N, H, W, 3) uint8 → (N, 3, H, W) float32, scaled."""
    return np.multiply(images.transpose(0, 3, 1, 2), np.float32(scale), dtype=np.float32, order="C")
