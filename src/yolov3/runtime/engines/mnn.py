"""MNN on the CPU, from a graph or an exported file; float32 with Winograd convolutions."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from queue import LifoQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError, said
from ...graph import Graph
from ...graph.lowering import INPUT
from ...graph.mnn import emit_mnn, quiet_output
from ..compiled import load_compiled
from . import RawHeads, Use, network_input

with quiet_output():  # its library greets on standard output
    import MNN  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from ..exported import Exported


class MnnEngine:
    """Runs a network with MNN, a whole batch at a time.

    MNN's interpreter does one thing at a time, so each caller has one of its own, weights and all; more calls wait.
    """

    def __init__(
        self, network: Path, outputs: Sequence[str], scale: float | None, use: Use, origin: str = "model"
    ) -> None:
        """Load a network.

        Args:
            network: a whole MNN model; the file isn't needed later.
            outputs: names of the outputs that are wanted.
            scale: what pixel values are multiplied by; None: it takes pictures as they are.
            use: one interpreter for each caller.
            origin: the file, for messages.

        Raises:
            ModelError: MNN refuses the network.
        """
        self._scale = scale
        self._free: LifoQueue[_Session] = LifoQueue()
        with quiet_output():
            try:
                for _ in range(use.callers):
                    self._free.put(_Session(network, outputs, use.threads))
            except Exception as error:  # its own are plain Exceptions
                raise ModelError(f"{origin}: MNN refuses it ({said(error)})") from None

    @classmethod
    def from_graph(cls, graph: Graph, use: Use) -> MnnEngine:
        """An engine for a graph, which MNN's converter writes once; `use.few` changes nothing."""

        def write(path: Path) -> None:
            path.write_bytes(emit_mnn(graph))

        def load(path: Path) -> MnnEngine:
            return cls(path, graph.outputs, graph.scale, use)

        def build() -> MnnEngine:
            return cls._from_bytes(emit_mnn(graph), graph.outputs, graph.scale, use)

        return load_compiled(graph, "MNN", ".mnn", write, load, build)

    @classmethod
    def from_file(cls, exported: Exported, use: Use) -> MnnEngine:
        """An engine for an exported network; `use.few` changes nothing."""
        scale = None if exported.signature.uint8 else exported.preprocess.scale
        return cls._from_bytes(exported.data[0], exported.outputs, scale, use, exported.origin)

    @classmethod
    def _from_bytes(cls, network: bytes, *arguments: Any) -> MnnEngine:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "network.mnn")
            path.write_bytes(network)
            return cls(path, *arguments)

    def __call__(self, images: NDArray[np.uint8]) -> RawHeads:
        given = images if self._scale is None else network_input(images, self._scale)
        session = self._free.get()
        try:
            return session(given)
        finally:
            self._free.put(session)


class _Session:
    """One interpreter."""

    def __init__(self, path: Path, outputs: Sequence[str], threads: int) -> None:
        self._outputs = outputs
        self._shape: tuple[int, ...] = ()
        self._network = MNN.Interpreter(str(path))
        self._session = self._network.createSession({"backend": "CPU", "precision": "high", "numThread": threads})
        self._input = self._network.getSessionInput(self._session, INPUT)

    def __call__(self, given: NDArray[Any]) -> RawHeads:
        if given.shape != self._shape:
            self._network.resizeTensor(self._input, given.shape)
            self._network.resizeSession(self._session)
            self._shape = given.shape
        self._input.copyFrom(_tensor(given))
        self._network.runSession(self._session)
        return [self._output(name) for name in self._outputs]

    def _output(self, name: str) -> NDArray[Any]:
        found = self._network.getSessionOutput(self._session, name)
        host = _tensor(np.zeros(found.getShape(), np.float32))
        found.copyToHostTensor(host)
        return np.array(host.getNumpyData(), np.float32).reshape(found.getShape())


def _tensor(array: NDArray[Any]) -> Any:
    kind = MNN.Halide_Type_Uint8 if array.dtype == np.uint8 else MNN.Halide_Type_Float
    return MNN.Tensor(array.shape, kind, np.ascontiguousarray(array), MNN.Tensor_DimensionType_Caffe)
