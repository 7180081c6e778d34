"""The official weights and the family's networks through both engines, against OpenCV's Darknet importer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yolov3 import Detector
from yolov3.geometry import letterbox_image
from yolov3.images import read_image
from yolov3.runtime.loading import DarknetOptions, load_model

from .engines import (
    ENGINES,
    OpenCVNet,
    assert_close,
    engine_heads,
    load,
    numpy_heads,
    random_image,
    small_strides_first,
)
from .family import family_text
from .oracle import forward
from .writer import weight_bytes

PHOTOS = ("dog", "eagle", "giraffe", "horses", "person")
BETWEEN_ENGINES = 2e-4
AGAINST_OPENCV = 5e-4


@pytest.fixture(scope="module")
def official(shared: Path) -> tuple[Path, Path]:
    """The official tiny weights, and the cfg that they were trained with."""
    return shared / "darknet" / "yolov3-tiny-mask123.cfg", shared / "darknet" / "yolov3-tiny.weights"


@pytest.fixture(scope="module")
def detectors(official: tuple[Path, Path]) -> dict[str, Detector]:
    """One an engine, from the float32 weights."""
    pytest.importorskip("onnxruntime")
    model = load_model(official[0], DarknetOptions(official[1])).model
    return {engine: Detector(model, engine=engine) for engine in ENGINES}


@pytest.fixture(scope="module")
def opencv(official: tuple[Path, Path]) -> OpenCVNet:
    """The same weights in OpenCV."""
    return OpenCVNet(official[0].read_text(), official[1].read_bytes())


@pytest.mark.parametrize("photo", PHOTOS)
def test_raw_heads_of_the_official_weights(
    photo: str, shared: Path, detectors: dict[str, Detector], opencv: OpenCVNet
) -> None:
    picture = read_image(shared / "photos" / f"{photo}.jpg")
    plan = detectors["ncnn"].plan((picture.shape[1], picture.shape[0]))
    heads = {engine: [head[0] for head in detectors[engine].raw([picture], [plan])] for engine in ENGINES}
    expected = opencv.heads(letterbox_image(picture, plan))
    assert [head.shape for head in expected] == [(255, 26, 26), (255, 13, 13)]
    for engine in ENGINES:
        worst = max(np.abs(head - other).max() for head, other in zip(heads[engine], expected, strict=True))
        assert worst <= AGAINST_OPENCV, engine
    pairs = zip(heads["ncnn"], heads["onnxruntime"], strict=True)
    assert max(np.abs(head - other).max() for head, other in pairs) <= BETWEEN_ENGINES


@pytest.mark.parametrize("photo", PHOTOS)
def test_boxes_of_the_official_weights_are_equal_between_engines(
    photo: str, shared: Path, detectors: dict[str, Detector]
) -> None:
    first, second = (detectors[engine](shared / "photos" / f"{photo}.jpg") for engine in ENGINES)
    assert len(first) == len(second) > 0
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_allclose(first.boxes, second.boxes, atol=0.05)
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-4)


def test_dog_photo_has_the_published_scores(shared: Path) -> None:
    detections = Detector("yolov3-tiny")(shared / "photos" / "dog.jpg")
    found = [(name, 100 * score) for _, score, name in detections]
    expected = [("car", 64.5), ("bicycle", 59.6), ("dog", 56.5), ("truck", 54.8)]
    assert [name for name, _ in found] == [name for name, _ in expected]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], atol=1)


def test_the_slow_reference_agrees_on_the_official_weights(
    official: tuple[Path, Path], shared: Path, detectors: dict[str, Detector]
) -> None:
    """The numpy forward pass, which the other tests rely on, on real weights and with Darknet's own epsilon."""
    picture = read_image(shared / "photos" / "dog.jpg")
    plan = detectors["ncnn"].plan((picture.shape[1], picture.shape[0]))
    canvas = letterbox_image(picture, plan).transpose(2, 0, 1) / 255
    expected = small_strides_first(forward(official[0].read_text(), official[1].read_bytes(), canvas))
    for engine in ENGINES:
        heads = [head[0] for head in detectors[engine].raw([picture], [plan])]
        assert max(np.abs(head - other).max() for head, other in zip(heads, expected, strict=True)) <= 2e-4


def assert_agreement(folder: Path, text: str, image: np.ndarray, spread: float) -> None:
    """Both engines equal the slow reference and OpenCV on random weights."""
    data = weight_bytes(text, spread=spread)
    model = load(folder, text, data).model
    expected = numpy_heads(text, data, image)
    heads = {engine: engine_heads(model, image, engine) for engine in ENGINES}
    for engine in ENGINES:
        assert_close(heads[engine], expected, 2e-5)
    assert_close(heads["ncnn"], heads["onnxruntime"], BETWEEN_ENGINES)
    assert_close(OpenCVNet(text, data).heads(image), expected, AGAINST_OPENCV)


@pytest.mark.parametrize("name", ["yolov3", "yolov3-spp", "yolov3-tiny"])
def test_thin_family_with_random_weights(name: str, tmp_path: Path) -> None:
    """All the structure, an eighth of the channels, an input that isn't square."""
    text = family_text(name, classes=3, divide=8, width=128, height=96)
    assert_agreement(tmp_path, text, random_image(128, 96), spread=0.7)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("yolov3", marks=pytest.mark.slow),
        pytest.param("yolov3-spp", marks=pytest.mark.slow),
        "yolov3-tiny",
    ],
)
def test_whole_family_with_random_weights(name: str, tmp_path: Path) -> None:
    text = family_text(name, width=96, height=96)
    assert_agreement(tmp_path, text, random_image(96, 96), spread=0.7)
