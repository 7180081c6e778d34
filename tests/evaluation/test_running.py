"""Running a detector over a split: any callable, its speed, pictures that don't fit their labels, provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from yolov3.data import Dataset, Sample
from yolov3.detections import Detections
from yolov3.errors import DataError, UsageError
from yolov3.evaluate import SCORING, Evaluation, evaluate_detector
from yolov3.evaluation.predictions import to_results
from yolov3.evaluation.provenance import training_note
from yolov3.evaluation.running import Stopwatch, run_detector
from yolov3.runtime import Detector
from yolov3.zoo import OFFICIAL_WEIGHTS

from .makers import METRICS, SIZE, box, dataset_of, pycocotools_arrays, sample_of


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Six pictures, each with one white square on black, which is the object."""
    result = []
    for index in range(6):
        picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        left = 40 + index * 60
        picture[100:180, left : left + 90] = 255
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), picture)
        result.append(sample_of(index, [box(left, 100, 90, 80, index % 2)], path))
    return result


class BrightSpot:
    """Finds the bright square; calls it by the parity of its place."""

    names = ("cat", "dog", "cow")

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, image: np.ndarray) -> Detections:
        rows, columns = np.nonzero(image[:, :, 0])
        corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        label = (corners[0] - 40) // 60 % 2
        return Detections(
            np.array([corners], np.float32),
            np.array([0.9], np.float32),
            np.array([label]),
            self.names,
            (image.shape[1], image.shape[0]),
        )


class BrightSpots(BrightSpot):
    def batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
        self.batches.append(len(images))
        return [self(image) for image in images]


def test_any_callable_that_gives_detections_is_scored(samples: list[Sample]) -> None:
    steps: list[tuple[int, int]] = []
    result = evaluate_detector(
        BrightSpot(), dataset_of(samples), resamples=20, progress=lambda done, total: steps.append((done, total))
    )
    assert result.metrics["AP"] == pytest.approx(1.0)
    assert steps == [(count, 6) for count in range(1, 7)]
    assert result.speed is not None
    record = result.speed.to_dict()
    assert record["pictures"] == 6
    assert record["decode_ms"] > 0
    assert record["detect_ms"] > 0
    assert record["network_ms"] is record["letterbox_ms"] is record["nms_ms"] is None


def test_batches_go_to_the_batch_method_where_there_is_one(samples: list[Sample]) -> None:
    several = BrightSpots()
    assert evaluate_detector(several, dataset_of(samples), batch=4, resamples=0).metrics["AP"] == pytest.approx(1.0)
    assert several.batches == [4, 2]
    assert evaluate_detector(BrightSpot(), dataset_of(samples), batch=4, resamples=0).metrics["AP"] == pytest.approx(
        1.0
    )


def test_a_detector_shows_its_stages(samples: list[Sample]) -> None:
    stopwatch = Stopwatch()
    pairs = list(run_detector(Detector("yolov3-tiny", size=96), samples[:2], stopwatch))
    assert [image_id for image_id, _ in pairs] == [0, 1]
    speed = stopwatch.speed()
    assert speed is not None
    assert speed.letterbox is not None
    assert speed.network is not None
    assert speed.nms is not None
    assert speed.letterbox > 0
    assert speed.network > 0
    assert Stopwatch().speed() is None


def test_suppression_is_what_is_left_of_the_mean_though_one_picture_was_disturbed() -> None:
    stages = [(0.001, 0.010, 0.012), (0.001, 0.020, 0.012)]  # the second run of the second network was slow
    speed = Stopwatch(decode=0.1, detect=0.03, pictures=2, stages=stages).speed()
    assert speed is not None
    assert (speed.letterbox, speed.network, speed.nms) == pytest.approx((1, 15, 0))
    calm = Stopwatch(detect=0.03, pictures=2, stages=[(0.001, 0.010, 0.012), (0.001, 0.011, 0.014)]).speed()
    assert calm is not None
    assert calm.nms == pytest.approx(1.5)


def test_results_are_those_of_calling_the_detector(samples: list[Sample]) -> None:
    detector = Detector("yolov3-tiny", size=96, conf=0.001)
    for image_id, detections in run_detector(detector, samples[:2], Stopwatch()):
        alone = detector(samples[int(image_id)].image)
        assert np.array_equal(detections.boxes, alone.boxes)


def test_a_picture_of_another_size_than_declared_stops_the_run(samples: list[Sample]) -> None:
    cv2.imwrite(str(samples[1].image), np.zeros((SIZE[0], SIZE[1], 3), np.uint8))
    with pytest.raises(DataError, match=r"1\.png: the picture is 480×640 pixels .* EXIF"):
        evaluate_detector(BrightSpot(), dataset_of(samples))


def test_an_unreadable_picture_stops_the_run_with_its_name(samples: list[Sample]) -> None:
    samples[0].image.write_bytes(b"\x89PNG\r\n\x1a\n" + b"junk")
    with pytest.raises(DataError, match=r"0\.png"):
        evaluate_detector(BrightSpot(), dataset_of(samples))


def test_an_unknown_class_shows_before_anything_runs(samples: list[Sample]) -> None:
    def never(image: np.ndarray) -> Detections:
        raise AssertionError("was run")

    never.names = ("cat", "cow")  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="objects of 'dog'"):
        evaluate_detector(never, dataset_of(samples))


def test_a_split_that_is_not_there_is_refused(samples: list[Sample]) -> None:
    with pytest.raises(UsageError, match="no split test"):
        evaluate_detector(BrightSpot(), dataset_of(samples), "test")


# ------------------------------------------------------------------------------------ provenance


def source(digest: str) -> dict[str, Any]:
    return {"files": [{"name": "a.cfg", "sha256": "0" * 64}, {"name": "a.weights", "sha256": digest}]}


@pytest.mark.parametrize(
    ("place", "label_file"),
    [
        ("instances_val2017.json", "instances_val2017.json"),
        ("coco.yaml", "labels/val2017/1.txt"),
        ("annotations", "instances_val2017.json"),
    ],
)
def test_official_weights_on_val2017_get_a_note(place: str, label_file: str) -> None:
    folder = "val2017" if "labels" in label_file else "images"
    sample = sample_of(1, [], Path(folder) / "1.jpg")
    sample.label_file = Path(label_file)
    for known in OFFICIAL_WEIGHTS:
        note = training_note(source(known.sha256), Path(place), [sample])
        assert note is not None
        assert f"official {known.name} weights were trained on" in note
        assert "val2017" in note
    assert training_note(source("1" * 64), Path(place), [sample]) is None
    assert training_note({}, Path(place), [sample]) is None
    assert training_note({"files": "x"}, Path(place), [sample]) is None


def test_other_data_gets_no_note() -> None:
    sample = sample_of(1, [], Path("images/1.jpg"))
    assert training_note(source(OFFICIAL_WEIGHTS[0].sha256), Path("bccd"), [sample]) is None


def test_the_bundled_model_carries_the_official_hash() -> None:
    model = Detector("yolov3-tiny", size=96).model
    sample = sample_of(1, [], Path("val2017/1.jpg"))
    assert training_note(model.source, Path("coco.yaml"), [sample]) is not None


# -------------------------------------------------------------------------------- real pictures


@pytest.fixture(scope="session")
def coco128(shared: Path) -> Dataset:
    from yolov3.data import load_dataset

    return load_dataset(shared / "coco128" / "instances.json")


def assert_as_in_pycocotools(result: Evaluation) -> None:
    _, _, numbers = pycocotools_arrays(result.truth, to_results(result.predictions, result.truth))
    assert [result.metrics[name] for name in METRICS] == pytest.approx(numbers, abs=1e-6)


def test_real_results_score_as_in_pycocotools(coco128: Dataset) -> None:
    few = replace(coco128, samples={"all": coco128.samples["all"][:20]})
    result = evaluate_detector(Detector("yolov3-tiny", **SCORING, threads=1), few, resamples=0)
    assert len(result.predictions) > 1000
    assert_as_in_pycocotools(result)


@pytest.mark.slow
def test_coco128_scores_as_published_with_the_bundled_model(coco128: Dataset) -> None:
    """Its convolutions are stored as float16: AP 0.2130 and AP50 0.4328 within 0.002 all the same."""
    result = evaluate_detector(Detector("yolov3-tiny", **SCORING), coco128, resamples=200)
    assert_as_in_pycocotools(result)
    assert result.metrics["AP"] == pytest.approx(0.2130, abs=0.002)
    assert result.metrics["AP50"] == pytest.approx(0.4328, abs=0.002)
    assert len(result.truth) == 939
    assert result.truth.objects.sum() == 929
    assert sum(score.objects for score in result.per_class) == 929
    assert result.interval is not None
    assert result.interval.AP is not None
    assert result.interval.AP[0] < 0.2130 < result.interval.AP[1]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ncnn", "onnxruntime"])
def test_coco128_with_the_official_float32_weights(engine: str, coco128: Dataset, shared: Path) -> None:
    cfg, weights = (shared / "darknet" / name for name in ("yolov3-tiny-mask123.cfg", "yolov3-tiny.weights"))
    detector = Detector(cfg, weights=weights, engine=engine, **SCORING)
    metrics = evaluate_detector(detector, coco128, resamples=0).metrics
    assert metrics["AP"] == pytest.approx(0.2130, abs=0.002)
    assert metrics["AP50"] == pytest.approx(0.4328, abs=0.002)


def test_darknets_own_names_score_the_same(shared: Path, coco128: Dataset) -> None:
    """Six of coco.names are spelt otherwise; unmatched they would cost AP 0.025."""
    from yolov3.evaluation.classes import match_classes

    names = (shared / "darknet" / "coco.names").read_text().split("\n")[:80]
    counts = [1] * 80
    assert match_classes(names, coco128.names, counts).to_dataset.tolist() == list(range(80))
    assert sum(a != b for a, b in zip(names, coco128.names, strict=True)) == 6
