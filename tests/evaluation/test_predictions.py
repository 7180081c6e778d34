"""What comes in: detections and result files, refused before the evaluator would pass over them in silence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov3.detections import Detections
from yolov3.errors import DataError
from yolov3.evaluate import evaluate, evaluate_results, gather, write_results
from yolov3.evaluation.predictions import parse_results, read_results, to_results
from yolov3.evaluation.truth import GroundTruth

from .makers import SIZE, box, dataset_of, found, predictions_of, sample_of, truth_of

NAMES = ("cat", "dog", "cow")


def detections(
    boxes: list[list[float]], scores: list[float], labels: list[int], names: tuple[str, ...] = NAMES
) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels, np.int64),
        names,
        SIZE,
    )


ONE = detections([[10, 20, 60, 80]], [0.5], [1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"boxes": [[10, float("nan"), 60, 80]]}, r"expected finite numbers"),
        ({"boxes": [[10, 20, float("inf"), 80]]}, r"expected finite numbers"),
        ({"scores": [float("nan")]}, r"its score is nan, expected a number from 0 to 1"),
        ({"scores": [1.5]}, r"its score is 1.5"),
        ({"boxes": [[60, 20, 10, 80]]}, r"expected width and height of 0 or more"),
    ],
)
def test_fault_146_nan_boxes_and_scores_are_refused_first(change: dict[str, Any], words: str) -> None:
    given = {"boxes": [[10, 20, 60, 80]], "scores": [0.5], "labels": [1], **change}
    truth = truth_of({4: [box(0, 0, 50, 50)]})
    with pytest.raises(DataError, match=f"picture 4: detection 0: .*{words}"):
        gather([(4, detections(**given))], truth)


def test_fault_147_unknown_pictures_and_second_helpings_are_refused() -> None:
    truth = truth_of({4: []})
    with pytest.raises(DataError, match="picture 5, which is not one of the 1"):
        gather([(5, ONE)], truth)
    with pytest.raises(DataError, match="picture 4 come twice"):
        gather([(4, ONE), (4, ONE)], truth)


def test_two_pictures_with_one_id_are_refused() -> None:
    with pytest.raises(DataError, match="two pictures have the id 3"):
        GroundTruth.from_samples([sample_of(3, []), sample_of(3, [])], NAMES)


def test_numbers_are_sorted_and_words_keep_their_order() -> None:
    """COCO's evaluator sorts pictures by number, which decides ties."""
    numbers = GroundTruth.from_samples([sample_of(30, []), sample_of(4, [])], NAMES)
    words = GroundTruth.from_samples([sample_of("b", []), sample_of("a", [])], NAMES)
    assert [sample.image_id for sample in numbers.samples] == [4, 30]
    assert [sample.image_id for sample in words.samples] == ["b", "a"]


def test_a_stream_is_taken_and_missing_pictures_have_no_detections() -> None:
    samples = [sample_of(1, [box(10, 20, 50, 60, 1)]), sample_of(2, [box(10, 20, 50, 60, 1)])]

    def stream() -> Iterator[tuple[int, Detections]]:
        yield 1, ONE

    result = evaluate(stream(), dataset_of(samples), resamples=0)
    assert result.metrics["AP50"] == pytest.approx(0.5, abs=0.01)
    assert len(result.predictions) == 1


# ---------------------------------------------------------------------------------- result files


def test_written_results_score_to_the_same_digits(tmp_path: Path, rng: np.random.Generator) -> None:
    corners = np.sort(rng.uniform(0, 400, (30, 2, 2)), axis=1).reshape(30, 4)
    truth = truth_of({1: [box(*corner[:2], *(corner[2:] - corner[:2]), row % 3) for row, corner in enumerate(corners)]})
    moved = corners + rng.normal(0, 3, corners.shape)
    pairs = [
        (
            1,
            detections(
                np.sort(moved.reshape(-1, 2, 2), 1).reshape(-1, 4), rng.uniform(0, 1, 30), [n % 3 for n in range(30)]
            ),
        )
    ]
    predictions, _ = gather(pairs, truth)
    path = tmp_path / "results.json"
    write_results(path, predictions, truth)
    again = read_results(path, truth)
    for name in ("image", "boxes_xywh", "labels", "scores"):
        assert np.array_equal(getattr(again, name), getattr(predictions, name))
    entries = json.loads(path.read_text())
    assert entries == to_results(predictions, truth)
    assert set(entries[0]) == {"image_id", "category_id", "bbox", "score"}
    assert entries[1]["category_id"] == 2  # COCO's id of the second class, not its index


def test_results_of_other_datasets_name_pictures_by_path_and_classes_by_index(tmp_path: Path) -> None:
    truth = GroundTruth.from_samples([sample_of("a/one", [box(0, 0, 50, 50, 2)])], NAMES)
    predictions, _ = gather([("a/one", detections([[0, 0, 50, 50]], [0.5], [2]))], truth)
    assert to_results(predictions, truth) == [
        {"image_id": "a/one", "category_id": 2, "bbox": [0, 0, 50, 50], "score": 0.5}
    ]


BROKEN: dict[str, tuple[Any, str]] = {
    "an object": ({"annotations": []}, "no list, expected COCO results"),
    "an entry that is a number": ([5], "entry 0: “5”, expected an object with image_id"),
    "no score": ([{"image_id": 4, "category_id": 1, "bbox": [0, 0, 1, 1]}], "entry 0: no score"),
    "a picture that isn't there": ([found(7, 0, 0, 1, 1, 0, 0.5)], "image_id “7” is no picture .* such as 4"),
    "a picture named by a word": ([{**found(4, 0, 0, 1, 1, 0, 0.5), "image_id": "4"}], "is no picture"),
    "true for a picture": ([{**found(4, 0, 0, 1, 1, 0, 0.5), "image_id": True}], "is no picture"),
    "a list for a picture": ([{**found(4, 0, 0, 1, 1, 0, 0.5), "image_id": [4]}], "is no picture"),
    "a class index": ([{**found(4, 0, 0, 1, 1, 0, 0.5), "category_id": 0}], "category_id “0” is no class"),
    "a class that isn't there": ([found(4, 0, 0, 1, 1, 9, 0.5)], "category_id “10” is no class .* one of 1, 2, 3"),
    "three numbers": (
        [{**found(4, 0, 0, 1, 1, 0, 0.5), "bbox": [0, 0, 1]}],
        r"bbox .* expected \[x, y, width, height\]",
    ),
    "one number": ([{**found(4, 0, 0, 1, 1, 0, 0.5), "bbox": 5}], "bbox “5”"),
    "numbers as words": ([{**found(4, 0, 0, 1, 1, 0, 0.5), "bbox": ["0", 0, 1, 1]}], "bbox"),
    "a score as a word": ([{**found(4, 0, 0, 1, 1, 0, 0.5), "score": "0.5"}], 'score “"0.5"”, expected a number'),
    "a score of 50": ([found(4, 0, 0, 1, 1, 0, 50)], "its score is 50, expected a number from 0 to 1"),
    "a huge number": ([{**found(4, 0, 0, 1, 1, 0, 0.5), "bbox": [10**400, 0, 1, 1]}], "bbox"),
    "a negative width": ([found(4, 0, 0, 1, 1, 0, 0.5), found(4, 5, 5, -1, 1, 0, 0.5)], "entry 1: .* 0 or more"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_fault_147_result_files_are_checked_entry_by_entry(name: str, tmp_path: Path) -> None:
    document, words = BROKEN[name]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=f"results.json: .*{words}") as error:
        read_results(path, truth_of({4: []}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[{", "not valid JSON"),
        ("[NaN]", "NaN is no JSON number"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"image_id": 4, "category_id": 1, "bbox": [1e999, 0, 1, 1], "score": 0.5}]', "expected finite numbers"),
    ],
)
def test_files_that_are_no_results_are_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        evaluate_results(path, dataset_of([sample_of(4, [])]))
    with pytest.raises(DataError, match=r"gone\.json"):
        read_results(tmp_path / "gone.json", truth_of({4: []}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from(["image_id", "category_id", "bbox", "score"]), json_values))
def test_mutated_results_are_scored_or_refused(change: dict[str, Any]) -> None:
    truth = truth_of({4: []})
    entry = {**found(4, 0, 0, 10, 10, 0, 0.5), **change}
    try:
        predictions = parse_results([entry], truth, "results.json")
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(predictions.boxes_xywh).all()
        assert ((predictions.scores >= 0) & (predictions.scores <= 1)).all()


def test_no_predictions_are_predictions_too() -> None:
    assert len(predictions_of(truth_of({4: []}), [])) == 0
