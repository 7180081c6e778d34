"""Curves, the confusion matrix, kinds of mistakes, suspected labels: consistent with each other and with COCO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from yolov3.evaluation.curves import CONFIDENCES, confidence_curves
from yolov3.evaluation.findings import largest_misses, suspected_labels, worst_false_positives
from yolov3.evaluation.matching import match
from yolov3.evaluation.mistakes import Kind, Mistakes, find_mistakes
from yolov3.evaluation.predictions import Predictions
from yolov3.evaluation.truth import GroundTruth

from .makers import box, found, predictions_of, truth_of
from .test_coco import scenes

Boxes = dict[int, list[dict[str, Any]]]
CAT, DOG, COW = range(3)


def mistakes_of(
    boxes: Boxes, entries: list[dict[str, Any]], confidence: float = 0.1
) -> tuple[GroundTruth, Predictions, Mistakes]:
    truth = truth_of(boxes)
    predictions = predictions_of(truth, entries)
    return truth, predictions, find_mistakes(truth, predictions, match(truth, predictions), confidence)


def test_precision_recall_and_f1_by_hand() -> None:
    truth = truth_of({1: [box(0, 0, 50, 50), box(100, 0, 50, 50)]})
    entries = [found(1, 0, 0, 50, 50, 0, 0.9), found(1, 300, 0, 50, 50, 0, 0.6), found(1, 100, 0, 50, 50, 0, 0.3)]
    curves = confidence_curves(match(truth, predictions_of(truth, entries)))
    at = {
        confidence: int(np.searchsorted(CONFIDENCES, confidence)) for confidence in (0.0, 0.3, 0.301, 0.6, 0.9, 0.901)
    }
    assert curves.precision[0, at[0.3]] == pytest.approx(2 / 3)
    assert curves.recall[0, at[0.3]] == 1
    assert curves.f1[0, at[0.3]] == pytest.approx(0.8)
    assert curves.precision[0, at[0.301]] == 0.5
    assert curves.precision[0, at[0.9]] == 1
    assert np.isnan(curves.precision[0, at[0.901]])
    assert curves.f1[0, at[0.901]] == 0
    assert CONFIDENCES[curves.best] == 0  # of equal values the lowest
    assert np.isnan(curves.recall[1]).all()
    assert np.array_equal(curves.mean_f1, curves.f1[0])


@settings(deadline=None, max_examples=60)
@given(scenes())
def test_the_confusion_matrix_agrees_with_the_table(scene: tuple[Boxes, list[dict[str, Any]]]) -> None:
    boxes, entries = scene
    truth = truth_of(boxes)
    predictions = predictions_of(truth, entries)
    matches = match(truth, predictions)
    curves = confidence_curves(matches)
    for confidence in (0.0, 0.25, 0.6, 1.0):
        mistakes = find_mistakes(truth, predictions, matches, confidence)
        place = int(np.searchsorted(CONFIDENCES, confidence - 1e-9))
        kept = (matches.scores >= confidence) & ~matches.ignored[0]
        counted = np.bincount(matches.labels[kept], minlength=3)
        confusion = mistakes.confusion
        assert (confusion >= 0).all()
        assert confusion[:3].sum(axis=1).tolist() == truth.objects.tolist()
        assert confusion[:, :3].sum(axis=0).tolist() == counted.tolist()
        assert confusion[3, 3] == 0
        for label in range(3):
            hits = confusion[label, label]
            if counted[label]:
                assert curves.precision[label, place] == pytest.approx(hits / counted[label])
            if truth.objects[label]:
                assert curves.recall[label, place] == pytest.approx(hits / truth.objects[label])
        assert len(mistakes.false_positives) == counted.sum() - np.trace(confusion)
        assert len(mistakes.missed) == truth.objects.sum() - np.trace(confusion)


def test_each_kind_of_false_positive() -> None:
    boxes = {1: [box(0, 0, 100, 100, CAT), box(200, 0, 100, 100, DOG)]}
    entries = [
        found(1, 0, 0, 100, 100, CAT, 0.9),
        found(1, 0, 0, 100, 90, CAT, 0.8),  # the same cat
        found(1, 200, 0, 100, 95, CAT, 0.7),  # a dog
        found(1, 200, 60, 100, 100, DOG, 0.6),  # beside the dog
        found(1, 400, 300, 50, 50, COW, 0.5),
        found(1, 420, 300, 50, 50, COW, 0.05),  # below the confidence
    ]
    _, _, mistakes = mistakes_of(boxes, entries)
    assert [mistake.kind for mistake in mistakes.false_positives] == [
        Kind.DUPLICATE,
        Kind.WRONG_CLASS,
        Kind.POOR_BOX,
        Kind.BACKGROUND,
    ]
    assert [mistake.missed for mistake in mistakes.false_positives] == [False, True, True, False]
    assert [mistake.prediction for mistake in mistakes.false_positives] == [1, 2, 3, 4]
    assert mistakes.missed == [1]
    assert mistakes.confusion.tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]]


def test_an_object_of_another_class_is_confused_once() -> None:
    entries = [found(1, 0, 0, 100, 100, CAT, 0.9), found(1, 0, 0, 100, 100, COW, 0.8)]
    _, _, mistakes = mistakes_of({1: [box(0, 0, 100, 100, DOG)]}, entries)
    assert mistakes.confusion[DOG].tolist() == [1, 0, 0, 0]
    assert mistakes.confusion[3].tolist() == [0, 0, 1, 0]


def test_detections_in_a_crowd_are_no_mistakes() -> None:
    boxes = {1: [box(0, 0, 400, 400, CAT, crowd=True)]}
    _, _, mistakes = mistakes_of(boxes, [found(1, 10, 10, 50, 50, CAT, 0.9)])
    assert not mistakes.false_positives
    assert not mistakes.missed
    assert not mistakes.confusion.any()


def test_worst_false_positives_and_largest_misses_come_first() -> None:
    boxes = {1: [box(0, 0, 20, 20, CAT), box(100, 100, 200, 200, DOG), box(400, 100, 50, 50, COW)]}
    entries = [found(1, 500, 400, 20, 20, CAT, score) for score in (0.2, 0.8, 0.5)]
    truth, predictions, mistakes = mistakes_of(boxes, entries)
    worst = worst_false_positives(truth, predictions, mistakes, 2)
    assert [finding.score for finding in worst] == [0.8, 0.5]
    assert worst[0].words == "cat: nothing there"
    misses = largest_misses(truth, mistakes, 10)
    assert [finding.words for finding in misses] == [
        "dog not found (13% of the picture)",
        "cow not found (1% of the picture)",
        "cat not found (0% of the picture)",
    ]
    assert misses[0].place == "labels.json: 2"


def test_suspected_labels_by_hand() -> None:
    boxes = {
        1: [box(0, 0, 100, 100, DOG), box(300, 0, 100, 100, COW)],
        2: [box(0, 0, 100, 100, CAT), box(0, 0, 100, 98, CAT), box(200, 0, 50, 50, DOG)],
    }
    entries = [
        found(1, 0, 0, 100, 90, CAT, 0.9),  # labelled dog
        found(1, 300, 60, 100, 100, COW, 0.8),  # box is off
        found(1, 500, 300, 50, 50, DOG, 0.7),  # nothing labelled
        found(1, 550, 300, 50, 50, DOG, 0.4),  # not sure
        found(2, 200, 0, 50, 50, DOG, 0.9),  # right
        found(2, 200, 0, 50, 48, DOG, 0.8),  # found twice, says nothing about labels
    ]
    truth, predictions, mistakes = mistakes_of(boxes, entries)
    suspects = suspected_labels(truth, predictions, mistakes, 10)
    assert [suspect.words for suspect in suspects] == [
        "cat labelled twice? also labels.json: 1",
        "labelled dog, is it cat?",
        "box of cow drawn badly?",
        "dog not labelled?",
    ]
    assert [suspect.place for suspect in suspects] == [
        "labels.json: 2",
        "labels.json: 1",
        "labels.json: 2",
        "labels.json",
    ]
    assert len(suspected_labels(truth, predictions, mistakes, 2)) == 2
    record = suspects[1].to_dict(truth)
    assert (record["image_id"], record["label"], record["predicted"]) == (1, [0, 0, 100, 100], [0, 0, 100, 90])


def test_words_for_the_card_name_no_folders() -> None:
    truth, predictions, mistakes = mistakes_of({2: [box(0, 0, 100, 100), box(0, 0, 100, 98)]}, [])
    truth.samples[0].label_file = Path("/home/someone/labels.json")
    (twice,) = suspected_labels(truth, predictions, mistakes, 10)
    assert twice.words == "cat labelled twice? also labels.json: 1"
    assert twice.place == "/home/someone/labels.json: 2"


def test_nothing_to_find_nothing_found() -> None:
    truth, predictions, mistakes = mistakes_of({1: []}, [])
    assert not mistakes.confusion.any()
    assert largest_misses(truth, mistakes, 5) == []
    assert suspected_labels(truth, predictions, mistakes, 5) == []
    assert confidence_curves(match(truth, predictions)).best == 0
