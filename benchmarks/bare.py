"""Bare scripts of each engine, as a skilled person would write them for one network: no project code inside.

Each gets the network as a file (emitted by this package, so that all run the same convolutions), takes JPEG files and
gives final boxes: OpenCV decodes, a bilinear letterbox into a canvas that is kept, one multiplication into an input
that is kept, logits thresholded before anything is decoded, OpenCV's suppression. All in float32, as this package runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

Array = np.ndarray[Any, Any]
CONF, IOU = 0.25, 0.45


@dataclass(frozen=True)
class Network:
    """What a bare script has to know.

    Attributes:
        folder: with network.onnx, .mnn, .param and .bin, .cfg and .weights.
        side: of the square input.
        heads: stride and anchors (width, height) of each.
        outputs: names of the raw heads, in the same order.
        nc: number of classes.
    """

    folder: Path
    side: int
    heads: tuple[tuple[int, tuple[tuple[float, float], ...]], ...]
    outputs: tuple[str, ...]
    nc: int


class Script:
    """Reading and post-processing; a subclass runs the network on `self.input`."""

    def __init__(self, network: Network, threads: int, batch: int = 1) -> None:
        self.network = network
        self.threads = threads
        self.batch = batch
        side = network.side
        self.canvas = np.full((batch, side, side, 3), 127, np.uint8)
        self.input = np.zeros((batch, 3, side, side), np.float32)
        self.pictures = self.canvas.transpose(0, 3, 1, 2)[:, ::-1]  # RGB, channels first
        self.prepare()

    def prepare(self) -> None:
        """Load the network."""
        raise NotImplementedError

    def run(self) -> list[Array]:
        """Raw heads of what is in `self.input`, each (batch, anchors · (5 + nc), H, W)."""
        raise NotImplementedError

    def fill(self) -> None:
        """From canvases to the network's input."""
        np.multiply(self.pictures, np.float32(1 / 255), out=self.input)

    def __call__(self, paths: Sequence[Path]) -> int:
        """Detect in pictures; how many boxes there are."""
        count = 0
        for start in range(0, len(paths), self.batch):
            part = paths[start : start + self.batch]
            places = [self.lay(place, path) for place, path in enumerate(part)]
            self.fill()
            heads = self.run()
            for place, (scale, left, top) in enumerate(places):
                boxes, scores, labels = self.decode([head[place] for head in heads])
                boxes = (boxes - (left, top, 0, 0)) / scale
                count += len(cv2.dnn.NMSBoxesBatched(boxes, scores, labels, CONF, IOU)) if len(boxes) else 0
        return count

    def lay(self, place: int, path: Path) -> tuple[float, int, int]:
        """Read a picture into its canvas."""
        image = cv2.imread(str(path))
        height, width = image.shape[:2]
        side = self.network.side
        scale = min(side / width, side / height)
        inner_width, inner_height = round(width * scale), round(height * scale)
        left, top = (side - inner_width) // 2, (side - inner_height) // 2
        canvas = self.canvas[place]
        canvas[:top] = canvas[top + inner_height :] = 127
        canvas[:, :left] = canvas[:, left + inner_width :] = 127
        inner = canvas[top : top + inner_height, left : left + inner_width]
        cv2.resize(image, (inner_width, inner_height), dst=inner, interpolation=cv2.INTER_LINEAR)
        return scale, left, top

    def decode(self, heads: Sequence[Array]) -> tuple[Array, Array, Array]:
        """Boxes (left, top, width, height) in pixels of the canvas, scores, labels."""
        found: list[tuple[Array, Array, Array]] = []
        for raw, (stride, anchors) in zip(heads, self.network.heads, strict=True):
            columns = raw.shape[2]
            grid = raw.reshape(len(anchors), 5 + self.network.nc, -1)
            anchor, cell = np.nonzero(grid[:, 4] > math.log(CONF / (1 - CONF)))
            values = grid[anchor, :, cell]
            labels = values[:, 5:].argmax(axis=1)
            scores = sigmoid(values[:, 4]) * sigmoid(values[np.arange(len(values)), 5 + labels])
            centre = (sigmoid(values[:, :2]) + np.stack([cell % columns, cell // columns], axis=1)) * stride
            size = np.array(anchors, np.float32)[anchor] * np.exp(values[:, 2:4])
            found.append((np.concatenate([centre - size / 2, size], axis=1), scores, labels))
        boxes, scores, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
        kept = scores > CONF
        return boxes[kept], scores[kept], labels[kept].astype(np.int32)


def sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-values))


class Ncnn(Script):
    """ncnn, its own conversion from BGR bytes; one picture at a time."""

    def prepare(self) -> None:
        import ncnn

        self.ncnn = ncnn
        self.net = ncnn.Net()
        self.net.opt.num_threads = self.threads
        self.net.load_param(str(self.network.folder / "network.param"))
        self.net.load_model(str(self.network.folder / "network.bin"))

    def fill(self) -> None:
        side = self.network.side
        kind = self.ncnn.Mat.PixelType.PIXEL_BGR2RGB
        self.mats = [self.ncnn.Mat.from_pixels(canvas, kind, side, side) for canvas in self.canvas]
        for mat in self.mats:
            mat.substract_mean_normalize([], [1 / 255] * 3)

    def run(self) -> list[Array]:
        heads = []
        for mat in self.mats:
            extractor = self.net.create_extractor()
            extractor.input("images", mat)
            heads.append([np.array(extractor.extract(name)[1]) for name in self.network.outputs])
        return [np.stack(head) for head in zip(*heads, strict=True)]


class Mnn(Script):
    """MNN's session API, the batch given beforehand."""

    def prepare(self) -> None:
        import MNN

        self.mnn = MNN
        self.net = MNN.Interpreter(str(self.network.folder / "network.mnn"))
        self.session = self.net.createSession({"backend": "CPU", "precision": "high", "numThread": self.threads})
        self.given = self.net.getSessionInput(self.session)
        self.net.resizeTensor(self.given, self.input.shape)
        self.net.resizeSession(self.session)

    def run(self) -> list[Array]:
        mnn, layout = self.mnn, self.mnn.Tensor_DimensionType_Caffe
        self.given.copyFrom(mnn.Tensor(self.input.shape, mnn.Halide_Type_Float, self.input, layout))
        self.net.runSession(self.session)
        heads = []
        for name in self.network.outputs:
            output = self.net.getSessionOutput(self.session, name)
            head = np.empty(output.getShape(), np.float32)
            host = mnn.Tensor(output.getShape(), mnn.Halide_Type_Float, head, layout)
            output.copyToHostTensor(host)
            heads.append(host.getNumpyData().reshape(head.shape))
        return heads


class OnnxRuntime(Script):
    """ONNX Runtime with its own optimisations."""

    def prepare(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3
        path = str(self.network.folder / "network.onnx")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name

    def run(self) -> list[Array]:
        return list(self.session.run(list(self.network.outputs), {self.name: self.input}))


class OpenVino(Script):
    """OpenVINO for latency; float32 asked for, because on some processors its default is bfloat16."""

    precision = "f32"

    def prepare(self) -> None:
        import openvino

        core = openvino.Core()
        model = core.read_model(str(self.network.folder / "network.onnx"))
        model.reshape(list(self.input.shape))
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": self.threads}
        if self.precision:
            options["INFERENCE_PRECISION_HINT"] = self.precision
        self.request = core.compile_model(model, "CPU", options).create_infer_request()
        self.request.set_input_tensor(openvino.Tensor(self.input, shared_memory=True))

    def run(self) -> list[Array]:
        self.request.infer()
        return [self.request.get_tensor(name).data for name in self.network.outputs]


class OpenVinoDefault(OpenVino):
    """OpenVINO with the precision that it chooses by itself: bfloat16 on processors that have it, so other boxes."""

    precision = ""


class OpenCv(Script):
    """OpenCV 4's Darknet importer, in the way its own samples use it."""

    def prepare(self) -> None:
        if not hasattr(cv2.dnn, "readNetFromDarknet"):
            raise ImportError("OpenCV 5 reads no Darknet files; pip install 'opencv-python-headless<5'")
        cv2.setNumThreads(self.threads)
        folder = self.network.folder
        self.net = cv2.dnn.readNetFromDarknet(str(folder / "network.cfg"), str(folder / "network.weights"))
        self.names = self.net.getUnconnectedOutLayersNames()

    def fill(self) -> None:
        self.net.setInput(cv2.dnn.blobFromImages(list(self.canvas), 1 / 255, swapRB=True))

    def run(self) -> list[Array]:
        return [head.reshape(self.batch, -1, head.shape[-1]) for head in self.net.forward(self.names)]

    def decode(self, heads: Sequence[Array]) -> tuple[Array, Array, Array]:
        rows = np.concatenate(heads)
        rows = rows[rows[:, 4] > CONF]
        labels = rows[:, 5:].argmax(axis=1)
        scores = rows[np.arange(len(rows)), 5 + labels]  # times objectness already
        boxes = rows[:, :4] * self.network.side
        boxes[:, :2] -= boxes[:, 2:] / 2
        kept = scores > CONF
        return boxes[kept], scores[kept], labels[kept].astype(np.int32)


SCRIPTS: dict[str, Callable[..., Script]] = {
    "ncnn": Ncnn,
    "mnn": Mnn,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "openvino-default": OpenVinoDefault,
    "opencv": OpenCv,
}
