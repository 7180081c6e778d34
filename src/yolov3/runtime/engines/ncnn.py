"""ncnn: the default engine, float32 with Winograd convolutions."""

from __future__ import annotations

import ncnn
import numpy as np
from numpy.typing import NDArray

from ...errors import Yolov3Error
from ...graph import Graph
from ...graph.lowering import INPUT
from ...graph.ncnn import emit_ncnn
from . import RawHeads


class NcnnEngine:
    """Runs a graph with ncnn, a picture at a time.

    A `Net` may be read by many threads at once; each call has an extractor of its own.
    """

    def __init__(self, graph: Graph, threads: int) -> None:
        parameters, weights = emit_ncnn(graph)
        self._outputs = graph.outputs
        self._scale = graph.scale
        self._net = ncnn.Net()
        option = self._net.opt
        option.num_threads = threads
        option.lightmode = True
        # Exactness first: no half precision anywhere.
        for half in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed"):
            setattr(option, f"use_{half}", False)
        self._weights = weights  # ncnn reads from these bytes for as long as the net lives
        if self._net.load_param_mem(parameters) != 0:
            raise Yolov3Error("ncnn refused the network")
        self._net.load_model_mem(weights)

    def __call__(self, images: NDArray[np.uint8]) -> RawHeads:
        per_image = [self._run(image) for image in images]
        return [np.stack(heads) for heads in zip(*per_image, strict=True)]

    def _run(self, image: NDArray[np.uint8]) -> RawHeads:
        height, width = image.shape[:2]
        pixels = ncnn.Mat.from_pixels(image, ncnn.Mat.PixelType.PIXEL_RGB, width, height)
        pixels.substract_mean_normalize([], [self._scale] * 3)
        extractor = self._net.create_extractor()
        extractor.input(INPUT, pixels)
        heads = []
        for name in self._outputs:
            status, blob = extractor.extract(name)
            if status != 0:
                raise Yolov3Error(f"ncnn could not run the network at {width}×{height} (out of memory?)")
            heads.append(np.array(blob))
        return heads
