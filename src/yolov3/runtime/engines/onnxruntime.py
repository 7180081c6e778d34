"""ONNX Runtime on the CPU, from an ONNX model made in memory or an exported file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ...errors import ModelError, said
from ...graph import Graph
from ...graph.lowering import INPUT
from ...graph.onnx import emit_onnx
from . import RawHeads, Use, network_input

if TYPE_CHECKING:
    from ..exported import Exported


class OnnxRuntimeEngine:
    """Runs a network with ONNX Runtime, a whole batch at a time."""

    def __init__(
        self,
        network: bytes,
        outputs: Sequence[str],
        scale: float | None,
        use: Use,
        origin: str = "model",
    ) -> None:
        """Load a network.

        Args:
            network: a whole ONNX model.
            outputs: names of the outputs that are wanted.
            scale: what pixel values are multiplied by; None: it takes pictures as they are.
            use: any number of callers is well served.
            origin: the file, for messages.

        Raises:
            ModelError: ONNX Runtime refuses the network.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = use.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its errors are raised, too
        if use.few:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        self._scale = scale
        self._outputs = list(outputs)
        self._origin = origin
        try:
            self._session = onnxruntime.InferenceSession(
                network, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # its errors have no common base
            raise ModelError(f"{origin}: ONNX Runtime refuses it ({said(error)})") from None

    @classmethod
    def from_graph(cls, graph: Graph, use: Use) -> OnnxRuntimeEngine:
        """An engine for a graph."""
        return cls(emit_onnx(graph).SerializeToString(), graph.outputs, graph.scale, use)

    @classmethod
    def from_file(cls, exported: Exported, use: Use) -> OnnxRuntimeEngine:
        """An engine for an exported network."""
        scale = None if exported.signature.uint8 else exported.preprocess.scale
        return cls(exported.data[0], exported.outputs, scale, use, exported.origin)

    def __call__(self, images: NDArray[np.uint8]) -> RawHeads:
        given = images if self._scale is None else network_input(images, self._scale)
        try:
            outputs: RawHeads = self._session.run(self._outputs, {INPUT: given})
        except Exception as error:
            raise ModelError(f"{self._origin}: ONNX Runtime can't run it ({said(error)})") from None
        return outputs
