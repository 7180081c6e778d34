"""ONNX Runtime on the CPU, from an ONNX model made in memory."""

from __future__ import annotations

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ...graph import Graph
from ...graph.lowering import INPUT
from ...graph.onnx import emit_onnx
from . import RawHeads


class OnnxRuntimeEngine:
    """Runs a graph with ONNX Runtime, a whole batch at a time."""

    def __init__(self, graph: Graph, threads: int, few: bool) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if few:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        self._scale = np.float32(graph.scale)
        self._outputs = list(graph.outputs)
        self._session = onnxruntime.InferenceSession(
            emit_onnx(graph).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, images: NDArray[np.uint8]) -> RawHeads:
        # (N, H, W, 3) → (N, 3, H, W)
        scaled = np.multiply(images.transpose(0, 3, 1, 2), self._scale, dtype=np.float32, order="C")
        heads: RawHeads = self._session.run(self._outputs, {INPUT: scaled})
        return heads
