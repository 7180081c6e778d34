"""Engines: one short file each behind one contract.

An engine takes pictures at network size and gives raw heads; thresholds, decoding and suppression are
`postprocess`'s. Calls from several threads at once are safe, and nothing is kept between them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError, Yolov3Error
from ...graph import Graph

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


# name → (module, class, the package it needs, the extra that brings it)
_ENGINES = {
    "ncnn": (".ncnn", "NcnnEngine", "ncnn", ""),
    "onnxruntime": (".onnxruntime", "OnnxRuntimeEngine", "onnxruntime", "onnx"),
}
ENGINES = tuple(_ENGINES)
DEFAULT_ENGINE = "ncnn"


def make_engine(name: str, graph: Graph, threads: int, *, few: bool = False) -> Engine:
    """Build an engine for a graph.

    Args:
        name: one of `ENGINES`.
        graph: from `lower`.
        threads: how many the engine may use, 1 or more.
        few: few pictures are coming: start soon rather than run fast.

    Raises:
        UsageError: no such engine.
        Yolov3Error: its package isn't installed.
    """
    if name not in _ENGINES:
        raise UsageError(f"engine {name!r} is not known, expected one of {', '.join(ENGINES)}")
    module, kind, package, extra = _ENGINES[name]
    try:
        build: Callable[[Graph, int, bool], Engine] = getattr(import_module(module, __name__), kind)
    except ImportError as error:
        wanted = f"yolov3[{extra}]" if extra else package
        raise Yolov3Error(f"engine {name}: {error.name or package} is not installed; pip install '{wanted}'") from None
    return build(graph, threads, few)
