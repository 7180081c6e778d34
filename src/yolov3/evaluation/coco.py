"""COCO's metrics, computed by faster-coco-eval from arrays that are known to be sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Yolov3Error
from .predictions import Predictions
from .truth import GroundTruth

Float64 = NDArray[np.float64]

MAX_DETECTIONS = [1, 10, 100]
RECALL_POINTS = np.linspace(0.0, 1.0, 101)
_ALL, _SMALL, _MEDIUM, _LARGE = range(4)
_IOU50, _IOU75 = 0, 5


@dataclass(frozen=True, slots=True, eq=False)
class CocoScores:
    """What COCO's evaluator says.

    Attributes:
        precision: (10 IoU thresholds 0.50:0.05:0.95, 101 recalls, classes, 4 areas, 3 maxDets), −1 where there is no
            object.
        recall: (10, classes, 4, 3), the same.
    """

    precision: Float64
    recall: Float64

    def metrics(self) -> dict[str, float | None]:
        """The twelve numbers by name; None where no object is of the kind."""
        most = len(MAX_DETECTIONS) - 1
        areas = (("small", _SMALL), ("medium", _MEDIUM), ("large", _LARGE))
        return {
            "AP": mean_of(self.precision[:, :, :, _ALL, most]),
            "AP50": mean_of(self.precision[_IOU50, :, :, _ALL, most]),
            "AP75": mean_of(self.precision[_IOU75, :, :, _ALL, most]),
            **{f"AP_{name}": mean_of(self.precision[:, :, :, area, most]) for name, area in areas},
            **{f"AR{limit}": mean_of(self.recall[:, :, _ALL, place]) for place, limit in enumerate(MAX_DETECTIONS)},
            **{f"AR_{name}": mean_of(self.recall[:, :, area, most]) for name, area in areas},
        }

    def of_class(self, label: int) -> dict[str, float | None]:
        """AP, AP50, AP75 and AR100 of one class."""
        precision = self.precision[:, :, label, _ALL, -1]
        return {
            "AP": mean_of(precision),
            "AP50": mean_of(precision[_IOU50]),
            "AP75": mean_of(precision[_IOU75]),
            "AR100": mean_of(self.recall[:, label, _ALL, -1]),
        }

    def precision_at_50(self, label: int | None = None) -> Float64:
        """Precision (101,) at the recalls of `RECALL_POINTS` and IoU 0.50: of one class, or the mean over those that
        have objects (zeros where none has)."""
        table = self.precision[_IOU50, :, :, _ALL, -1]
        if label is not None:
            return np.maximum(table[:, label], 0)
        present = table[:, table[0] > -1]
        return np.asarray(present.mean(axis=1)) if present.shape[1] else np.zeros(len(table))


def mean_of(values: Float64) -> float | None:
    """The mean of what isn't −1, COCO's mark for "no object"; None where there is nothing."""
    present = values[values > -1]
    return float(present.mean()) if present.size else None


def require_evaluator() -> Any:
    """The library that computes the metrics.

    Raises:
        Yolov3Error: it isn't installed.
    """
    try:
        import faster_coco_eval  # type: ignore[import-untyped]
    except ImportError:
        raise Yolov3Error(
            "scoring needs faster-coco-eval, which is not installed; pip install 'yolov3[eval]'"
        ) from None
    return faster_coco_eval


def coco_scores(truth: GroundTruth, predictions: Predictions) -> CocoScores:
    """Run COCO's evaluation. Ids are numbered anew from 1: the evaluator takes annotation 0 for "no match".

    Raises:
        Yolov3Error: the library isn't installed.
    """
    library = require_evaluator()
    images = [{"id": index + 1} for index in range(len(truth.samples))]
    categories = [{"id": label + 1, "name": str(label)} for label in range(len(truth.names))]
    objects = _annotations(truth.image, truth.labels, truth.boxes_xywh)
    for entry, area, crowd in zip(objects, truth.areas.tolist(), truth.crowd.tolist(), strict=True):
        entry["area"], entry["iscrowd"] = area, int(crowd)
    found = _annotations(predictions.image, predictions.labels, predictions.boxes_xywh)
    for entry, score in zip(found, predictions.scores.tolist(), strict=True):
        entry["area"], entry["iscrowd"], entry["score"] = entry["bbox"][2] * entry["bbox"][3], 0, score
    tables = [
        library.COCO({"images": images, "categories": categories, "annotations": annotations})
        for annotations in (objects, found)
    ]
    evaluator = library.COCOeval_faster(*tables, iouType="bbox")
    evaluator.params.maxDets = list(MAX_DETECTIONS)
    evaluator.evaluate()
    evaluator.accumulate()
    return CocoScores(np.asarray(evaluator.eval["precision"]), np.asarray(evaluator.eval["recall"]))


def _annotations(image: NDArray[np.int64], labels: NDArray[np.int64], boxes_xywh: Float64) -> list[dict[str, Any]]:
    """COCO annotations with ids from 1."""
    rows = zip((image + 1).tolist(), (labels + 1).tolist(), boxes_xywh.tolist(), strict=True)
    return [
        {"id": number, "image_id": image_id, "category_id": category, "bbox": box}
        for number, (image_id, category, box) in enumerate(rows, 1)
    ]
