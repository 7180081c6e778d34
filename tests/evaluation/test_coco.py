"""The metrics against pycocotools itself, on hostile and on generated results (FAULTS section L)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov3.evaluation.bootstrap import WeightedScorer
from yolov3.evaluation.coco import coco_scores
from yolov3.evaluation.matching import match
from yolov3.evaluation.scoring import score

from .makers import METRICS, box, found, predictions_of, pycocotools_arrays, truth_of

pytest.importorskip("faster_coco_eval")

Boxes = dict[int, list[dict[str, Any]]]

CROWD = box(100, 100, 300, 200, 0, crowd=True)
HOSTILE: dict[str, tuple[Boxes, list[dict[str, Any]]]] = {
    "no ground truth": ({0: [], 5: []}, [found(0, 1, 1, 50, 50, 0, 0.9), found(5, 1, 1, 50, 50, 1, 0.9)]),
    "no detections": ({0: [box(10, 10, 50, 50)], 7: [box(10, 10, 50, 50, 1)]}, []),
    "neither": ({0: []}, []),
    "only a crowd": ({0: [CROWD]}, [found(0, 120, 120, 50, 50, 0, 0.9)]),
    "a crowd beside an object": (
        {0: [CROWD, box(120, 120, 60, 60)]},
        [found(0, 120, 120, 60, 60, 0, 0.5), found(0, 200, 150, 50, 50, 0, 0.9), found(0, 210, 150, 50, 50, 0, 0.8)],
    ),
    "ties across pictures": (
        {9: [box(0, 0, 50, 50)], 3: [box(0, 0, 50, 50)], 5: []},
        [found(5, 0, 0, 50, 50, 0, 0.5), found(9, 0, 0, 50, 50, 0, 0.5), found(3, 0, 0, 50, 50, 0, 0.5)],
    ),
    "ties in a picture": (
        {1: [box(0, 0, 50, 50), box(10, 0, 50, 50)]},
        [found(1, 5, 0, 50, 50, 0, 0.5), found(1, 0, 0, 50, 50, 0, 0.5), found(1, 10, 0, 50, 50, 0, 0.5)],
    ),
    "one class absent": ({1: [box(0, 0, 50, 50, 1)]}, [found(1, 0, 0, 50, 50, 1, 0.9), found(1, 0, 0, 50, 50, 0, 0.9)]),
    "an object found twice": (
        {1: [box(0, 0, 50, 50)]},
        [found(1, 0, 0, 50, 50, 0, 0.9), found(1, 0, 0, 50, 50, 0, 0.8), found(1, 0, 0, 50, 48, 0, 0.7)],
    ),
    "IoU exactly on a threshold": (
        {1: [box(0, 0, 100, 100)], 2: [box(0, 0, 100, 100)]},
        [found(1, 0, 0, 100, 50, 0, 0.9), found(2, 0, 0, 100, 75, 0, 0.8)],
    ),
    "sizes on the borders of the areas": (
        {1: [box(0, 0, 32, 32), box(100, 100, 96, 96), box(300, 300, 40, 40, area=500.0)]},
        [found(1, 0, 0, 32, 32, 0, 0.9), found(1, 100, 100, 96, 96, 0, 0.9), found(1, 300, 300, 40, 40, 0, 0.9)],
    ),
    "more than a hundred of a class": (
        {1: [box(0, 0, 50, 50)]},
        [found(1, 300, 300, 20 + n / 8, 20, 0, 0.9) for n in range(120)] + [found(1, 0, 0, 50, 50, 0, 0.1)],
    ),
    "areas beyond all bounds": (
        {1: [box(0, 0, 50, 50, area=2e10), box(100, 0, 50, 50, area=-4.0)]},
        [found(1, 0, 0, 50, 50, 0, 0.9), found(1, 100, 0, 50, 50, 0, 0.9), found(1, 0, 0, 2e5, 2e5, 0, 0.9)],
    ),
    "boxes without area": (
        {1: [box(0, 0, 50, 50)]},
        [found(1, 10, 10, 0, 0, 0, 0.9), found(1, 10, 10, 20, 0, 0, 0.8), found(1, 0, 0, 50, 50, 0, 0.7)],
    ),
}


def assert_equal_to_pycocotools(boxes: Boxes, entries: list[dict[str, Any]]) -> None:
    truth = truth_of(boxes)
    predictions = predictions_of(truth, entries)
    precision, recall, numbers = pycocotools_arrays(truth, entries)
    ours = coco_scores(truth, predictions)
    np.testing.assert_allclose(ours.precision, precision, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.recall, recall, rtol=0, atol=1e-6)
    assert ours.metrics() == pytest.approx(dict(zip(METRICS, numbers, strict=True)), abs=1e-6)
    # The matches that curves, confusion and interval are made of say the same.
    own = WeightedScorer(truth, match(truth, predictions)).average_precision(np.ones(len(truth.samples), np.int64))
    theirs = np.where(precision[:, 0, :, 0, 2] > -1, precision[:, :, :, 0, 2].mean(axis=1), np.nan)
    np.testing.assert_allclose(own, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", HOSTILE)
def test_fault_149_hostile_results_score_as_in_pycocotools(name: str) -> None:
    assert_equal_to_pycocotools(*HOSTILE[name])


coordinate = st.integers(0, 12).map(lambda step: step * 10.0)
side = st.integers(1, 12).map(lambda step: step * 10.0)
true_box = st.builds(box, coordinate, coordinate, side, side, st.integers(0, 2), crowd=st.booleans())
image_ids = st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Boxes, list[dict[str, Any]]]:
    """Pictures with boxes on a coarse grid, and detections with few different scores: crowds, ties, perfect hits."""
    ids = draw(image_ids)
    boxes = {id_: draw(st.lists(true_box, max_size=5)) for id_ in ids}
    scores = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
    entry = st.builds(found, st.sampled_from(ids), coordinate, coordinate, side, side, st.integers(0, 2), scores)
    return boxes, draw(st.lists(entry, max_size=14))


@settings(deadline=None, max_examples=150)
@given(scenes())
def test_fault_149_any_results_score_as_in_pycocotools(scene: tuple[Boxes, list[dict[str, Any]]]) -> None:
    assert_equal_to_pycocotools(*scene)


@settings(deadline=None, max_examples=40)
@given(scenes(), st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_pictures_that_count_several_times_score_as_repeated_pictures_do(
    scene: tuple[Boxes, list[dict[str, Any]]], weights: list[int]
) -> None:
    """The interval's weighted AP is pycocotools' on a dataset in which pictures are really repeated."""
    boxes, entries = scene
    ids = sorted(boxes)
    # Scores that differ between pictures: ties are broken by the order of pictures, which repeating changes.
    entries = [{**entry, "score": entry["score"] * 0.5 + ids.index(entry["image_id"]) * 0.1} for entry in entries]
    truth = truth_of(boxes)
    scorer = WeightedScorer(truth, match(truth, predictions_of(truth, entries)))
    copies = {id_: [id_ * 100 + n for n in range(weight)] for id_, weight in zip(ids, weights, strict=False)}
    repeated = {copy: boxes[id_] for id_ in ids for copy in copies[id_]}
    table = scorer.average_precision(np.array([len(copies[id_]) for id_ in ids]))
    if not repeated:
        assert np.isnan(table).all()
        return
    many = [{**entry, "image_id": copy} for entry in entries for copy in copies[entry["image_id"]]]
    precision, _, _ = pycocotools_arrays(truth_of(repeated), many)
    theirs = np.where(precision[:, 0, :, 0, 2] > -1, precision[:, :, :, 0, 2].mean(axis=1), np.nan)
    np.testing.assert_allclose(table, theirs, rtol=0, atol=1e-6)


def test_fault_144_without_ground_truth_every_number_is_none() -> None:
    truth = truth_of({0: [], 1: []})
    result = score(truth, predictions_of(truth, [found(0, 1, 1, 50, 50, 0, 0.9)]))
    assert set(result.metrics.values()) == {None}
    assert result.interval is not None
    assert result.interval.AP is None
    assert result.best.f1 is None
    assert any("no object to find" in note for note in result.notes)


def test_fault_145_ids_from_0_lose_nothing() -> None:
    """The evaluator takes annotation 0 for "no match": everything is numbered from 1 on the way in."""
    truth = truth_of({0: [box(0, 0, 50, 50)]})
    result = score(truth, predictions_of(truth, [found(0, 0, 0, 50, 50, 0, 0.9)]), resamples=0)
    assert result.metrics["AP"] == pytest.approx(1.0)


def test_fault_148_a_class_without_objects_is_shown_but_in_no_mean() -> None:
    truth = truth_of({1: [box(0, 0, 50, 50, 1)]})
    entries = [found(1, 0, 0, 50, 50, 1, 0.9), found(1, 0, 0, 50, 50, 0, 0.95)]
    result = score(truth, predictions_of(truth, entries), resamples=0)
    assert result.metrics["AP"] == pytest.approx(1.0)
    cat, dog, _ = result.per_class
    assert (cat.name, cat.objects, cat.detections, cat.AP, cat.recall, cat.f1) == ("cat", 0, 1, None, None, None)
    assert cat.precision == 0.0
    assert (dog.objects, dog.pictures, dog.AP) == (1, 1, pytest.approx(1.0))


def test_difficult_objects_count_neither_for_nor_against() -> None:
    boxes = [box(0, 0, 50, 50), box(100, 100, 50, 50, difficult=True)]
    truth = truth_of({1: boxes})
    for entries in ([], [found(1, 100, 100, 50, 50, 0, 0.95)]):
        hit = found(1, 0, 0, 50, 50, 0, 0.9)
        result = score(truth, predictions_of(truth, [hit, *entries]), resamples=0)
        assert result.metrics["AP"] == pytest.approx(1.0)
        assert result.per_class[0].objects == 1


def test_fault_149_areas_are_of_the_original_picture() -> None:
    """An object is small by COCO's `area`, in pixels of the picture, whatever the network's input is."""
    truth = truth_of({1: [box(0, 0, 40, 40, area=900.0)]})
    result = score(truth, predictions_of(truth, [found(1, 0, 0, 40, 40, 0, 0.9)]), resamples=0)
    assert result.metrics["AP_small"] == pytest.approx(1.0)
    assert result.metrics["AP_medium"] is None


def test_without_the_evaluator_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from yolov3.errors import Yolov3Error

    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    truth = truth_of({1: []})
    with pytest.raises(Yolov3Error, match=r"pip install 'yolov3\[eval\]'"):
        score(truth, predictions_of(truth, []))
