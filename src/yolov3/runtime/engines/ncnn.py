"""ncnn: the default engine, float32 with Winograd convolutions."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import ncnn
import numpy as np
from numpy.typing import NDArray

from ...errors import Yolov3Error
from ...graph import Graph
from ...graph.lowering import INPUT
from ...graph.ncnn import emit_ncnn
from . import RawHeads, Use

if TYPE_CHECKING:
    from ..exported import Exported

SMALL = 16_000_000
"""Networks of so many weights are small: yolov3-tiny has 9 million, yolov3 62."""


class NcnnEngine:
    """Runs a graph with ncnn, a picture at a time.

    A `Net` may be read by many threads at once; each call has an extractor of its own.
    """

    def __init__(
        self,
        network: tuple[str, Iterator[NDArray[Any]]],
        weight_count: int,
        outputs: Sequence[str],
        scale: float,
        use: Use,
    ) -> None:
        """Load a network.

        Args:
            network: param text and the arrays of the bin, as `emit_ncnn` gives them.
            weight_count: how many numbers the bin has, about.
            outputs: names of the blobs that are wanted.
            scale: what pixel values are multiplied by.
            use: any number of callers is well served.
        """
        parameters, weights = network
        self._outputs = outputs
        self._scale = scale
        self._net = ncnn.Net()
        option = self._net.opt
        option.num_threads = use.threads
        option.lightmode = True
        # Winograd's weights take time and memory to prepare, which pays from about five pictures on.
        option.use_winograd_convolution = not use.few
        # Tiles of 4×4 are as fast as those of 6×6 that ncnn would take for few channels, or faster, and more exact.
        option.use_winograd63_convolution = False
        # Matrix products are faster from the second picture on, but want copies of weights and inputs: a quarter of the
        # memory of a whole run on one picture. Large networks gain at once.
        option.use_sgemm_convolution = not (use.few and weight_count <= SMALL)
        # Exactness first: no half precision anywhere.
        for half in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed"):
            setattr(option, f"use_{half}", False)
        if self._net.load_param_mem(parameters) != 0 or self._net.load_model(_Reader(weights)) != 0:
            raise Yolov3Error("ncnn refused the network")

    @classmethod
    def from_graph(cls, graph: Graph, use: Use) -> NcnnEngine:
        """An engine for a graph."""
        weight_count = sum(getattr(node.operation, "weight_count", 0) for node in graph.nodes)
        return cls(emit_ncnn(graph), weight_count, graph.outputs, graph.scale, use)

    @classmethod
    def from_file(cls, exported: Exported, use: Use) -> NcnnEngine:
        """An engine for an exported network."""
        parameters, weights = exported.data
        arrays = iter([np.frombuffer(weights, np.uint8)])
        network = parameters.decode(), arrays
        return cls(network, len(weights) // 4, exported.outputs, exported.preprocess.scale, use)

    def __call__(self, images: NDArray[np.uint8]) -> RawHeads:
        per_image = [self._run(image) for image in images]
        return [np.stack(heads) for heads in zip(*per_image, strict=True)]

    def _run(self, image: NDArray[np.uint8]) -> RawHeads:
        image = np.ascontiguousarray(image)  # ncnn reads its memory as it lies
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


class _Reader(ncnn.DataReader):  # type: ignore[misc]
    """Hands ncnn the weights array by array, into ncnn's own memory.

    Memory that is touched for the first time costs more than computing here: a network in one piece would be copied
    twice (docs/decisions/003-start-up.md).
    """

    def __init__(self, arrays: Iterator[NDArray[Any]]) -> None:
        super().__init__()
        self._arrays = arrays
        self._rest = np.zeros(0, np.uint8)

    def read(self, capsule: object, size: int) -> int:
        """Copy `size` bytes to the address in the capsule; called by ncnn."""
        address, done = _address(capsule), 0
        while done < size:
            if not self._rest.size:
                array = next(self._arrays, None)
                if array is None:
                    return 0
                self._rest = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            part = min(self._rest.size, size - done)
            ctypes.memmove(address + done, self._rest.ctypes.data, part)
            self._rest = self._rest[part:]
            done += part
        return size


def _address(capsule: object) -> int:
    name = _capsule_name(capsule)
    address: int = _capsule_pointer(capsule, name)
    return address


_capsule_name = ctypes.pythonapi.PyCapsule_GetName
_capsule_name.restype, _capsule_name.argtypes = ctypes.c_char_p, (ctypes.py_object,)
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype, _capsule_pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
