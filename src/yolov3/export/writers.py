"""Writing exported networks: one short class a kind, each with its way to carry the metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..errors import Yolov3Error, said
from ..graph import Graph
from ..graph.mnn import emit_mnn
from ..graph.ncnn import emit_ncnn
from ..graph.signature import Signature
from ..modelfile import METADATA_KEY
from ..runtime.exported import sidecar

if TYPE_CHECKING:
    import onnx

Describe = Callable[[dict[str, str]], str]
"""From the sha256 of files that can't say it themselves, by suffix, to the text of the metadata."""


class Writer(Protocol):
    """A network ready to be written, with one metadata after another."""

    def save(self, path: Path, describe: Describe) -> None:
        """Write the file and its companions."""
        ...


class OnnxWriter:
    """ONNX: the metadata is an entry of `metadata_props`."""

    def __init__(self, network: onnx.ModelProto) -> None:
        self._network = network

    def save(self, path: Path, describe: Describe) -> None:
        import onnx

        del self._network.metadata_props[:]
        self._network.metadata_props.append(onnx.StringStringEntryProto(key=METADATA_KEY, value=describe({})))
        path.write_bytes(self._network.SerializeToString(deterministic=True))


class OpenvinoWriter:
    """OpenVINO IR, made of the ONNX by OpenVINO's own reader: the metadata is an entry of `rt_info`.

    With float16, weights are stored so and widened when they are loaded; all arithmetic stays in float32.
    """

    def __init__(self, network: onnx.ModelProto, half: bool) -> None:
        try:
            import openvino  # type: ignore[import-untyped]
        except ImportError:
            raise Yolov3Error("openvino is not installed; pip install 'yolov3[convert]'") from None
        self._model = openvino.Core().read_model(network.SerializeToString())
        self._half = half
        self._digests: dict[str, str] = {}

    def save(self, path: Path, describe: Describe) -> None:
        if not self._digests:
            # The .bin is the same whatever the metadata.
            self._write(path)
            self._digests = _digests([path.with_suffix(".bin")])
        self._model.set_rt_info(describe(self._digests), METADATA_KEY)
        self._write(path)

    def _write(self, path: Path) -> None:
        import openvino

        try:
            # save_model would make it float16 unless told not to.
            openvino.save_model(self._model, path, compress_to_fp16=self._half)
        except RuntimeError as error:  # a full disk, in its own words
            raise OSError(f"OpenVINO says: {said(error)}") from None


class NcnnWriter:
    """ncnn's .param and .bin, and the metadata in a JSON file beside them."""

    def __init__(self, graph: Graph, half: bool) -> None:
        self._graph = graph
        self._half = half

    def save(self, path: Path, describe: Describe) -> None:
        weights = path.with_suffix(".bin")
        if not path.exists():
            parameters, arrays = emit_ncnn(self._graph, half=self._half)
            path.write_text(parameters, encoding="ascii", newline="\n")
            with weights.open("wb") as file:
                for array in arrays:
                    file.write(array.tobytes())
        sidecar(path).write_text(describe(_digests([path, weights])), encoding="utf-8")


class MnnWriter:
    """MNN's file, and the metadata in a JSON file beside it."""

    def __init__(self, graph: Graph, signature: Signature) -> None:
        self._network = emit_mnn(graph, signature)

    def save(self, path: Path, describe: Describe) -> None:
        path.write_bytes(self._network)
        sidecar(path).write_text(describe(_digests([path])), encoding="utf-8")


def _digests(paths: list[Path]) -> dict[str, str]:
    return {path.suffix: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
