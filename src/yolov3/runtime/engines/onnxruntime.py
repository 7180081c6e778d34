"""ONNX Runtime on the CPU, from an ONNX model made in memory or an exported file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ...errors import ModelError, said
from ...graph import Graph
from ...graph.lowering import INPUT
from ...graph.onnx import emit_onnx
from ..compiled import load_compiled
from . import RawHeads, Use, network_input

if TYPE_CHECKING:
    from ..exported import Exported


class OnnxRuntimeEngine:
    """Runs a network with ONNX Runtime, a whole batch at a time."""

    def __init__(
        self,
        network: bytes | str,
        outputs: Sequence[str],
        scale: float | None,
        options: onnxruntime.SessionOptions,
        origin: str = "model",
    ) -> None:
        """Load a network.

        Args:
            network: a whole ONNX model, or its path.
            outputs: names of the outputs that are wanted.
            scale: what pixel values are multiplied by; None: it takes pictures as they are.
            options: from `_options`; any number of callers is well served.
            origin: the file, for messages.

        Raises:
            ModelError: ONNX Runtime refuses the network.
        """
        self._scale = scale
        self._outputs = list(outputs)
        self._origin = origin
        self._session = _open(network, options, origin)

    @classmethod
    def from_graph(cls, graph: Graph, use: Use) -> OnnxRuntimeEngine:
        """An engine for a graph, which ONNX Runtime optimises once; `use.few` changes nothing."""

        def write(path: Path) -> None:
            options = _options(use)
            options.optimized_model_filepath = str(path)
            _open(emit_onnx(graph).SerializeToString(), options, "model")

        def load(path: Path) -> OnnxRuntimeEngine:
            options = _options(use)
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            return cls(str(path), graph.outputs, graph.scale, options)

        def build() -> OnnxRuntimeEngine:
            return cls(emit_onnx(graph).SerializeToString(), graph.outputs, graph.scale, _options(use))

        return load_compiled(graph, "onnxruntime", ".onnx", write, load, build)

    @classmethod
    def from_file(cls, exported: Exported, use: Use) -> OnnxRuntimeEngine:
        """An engine for an exported network."""
        scale = None if exported.signature.uint8 else exported.preprocess.scale
        options = _options(use)
        if use.few:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        return cls(exported.data[0], exported.outputs, scale, options, exported.origin)

    def __call__(self, images: NDArray[np.uint8]) -> RawHeads:
        given = images if self._scale is None else network_input(images, self._scale)
        try:
            outputs: RawHeads = self._session.run(self._outputs, {INPUT: given})
        except Exception as error:
            raise ModelError(f"{self._origin}: ONNX Runtime can't run it ({said(error)})") from None
        return outputs


def _options(use: Use) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = use.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors are raised, too
    return options


def _open(network: bytes | str, options: onnxruntime.SessionOptions, origin: str) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # its errors have no common base
        raise ModelError(f"{origin}: ONNX Runtime refuses it ({said(error)})") from None
