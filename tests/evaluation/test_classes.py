"""Names of classes: the model's matched with the dataset's."""

from __future__ import annotations

import pytest

from yolov3.errors import DataError
from yolov3.evaluation.classes import match_classes
from yolov3.zoo.coco import COCO_ALIASES, COCO_NAMES


def test_names_match_whatever_their_order() -> None:
    found = match_classes(["dog", "cat"], ["cat", "dog"], [5, 5])
    assert found.to_dataset.tolist() == [1, 0]
    assert found.notes == ()


def test_every_published_alias_matches_both_ways() -> None:
    darknet = {name: alias for alias, name in COCO_ALIASES.items()}
    spelt = [darknet.get(name, name) for name in COCO_NAMES]
    assert len(set(spelt) - set(COCO_NAMES)) == 6
    for model, dataset in ((spelt, COCO_NAMES), (COCO_NAMES, spelt)):
        assert match_classes(model, dataset, [1] * 80).to_dataset.tolist() == list(range(80))


def test_an_alias_never_takes_a_class_that_the_model_has_by_name() -> None:
    found = match_classes(["motorbike", "motorcycle"], ["motorcycle"], [3])
    assert found.to_dataset.tolist() == [-1, 0]
    assert "'motorbike'" in found.notes[0]


def test_an_unmatched_class_with_objects_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(
        DataError, match=r"objects of 'Persons', which the model doesn't know: did the model's 'Person'"
    ):
        match_classes(["Person", "dog"], ["Persons", "dog"], [4, 2])
    with pytest.raises(DataError, match="and 3 more classes"):
        match_classes(["x"], [f"class {n}" for n in range(8)], [1] * 8)


def test_a_class_that_never_occurs_may_be_unknown_and_is_named() -> None:
    """Exports often list a parent category that no box has."""
    found = match_classes(["dog"], ["animals", "dog"], [0, 2])
    assert found.to_dataset.tolist() == [1]
    assert found.notes == ("the model doesn't know 'animals', of which the dataset has no object: not scored",)


def test_classes_that_only_the_model_has_are_left_out_and_named() -> None:
    found = match_classes(["cat", "dog"], ["dog"], [1])
    assert found.to_dataset.tolist() == [-1, 0]
    assert "doesn't have 'cat'" in found.notes[0]
