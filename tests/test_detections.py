"""`Detections`: what a detector gives."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from yolov3 import DataError, Detections, Yolov3Error
from yolov3.zoo.coco import COCO_ALIASES, COCO_NAMES

NAMES = ("person", "dog", "cup")
DARKNETS = {name: alias for alias, name in COCO_ALIASES.items()}


@pytest.fixture
def detections() -> Detections:
    boxes = np.array([[1, 2, 30, 40], [5, 6, 20, 22], [0, 0, 100, 80]], np.float32)
    return Detections(boxes, np.array([0.9, 0.8, 0.3], np.float32), np.array([1, 0, 1]), NAMES, (100, 80))


def test_slicing(detections: Detections) -> None:
    assert len(detections) == 3
    assert len(detections[0]) == 1 and detections[0].labels.tolist() == [1]
    assert detections[-1].scores[0] == np.float32(0.3)
    assert detections[1:].labels.tolist() == [0, 1]
    assert detections[[2, 0]].scores.tolist() == pytest.approx([0.3, 0.9])
    assert detections[detections.scores > 0.5].labels.tolist() == [1, 0]
    assert detections[detections.labels == 2].boxes.shape == (0, 4)
    assert len(detections[[]]) == 0
    assert detections[1:].image_wh == (100, 80) and detections[1:].names == NAMES


def test_iteration_and_words(detections: Detections) -> None:
    assert [(name, round(score, 1)) for _, score, name in detections] == [("dog", 0.9), ("person", 0.8), ("dog", 0.3)]
    assert detections.summary() == "2 dog, 1 person"
    text = repr(detections)
    assert text.startswith("Detections(3 in 100×80)") and "dog" in text and "(1.0, 2.0, 30.0, 40.0)" in text
    assert repr(Detections.empty(NAMES, (5, 4))) == "Detections(0 in 5×4)"


def test_coco_results(detections: Detections) -> None:
    results = detections.to_coco(7, category_ids=[1, 18, 47])
    assert results[0] == {
        "image_id": 7,
        "category_id": 18,
        "bbox": [1.0, 2.0, 29.0, 38.0],
        "score": pytest.approx(0.9),
    }
    assert detections.to_coco("a")[1]["category_id"] == 0
    assert detections.to_coco()[0]["image_id"] == 0
    json.dumps(results)


@pytest.mark.parametrize("names", [COCO_NAMES, tuple(DARKNETS.get(name, name) for name in COCO_NAMES)])
def test_coco_results_of_cocos_classes_have_cocos_ids(names: tuple[str, ...]) -> None:
    found = Detections(np.zeros((2, 4), np.float32), np.ones(2, np.float32), np.array([0, 79]), names, (9, 9))
    assert [each["category_id"] for each in found.to_coco()] == [1, 90]


def test_dictionaries(detections: Detections) -> None:
    assert detections.to_dicts()[0] == {"box": [1, 2, 30, 40], "score": 0.9, "label": "dog", "class_id": 1}
    json.dumps(detections.to_dicts())


def test_annotating_leaves_the_picture_alone(detections: Detections) -> None:
    image = np.zeros((80, 100, 3), np.uint8)
    drawn = detections.annotate(image)
    assert drawn.shape == image.shape and drawn.any() and not image.any()


def test_json_and_back(detections: Detections) -> None:
    again = Detections.from_json(detections.to_json())
    for one, other in (
        (again.boxes, detections.boxes),
        (again.scores, detections.scores),
        (again.labels, detections.labels),
    ):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert (again.names, again.image_wh, again.truncated) == (NAMES, (100, 80), False)
    assert len(Detections.from_json(Detections.empty(NAMES, (5, 4)).to_json())) == 0
    for wrong in ("", "[]", "{}", '{"detections": 3}', detections.to_json().replace('"class_id": 1', '"class_id": 9')):
        with pytest.raises(DataError, match="not the JSON of Detections"):
            Detections.from_json(wrong)


def test_pandas(detections: Detections) -> None:
    pytest.importorskip("pandas")
    frame = detections.to_pandas()
    assert list(frame.columns) == ["x1", "y1", "x2", "y2", "score", "class_id", "label"]
    assert frame["label"].tolist() == ["dog", "person", "dog"] and frame["x2"].tolist() == [30, 20, 100]
    assert len(Detections.empty(NAMES, (5, 4)).to_pandas()) == 0


def test_supervision(detections: Detections) -> None:
    pytest.importorskip("supervision")
    converted = detections.to_supervision()
    np.testing.assert_array_equal(converted.xyxy, detections.boxes)
    assert converted.class_id.tolist() == [1, 0, 1] and list(converted.data["class_name"]) == ["dog", "person", "dog"]
    assert len(Detections.empty(NAMES, (5, 4)).to_supervision()) == 0


def test_a_package_that_is_not_there(detections: Detections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(Yolov3Error, match="pip install pandas"):
        detections.to_pandas()


def test_notebooks_see_a_table_and_names_stay_text(detections: Detections) -> None:
    html = replace(detections, names=("<script>", "dog", "cup"))._repr_html_()
    assert html.startswith("<table>") and "&lt;script&gt;" in html and "<script>" not in html and "0.90" in html


@pytest.mark.parametrize(
    ("boxes", "scores", "labels"),
    [((2, 4), (1,), (2,)), ((2, 3), (2,), (2,)), ((2, 4), (2,), (2, 1))],
)
def test_arrays_that_do_not_fit(boxes: tuple[int, ...], scores: tuple[int, ...], labels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must have shapes"):
        Detections(np.zeros(boxes, np.float32), np.zeros(scores, np.float32), np.zeros(labels, np.int64), NAMES, (9, 9))


def test_labels_without_a_name() -> None:
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.2"):
        Detections(np.zeros((1, 4), np.float32), np.zeros(1, np.float32), np.array([3]), NAMES, (9, 9))
