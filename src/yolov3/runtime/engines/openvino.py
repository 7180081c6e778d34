"""OpenVINO on the CPU, from an ONNX model made in memory or an exported file; in float32 or bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from queue import LifoQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino  # type: ignore[import-untyped]
from numpy.typing import NDArray

from ...errors import ModelError, said
from ...graph import Graph
from ...graph.lowering import INPUT
from ...graph.onnx import emit_onnx
from ..compiled import load_compiled
from . import RawHeads, Use, network_input

if TYPE_CHECKING:
    from ..exported import Exported

# The binding's first look at a NumPy array deadlocks when two threads take it at once (2026.4): it is had here.
openvino.Tensor(np.zeros(1, np.float32)).data  # noqa: B018


class OpenvinoEngine:
    """Runs a network with OpenVINO, a whole batch at a time.

    Each caller has a request, whose memory is kept from call to call; more calls wait.
    """

    def __init__(
        self,
        network: openvino.CompiledModel,
        outputs: Sequence[str],
        scale: float | None,
        use: Use,
        origin: str = "model",
    ) -> None:
        """Make its requests.

        Args:
            network: compiled with the options of `use`.
            outputs: names of the outputs that are wanted.
            scale: what pixel values are multiplied by; None: it takes pictures as they are.
            use: each caller has a request and a stream of its own.
            origin: the file, for messages.
        """
        self._scale = scale
        self._outputs = list(outputs)
        self._origin = origin
        self._free: LifoQueue[Any] = LifoQueue()
        for _ in range(use.callers):
            self._free.put(network.create_infer_request())

    @classmethod
    def from_graph(cls, graph: Graph, use: Use) -> OpenvinoEngine:
        """An engine for a graph, which OpenVINO compiles once; `use.few` changes nothing."""
        options = _options(use)

        def compiled() -> openvino.CompiledModel:
            return _compile([emit_onnx(graph).SerializeToString()], options, "model")

        def write(path: Path) -> None:
            blob = BytesIO()
            try:
                compiled().export_model(blob)
            except RuntimeError as error:
                raise ModelError(f"model: OpenVINO can't keep it ({said(error)})") from None
            path.write_bytes(blob.getbuffer())

        def load(path: Path) -> OpenvinoEngine:
            try:
                network = openvino.Core().import_model(path.read_bytes(), "CPU", options)
            except (RuntimeError, OSError) as error:
                raise ModelError(f"{path}: OpenVINO refuses it ({said(error)})") from None
            return cls(network, graph.outputs, graph.scale, use)

        def build() -> OpenvinoEngine:
            return cls(compiled(), graph.outputs, graph.scale, use)

        return load_compiled(graph, "openvino", f".{use.precision}.blob", write, load, build)

    @classmethod
    def from_file(cls, exported: Exported, use: Use) -> OpenvinoEngine:
        """An engine for an exported network; `use.few` changes nothing.

        Raises:
            ModelError: OpenVINO refuses the network.
        """
        scale = None if exported.signature.uint8 else exported.preprocess.scale
        network = _compile(exported.data, _options(use), exported.origin)
        return cls(network, exported.outputs, scale, use, exported.origin)

    def __call__(self, images: NDArray[np.uint8]) -> RawHeads:
        given = images if self._scale is None else network_input(images, self._scale)
        request = self._free.get()
        try:
            request.infer({INPUT: given}, share_inputs=True)
            return [request.get_tensor(name).data.copy() for name in self._outputs]
        except RuntimeError as error:
            raise ModelError(f"{self._origin}: OpenVINO can't run it ({said(error)})") from None
        finally:
            self._free.put(request)


def _options(use: Use) -> dict[str, Any]:
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[use.precision],
        "INFERENCE_NUM_THREADS": use.threads * use.callers,
    }
    return options | ({"NUM_STREAMS": use.callers} if use.callers > 1 else {})


def _compile(network: Sequence[bytes], options: dict[str, Any], origin: str) -> openvino.CompiledModel:
    """A network that is a whole ONNX model, or an IR's .xml and .bin."""
    core = openvino.Core()
    try:
        return core.compile_model(core.read_model(*network), "CPU", options)
    except RuntimeError as error:
        raise ModelError(f"{origin}: OpenVINO refuses it ({said(error)})") from None
