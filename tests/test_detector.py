"""The `Detector`: pictures in every form, sizes, threads, batches."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import yolov3
from models import random_model, small_spec
from yolov3 import DataError, Detections, Detector, ModelError, UsageError
from yolov3.zoo import BUNDLED, sample_photos


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector("yolov3-tiny", threads=1)


@pytest.fixture
def image(photo: Path) -> np.ndarray:
    return yolov3.read_image(photo)


def same(one: Detections, other: Detections, pixels: float = 0.05) -> None:
    assert one.labels.tolist() == other.labels.tolist()
    np.testing.assert_allclose(one.boxes, other.boxes, atol=pixels)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_a_path_and_its_array_give_the_same(detector: Detector, photo: Path, image: np.ndarray) -> None:
    found = detector(photo)
    same(found, detector(str(photo)), 0)
    same(found, detector(image), 0)
    assert found.names[found.labels[0]] == "cup" and found.scores[0] > 0.6
    assert found.image_wh == (image.shape[1], image.shape[0])


def test_fault_133_the_callers_array_is_not_changed(detector: Detector, image: np.ndarray) -> None:
    before = image.copy()
    image.flags.writeable = False
    detector(image)
    np.testing.assert_array_equal(image, before)


def test_fault_133_views_and_grey(detector: Detector, image: np.ndarray) -> None:
    wide = np.zeros((*image.shape[:2], 6), np.uint8)
    wide[..., ::2] = image
    same(detector(wide[..., ::2]), detector(image), 0)
    grey = image.mean(axis=2).astype(np.uint8)
    same(detector(grey), detector(np.repeat(grey[:, :, None], 3, axis=2)), 0)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((10, 10, 3), np.float32),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((3, 10, 10), np.uint8),
        np.zeros((0, 10, 3), np.uint8),
        np.zeros(10, np.uint8),
        [[1, 2], [3, 4]],
        None,
    ],
)
def test_fault_133_what_is_no_picture(detector: Detector, wrong: object) -> None:
    with pytest.raises(DataError, match="expected RGB uint8"):
        detector(wrong)  # type: ignore[arg-type]


def test_engines_agree(image: np.ndarray) -> None:
    pytest.importorskip("onnxruntime")
    ncnn, onnx = Detector(engine="ncnn", conf=0.05), Detector(engine="onnxruntime", conf=0.05)
    same(ncnn(image), onnx(image))
    plan = ncnn.plan((image.shape[1], image.shape[0]))
    for ours, theirs in zip(ncnn.raw([image], [plan]), onnx.raw([image], [plan]), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_a_batch_of_pictures_of_several_sizes(detector: Detector) -> None:
    paths = sample_photos()
    rect = Detector(threads=1, rect=True)
    for one in (detector, rect):
        for path, found in zip(paths, one.batch(paths), strict=True):
            same(found, one(path))
    assert detector.batch([]) == []


def test_rect_works_on_less_and_finds_much_the_same(image: np.ndarray, detector: Detector) -> None:
    rect = Detector(threads=1, rect=True)
    assert rect.plan((600, 400)).canvas_wh == (416, 288)
    found = rect(image)
    assert found.names[found.labels[0]] == "cup"
    assert np.abs(found.boxes[0] - detector(image).boxes[0]).max() < 20


def test_options_of_files_do_not_go_with_a_model() -> None:
    with pytest.raises(UsageError, match=r"weights, names.* not with a model"):
        Detector(random_model(small_spec()), names="x.names")


def test_classes_as_one_text(image: np.ndarray) -> None:
    assert Detector(classes="person, 1", threads=1).thresholds.classes == {0, 1}


def test_sizes(image: np.ndarray) -> None:
    assert Detector(size="320", threads=1).size_wh == (320, 320)
    wide = Detector(size="608x416", threads=1)
    assert wide.size_wh == (608, 416) and wide.plan((600, 400)).canvas_wh == (608, 416)
    assert wide(image).image_wh == (600, 400)
    assert Detector(size=[320, 256], threads=1).size_wh == (320, 256)


@pytest.mark.parametrize("size", ["300", "0", 10**6, (416, 400)])
def test_sizes_that_the_network_cannot_take(size: object) -> None:
    with pytest.raises(UsageError, match="multiple of 32"):
        Detector(size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", ["big", "416x", "1x2x3", "-416", "4_16", "", 416.5, (), (1, 2, 3)])
def test_sizes_that_are_none(size: object) -> None:
    with pytest.raises(UsageError, match="size"):
        Detector(size=size)  # type: ignore[arg-type]


def test_stretch_is_the_models_own_or_asked_for(image: np.ndarray) -> None:
    model = yolov3.Model.load(BUNDLED["yolov3-tiny"])
    stretched = Detector(replace(model, preprocess=replace(model.preprocess, resize="stretch")), threads=1)
    asked = Detector(resize="stretch", threads=1)
    same(stretched(image), asked(image), 0)
    assert asked.plan((600, 400)).resized_wh == (416, 416)
    with pytest.raises(UsageError, match="letterbox or stretch"):
        Detector(resize="crop")
    with pytest.raises(UsageError, match="rect"):
        Detector(resize="stretch", rect=True)


def test_classes(image: np.ndarray, detector: Detector) -> None:
    assert set(detector(image).labels) >= {41}
    assert detector(image).labels.tolist() == Detector(threads=1)(image).labels.tolist()
    only = Detector(classes=["cup", 0, "1"], threads=1)
    assert only.thresholds.classes == {41, 0, 1}
    assert set(only(image).labels) <= {41, 0, 1}
    with pytest.raises(UsageError, match="did you mean 'person'"):
        Detector(classes=["persn"])
    with pytest.raises(UsageError, match="not one of the model's 80"):
        Detector(classes=[80])


def test_conf_and_multi_label(image: np.ndarray) -> None:
    low = Detector(conf=0.01, threads=1)(image)
    assert len(low) > 2 and (np.diff(low.scores) <= 0).all() and low.scores.min() > 0.01
    assert len(Detector(conf=0.01, multi_label=True, threads=1)(image)) > len(low)
    cut = Detector(conf=0.01, max_det=2, threads=1)(image)
    assert len(cut) == 2 and cut.truncated


def test_fault_132_eight_threads_on_one_detector(detector: Detector) -> None:
    paths = sample_photos() * 4
    expected = [detector(path) for path in sample_photos()] * 4
    with ThreadPoolExecutor(8) as pool:
        for found, wanted in zip(pool.map(detector, paths), expected, strict=True):
            same(found, wanted)


def test_fault_132_copies_and_pickles_have_an_engine_of_their_own(image: np.ndarray) -> None:
    original = Detector(threads=1, classes=["cup"], size=320, conf=0.1, rect=True, resize="letterbox")
    for other in (copy.deepcopy(original), pickle.loads(pickle.dumps(original))):
        assert other is not original and other.thresholds == original.thresholds and other.size_wh == (320, 320)
        same(other(image), original(image), 0)


def test_threads_must_be_positive() -> None:
    with pytest.raises(UsageError, match="threads is 0"):
        Detector(threads=0)


def test_a_model_of_ones_own(rng: np.random.Generator) -> None:
    detector = Detector(random_model(small_spec()), threads=1, conf=0.0, max_det=7)
    found = detector(rng.integers(0, 256, (50, 70, 3), np.uint8))
    assert len(found) == 7 and found.truncated and found.names == ("thing 0", "thing 1")


@pytest.mark.parametrize(
    ("reference", "options", "kind", "message"),
    [
        ("yolov9", {}, ModelError, "no such model; expected a name"),
        ("none.safetensors", {}, ModelError, "can't be read"),
        ("x.weights", {}, UsageError, "give --model FILE.cfg"),
        ("x.cfg", {}, UsageError, "needs its weights"),
        ("yolov3-tiny.yaml", {}, UsageError, "describes a network without weights"),
        ("yolov3-tiny", {"weights": "x.weights"}, UsageError, "--weights goes with a Darknet .cfg"),
        ("yolov3-tiny", {"masks": "1,2,3"}, UsageError, "--masks goes with a Darknet .cfg"),
    ],
)
def test_models_that_are_none(reference: str, options: dict[str, str], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Detector(reference, **options)  # type: ignore[arg-type]


def test_names_may_be_replaced(tmp_path: Path, image: np.ndarray) -> None:
    names = tmp_path / "my.names"
    names.write_text("\n".join(f"klasse {index}" for index in range(80)))
    found = Detector(names=names, threads=1)(image)
    assert found.names[found.labels[0]] == "klasse 41"
    names.write_text("one\ntwo\n")
    with pytest.raises(ModelError, match="2 names, expected 80"):
        Detector(names=names)


def test_bfloat16_finds_the_same_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of the zoo: the same classes, boxes within some pixels; on any processor, if slowly on most."""
    pytest.importorskip("openvino")
    photo = sample_photos()[3]
    exact, near = Detector(), Detector(precision="bfloat16")
    assert near.engine == "openvino" and copy.copy(near).engine == "openvino"
    expected, found = exact(photo), near(photo)
    assert found.names == expected.names and np.array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=5)
    np.testing.assert_allclose(found.scores, expected.scores, atol=0.03)
    for engine in ("ncnn", "onnxruntime", "mnn"):
        with pytest.raises(UsageError, match=f"engine {engine} computes in float32 only; bfloat16 goes with openvino"):
            Detector(engine=engine, precision="bfloat16")
    with pytest.raises(UsageError, match="precision 'int4' is not known, expected float32 or bfloat16"):
        Detector(precision="int4", engine="openvino")
    for units, noted in ((True, 0), (False, 1), (None, 0)):
        monkeypatch.setattr("yolov3.runtime.detector.has_bfloat16_units", lambda units=units: units)
        assert sum("no units for bfloat16" in note for note in Detector(precision="bfloat16").notes) == noted
