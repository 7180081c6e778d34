"""Thresholds, decoding, non-maximum suppression."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov3.errors import UsageError
from yolov3.geometry import plan_letterbox
from yolov3.postprocess import Thresholds, decode_boxes, detect_objects, head_candidates, nms
from yolov3.spec import Head

HEAD = Head(anchors=((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)), stride=8)


def slow_nms(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, limit: float) -> list[int]:
    """Best first; drop a box when a kept one of its class overlaps it by more than the limit."""
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        for other in kept:
            if labels[other] != labels[index]:
                continue
            a, b = boxes[index].astype(np.float64), boxes[other].astype(np.float64)
            width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
            height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
            union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
            if width * height > limit * union:
                break
        else:
            kept.append(index)
    return kept


@given(
    st.lists(
        st.tuples(
            st.integers(0, 12), st.integers(0, 12), st.integers(0, 8), st.integers(0, 8),
            st.integers(0, 6), st.integers(0, 2),
        ),
        max_size=40,
    ),
    st.sampled_from([0.0, 0.25, 0.45, 0.7, 1.0]),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_nms_against_a_slow_reference(rows: list[tuple[int, ...]], limit: float) -> None:
    """Small whole numbers make ties of scores and overlaps common."""
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h, *_ in rows], np.float32).reshape(-1, 4)
    scores = np.array([row[4] / 8 for row in rows], np.float32)
    labels = np.array([row[5] for row in rows], np.int64)
    expected = slow_nms(boxes, scores, labels, limit)
    assert nms(boxes, scores, labels, limit, 1000).tolist() == expected
    assert nms(boxes, scores, labels, limit, 3).tolist() == expected[:3]


def sigma(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("wh", ["exp", "square"])
@pytest.mark.parametrize("xy_scale", [1.0, 1.2, 2.0])
def test_decoding_against_the_formulas(wh: str, xy_scale: float, rng: np.random.Generator) -> None:
    head = Head(HEAD.anchors, 8, xy_scale, wh)
    raw = rng.normal(0, 2, (5, 6)).astype(np.float32)
    cells = rng.integers(0, 13, (5, 2)).astype(np.float32)
    anchors = np.array(HEAD.anchors, np.float32)[[0, 1, 2, 0, 1]]
    for box, t, cell, anchor in zip(decode_boxes(raw, cells, anchors, head), raw, cells, anchors, strict=True):
        x = (sigma(t[0]) * xy_scale - 0.5 * (xy_scale - 1) + cell[0]) * 8
        y = (sigma(t[1]) * xy_scale - 0.5 * (xy_scale - 1) + cell[1]) * 8
        w = anchor[0] * (math.exp(t[2]) if wh == "exp" else (2 * sigma(t[2])) ** 2)
        h = anchor[1] * (math.exp(t[3]) if wh == "exp" else (2 * sigma(t[3])) ** 2)
        np.testing.assert_allclose(box, [x - w / 2, y - h / 2, x + w / 2, y + h / 2], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("conf", [0.001, 0.25, 0.6])
def test_candidates_against_a_slow_reference(multi_label: bool, conf: float, rng: np.random.Generator) -> None:
    nc, height, width = 4, 5, 7
    raw = rng.normal(-0.5, 2, (3 * (5 + nc), height, width)).astype(np.float32)
    expected = set()
    for anchor in range(3):
        for y in range(height):
            for x in range(width):
                values = raw[anchor * (5 + nc) : (anchor + 1) * (5 + nc), y, x]
                scores = [sigma(values[4]) * sigma(value) for value in values[5:]]
                kept = range(nc) if multi_label else [int(np.argmax(scores))]
                expected |= {(label, round(scores[label], 4)) for label in kept if scores[label] > conf}
    boxes, scores, labels = head_candidates(raw, HEAD, nc, Thresholds(conf=conf, multi_label=multi_label))
    assert len(boxes) == len(scores) == len(labels)
    found = {(int(label), round(float(score), 4)) for label, score in zip(labels, scores, strict=True)}
    assert len(found) == pytest.approx(len(expected), abs=2)
    assert len(found ^ expected) <= 4  # rounding of the fourth digit


def strong_raw(count: int) -> np.ndarray:
    """One head of 20×20 cells with `count` sure objects far from each other."""
    raw = np.full((3 * 7, 20, 20), -20, np.float32)
    for index in range(count):
        y, x = divmod(index, 20)
        raw[0:2, y, x] = 0
        raw[2:4, y, x] = -3
        raw[4, y, x] = 5 + index * 0.01
        raw[5, y, x] = 8
    return raw


def test_what_max_det_cuts_is_said() -> None:
    plan = plan_letterbox((160, 160), (160, 160))
    names = ("cat", "dog")
    whole = detect_objects([strong_raw(30)], [HEAD], names, plan, Thresholds(max_det=30))
    assert len(whole) == 30 and not whole.truncated
    cut = detect_objects([strong_raw(30)], [HEAD], names, plan, Thresholds(max_det=29))
    assert len(cut) == 29 and cut.truncated
    assert "more were cut off" in repr(cut) and "more were cut off" in cut.summary()
    np.testing.assert_array_equal(cut.scores, whole.scores[:29])


def test_nothing_is_nothing() -> None:
    plan = plan_letterbox((160, 160), (160, 160))
    found = detect_objects([strong_raw(0)], [HEAD], ("cat", "dog"), plan, Thresholds())
    assert len(found) == 0 and found.boxes.shape == (0, 4) and found.summary() == "nothing"


def test_classes_are_kept_before_max_det() -> None:
    raw = strong_raw(10)
    raw[5, 0, 5:10], raw[6, 0, 5:10] = -8, 8
    plan = plan_letterbox((160, 160), (160, 160))
    found = detect_objects([raw], [HEAD], ("cat", "dog"), plan, Thresholds(max_det=5, classes=frozenset({1})))
    assert set(found.labels) == {1} and len(found) == 5 and not found.truncated


def test_boxes_stay_in_the_picture_and_enormous_ones_do_no_harm() -> None:
    raw = strong_raw(1)
    raw[2:4, 0, 0] = 500
    plan = plan_letterbox((320, 160), (160, 160))
    found = detect_objects([raw], [HEAD], ("cat", "dog"), plan, Thresholds())
    np.testing.assert_array_equal(found.boxes, [[0, 0, 320, 160]])


def test_not_a_number_is_not_an_object() -> None:
    raw = np.full((21, 20, 20), np.nan, np.float32)
    plan = plan_letterbox((160, 160), (160, 160))
    assert len(detect_objects([raw], [HEAD], ("cat", "dog"), plan, Thresholds())) == 0


@pytest.mark.parametrize("wrong", [{"conf": -0.1}, {"conf": 1.1}, {"iou": float("nan")}, {"max_det": 0}])
def test_thresholds_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="expected"):
        Thresholds(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("conf", [0.0, 1.0])
def test_the_ends_of_conf(conf: float) -> None:
    found = head_candidates(strong_raw(3), HEAD, 2, Thresholds(conf=conf))[1]
    assert len(found) == (3 * 400 if conf == 0 else 0)
