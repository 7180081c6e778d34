"""Raw heads of one cfg and its weights, four ways: our two engines, OpenCV's importer, plain numpy."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from yolov3.graph import lower
from yolov3.modelfile import Model
from yolov3.runtime.engines import make_engine
from yolov3.runtime.loading import DarknetOptions, Loaded, load_model

from .oracle import forward
from .writer import parse, weight_bytes

ENGINES = ("ncnn", "onnxruntime")
Heads = list[np.ndarray]


def write(folder: Path, text: str, data: bytes | None = None) -> tuple[Path, Path]:
    """A cfg and its weights as files; random weights unless given."""
    cfg, weights = folder / "net.cfg", folder / "net.weights"
    cfg.write_text(text)
    weights.write_bytes(weight_bytes(text) if data is None else data)
    return cfg, weights


def load(folder: Path, text: str, data: bytes | None = None, **options: object) -> Loaded:
    """The model of a cfg and its weights, through files as a user has them."""
    cfg, weights = write(folder, text, data)
    return load_model(cfg, DarknetOptions(weights, **options))  # type: ignore[arg-type]


def random_image(width: int, height: int) -> np.ndarray:
    """RGB uint8 (H, W, 3)."""
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def engine_heads(model: Model, image: np.ndarray, engine: str) -> Heads:
    """(anchors · (5 + nc), H, W) a head, small strides first."""
    pytest.importorskip(engine)
    return [head[0] for head in make_engine(engine, lower(model), 1)(image[None])]


def small_strides_first(heads: Heads) -> Heads:
    """Heads in the cfg's order → in Detect's order."""
    return sorted(heads, key=lambda head: -head.shape[1])


def numpy_heads(text: str, data: bytes, image: np.ndarray) -> Heads:
    """The same by the slow reference."""
    return small_strides_first(forward(text, data, image.transpose(2, 0, 1) / 255))


class OpenCVNet:
    """OpenCV's Darknet importer, from memory."""

    def __init__(self, text: str, data: bytes) -> None:
        if not hasattr(cv2.dnn, "readNetFromDarknet"):
            pytest.skip(f"OpenCV {cv2.__version__} has no Darknet importer, 4.14 has")
        self._net = cv2.dnn.readNetFromDarknet(np.frombuffer(text.encode(), np.uint8), np.frombuffer(data, np.uint8))
        self._yolos = [index for index, (name, _) in enumerate(parse(text)[1:]) if name == "yolo"]

    def heads(self, image: np.ndarray, *, logistic: bool = False) -> Heads:
        """What the convolution before each `[yolo]` gives, behind its activation."""
        names = [f"logistic_{index}" if logistic else f"conv_{index - 1}" for index in self._yolos]
        return small_strides_first(self._forward(image, names))

    def regions(self, image: np.ndarray) -> Heads:
        """Each `[yolo]`'s rows cx, cy, w, h (as parts of the input), objectness, class scores."""
        found = self._forward(image, [f"yolo_{index}" for index in self._yolos])
        return sorted((rows.reshape(-1, rows.shape[-1]) for rows in found), key=lambda rows: -len(rows))

    def _forward(self, image: np.ndarray, names: list[str]) -> Heads:
        self._net.setInput(cv2.dnn.blobFromImage(image, 1 / 255))
        return [output[0] if output.ndim == 4 else output for output in self._net.forward(names)]


def assert_close(heads: Heads, reference: Heads, tolerance: float) -> None:
    """Largest difference within `tolerance`, in units of the reference's largest value where that is above 1."""
    assert [head.shape for head in heads] == [head.shape for head in reference]
    for head, expected in zip(heads, reference, strict=True):
        assert np.ptp(expected) > 0.05, "the test's network says nothing"
        assert np.abs(head - expected).max() <= tolerance * max(1, np.abs(expected).max())
