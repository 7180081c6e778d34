"""Graph → MNN, through the emitted ONNX and MNN's own converter."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from ..errors import Yolov3Error
from .lowering import Graph
from .onnx import emit_onnx
from .signature import RAW, Signature


def emit_mnn(graph: Graph, signature: Signature = RAW) -> bytes:
    """The network for MNN (3.x), as the bytes of a `.mnn` file.

    The converter is called as MNN's library offers it. The Python module `MNN.tools`, which wraps it, installs a
    package and reports each use over the network; it is never imported.

    Args:
        graph: from `lower`.
        signature: what it takes and gives; "fp16" stores weights as float16. "detections" isn't possible.

    Raises:
        Yolov3Error: MNN isn't installed, or its converter failed.
    """
    try:
        with quiet_output():
            converter = import_module("_tools")
    except ImportError:
        raise Yolov3Error("MNN is not installed; pip install 'yolov3[mnn]'") from None
    network = emit_onnx(graph, None, replace(signature, precision="fp32"))
    with tempfile.TemporaryDirectory() as folder, quiet_output():
        source, target = Path(folder, "network.onnx"), Path(folder, "network.mnn")
        source.write_bytes(network.SerializeToString())
        words = ["mnnconvert", "-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target)]
        converter.mnnconvert(words + (["--fp16"] if signature.precision == "fp16" else []))
        if not target.is_file():
            raise Yolov3Error(f"{graph.nodes[0].model.origin}: MNN's converter failed")
        return target.read_bytes()


@contextmanager
def quiet_output() -> Iterator[None]:
    """While inside, what MNN's library writes to the process's standard output is dropped."""
    sys.stdout.flush()
    kept = os.dup(1)
    void = os.open(os.devnull, os.O_WRONLY)
    os.dup2(void, 1)
    os.close(void)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
