"""Small truths and predictions for tests, and pycocotools as the oracle."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolov3.data import Dataset, Sample
from yolov3.data.rows import Objects
from yolov3.evaluation.predictions import Predictions, parse_results
from yolov3.evaluation.truth import GroundTruth

METRICS = (
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large"),
)
SIZE = (640, 480)


def box(x: float, y: float, width: float, height: float, label: int = 0, **more: Any) -> dict[str, Any]:
    """One true box: a label, and `crowd`, `difficult` or `area` where they matter."""
    return {"xywh": (x, y, width, height), "label": label, **more}


def sample_of(image_id: int | str, boxes: Sequence[dict[str, Any]], image: Path = Path("picture.png")) -> Sample:
    """A picture of 640×480 with boxes."""
    xywh = np.array([entry["xywh"] for entry in boxes], np.float64).reshape(-1, 4)
    count = len(boxes)
    objects = Objects(
        np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
        np.array([entry["label"] for entry in boxes], np.int64),
        np.array([entry.get("crowd", False) for entry in boxes], np.bool_),
        np.array([entry.get("difficult", False) for entry in boxes], np.bool_),
        np.arange(1, count + 1).astype(object),
        np.array([entry.get("area", xywh[row, 2] * xywh[row, 3]) for row, entry in enumerate(boxes)], np.float64),
    )
    return Sample(image, image_id, Path("labels.json"), objects, declared_wh=SIZE)


def dataset_of(samples: Sequence[Sample], names: Sequence[str] = ("cat", "dog", "cow")) -> Dataset:
    """A dataset with one split."""
    return Dataset("coco", Path("labels.json"), tuple(names), {"val": list(samples)}, tuple(range(1, len(names) + 1)))


def truth_of(boxes: dict[int, list[dict[str, Any]]], names: Sequence[str] = ("cat", "dog", "cow")) -> GroundTruth:
    """The truth of pictures by id; category ids are labels + 1."""
    samples = [sample_of(image_id, members) for image_id, members in boxes.items()]
    return GroundTruth.from_samples(samples, names, range(1, len(names) + 1))


def found(image_id: int, x: float, y: float, width: float, height: float, label: int, score: float) -> dict[str, Any]:
    """One entry of a result file."""
    return {"image_id": image_id, "category_id": label + 1, "bbox": [x, y, width, height], "score": score}


def predictions_of(truth: GroundTruth, entries: Sequence[dict[str, Any]]) -> Predictions:
    """Result entries as predictions."""
    return parse_results([dict(entry) for entry in entries], truth, "results.json")


def pycocotools_arrays(
    truth: GroundTruth, entries: Sequence[dict[str, Any]]
) -> tuple[np.ndarray, np.ndarray, list[Any]]:
    """What pycocotools says: precision (T, R, K, A, M), recall (T, K, A, M) and the twelve numbers, None for its −1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations = [
        {
            "id": number + 1,
            "image_id": truth.samples[int(truth.image[number])].image_id,
            "category_id": truth.category_ids[truth.labels[number]],
            "bbox": truth.boxes_xywh[number].tolist(),
            "area": float(truth.areas[number]),
            "iscrowd": int(truth.crowd[number]),
        }
        for number in range(len(truth))
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        tables = []
        results = [
            {**entry, "id": number + 1, "area": entry["bbox"][2] * entry["bbox"][3], "iscrowd": 0}
            for number, entry in enumerate(entries)
        ]
        for rows in (annotations, results):
            table = COCO()
            table.dataset = {
                "images": [{"id": sample.image_id} for sample in truth.samples],
                "categories": [{"id": id_} for id_ in truth.category_ids],
                "annotations": rows,
            }
            table.createIndex()
            tables.append(table)
        evaluator = COCOeval(*tables, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    numbers = [None if value == -1 else float(value) for value in evaluator.stats]
    return evaluator.eval["precision"], evaluator.eval["recall"], numbers
