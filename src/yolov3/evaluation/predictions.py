"""`Predictions`: what is scored, as flat arrays; from detections, and from and to COCO result files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..data.pictures import read_bytes
from ..data.problems import quote
from ..detections import Detections
from ..errors import DataError
from ..files import write_atomic
from ..images import display_name
from .truth import GroundTruth, Id

MAX_RESULT_BYTES = 1 << 31
_KEYS = ("image_id", "category_id", "bbox", "score")


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Detections of all pictures in one array each; D is their number. Everything is finite, sizes are 0 or more.

    Attributes:
        image: int64 (D,), index into the truth's samples.
        boxes_xywh: float64 (D, 4), left, top, width, height in pixels of the displayed picture.
        labels: int64 (D,), the dataset's label.
        scores: float64 (D,), 0 to 1.
    """

    image: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def from_detections(
        cls,
        pairs: Iterable[tuple[Id, Detections]],
        truth: GroundTruth,
        class_map: Callable[[Sequence[str]], NDArray[np.int64]],
    ) -> Predictions:
        """Gather a stream of (picture id, detections); pictures that don't come have none.

        Args:
            pairs: each picture at most once.
            truth: what they are to be scored against.
            class_map: from the detections' names to the dataset's label of each, −1 to leave a class out.

        Raises:
            DataError: a picture is unknown or comes twice, or a box or score is not finite.
        """
        parts: list[Predictions] = []
        seen: set[int] = set()
        for image_id, detections in pairs:
            index = truth.index_of.get(image_id)
            if index is None:
                raise DataError(f"detections for picture {image_id!r}, which is not one of the {len(truth.samples)}")
            if index in seen:
                raise DataError(f"detections for picture {image_id!r} come twice, expected once")
            seen.add(index)
            parts.append(_from_one(detections, index, image_id, class_map(detections.names)))
        return cls.join(parts)

    @classmethod
    def join(cls, parts: Sequence[Predictions]) -> Predictions:
        """All parts one after the other."""
        return cls(
            np.concatenate([np.zeros(0, np.int64), *(part.image for part in parts)]),
            np.concatenate([np.zeros((0, 4)), *(part.boxes_xywh for part in parts)]),
            np.concatenate([np.zeros(0, np.int64), *(part.labels for part in parts)]),
            np.concatenate([np.zeros(0), *(part.scores for part in parts)]),
        )


def _from_one(detections: Detections, index: int, image_id: Id, to_dataset: NDArray[np.int64]) -> Predictions:
    """The detections of one picture, as `Detections.to_coco` writes them."""
    labels = to_dataset[detections.labels]
    kept = labels >= 0
    boxes = detections.boxes[kept]
    # Sizes are taken in float32, so that scoring a written file gives the same digits.
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
    scores = detections.scores[kept].astype(np.float64)
    fault = first_fault(xywh, scores)
    if fault is not None:
        raise DataError(f"picture {image_id!r}: detection {fault[0]}: {fault[1]}")
    return Predictions(np.full(len(scores), index, np.int64), xywh, labels[kept], scores)


def first_fault(boxes_xywh: NDArray[np.float64], scores: NDArray[np.float64]) -> tuple[int, str] | None:
    """The first row that can't be scored, and why: the evaluator ignores a NaN box without a word."""
    finite = np.asarray(np.isfinite(boxes_xywh).all(axis=1))
    scored = (scores >= 0) & (scores <= 1)  # not so for NaN
    sound = finite & scored & (boxes_xywh[:, 2:] >= 0).all(axis=1)
    if sound.all():
        return None
    row = int(np.argmin(sound))
    numbers = ", ".join(f"{value:g}" for value in boxes_xywh[row])
    if not finite[row]:
        return row, f"its box [x, y, width, height] is [{numbers}], expected finite numbers"
    if not scored[row]:
        return row, f"its score is {scores[row]:g}, expected a number from 0 to 1"
    return row, f"its box [x, y, width, height] is [{numbers}], expected width and height of 0 or more"


# --------------------------------------------------------------------------------------- result files


def to_results(predictions: Predictions, truth: GroundTruth) -> list[dict[str, Any]]:
    """COCO result objects, in the order of the pictures: `image_id, category_id, bbox, score`."""
    rows = zip(
        predictions.image.tolist(),
        predictions.labels.tolist(),
        predictions.boxes_xywh.tolist(),
        predictions.scores.tolist(),
        strict=True,
    )
    return [
        {
            "image_id": truth.samples[image].image_id,
            "category_id": truth.category_ids[label],
            "bbox": box,
            "score": score,
        }
        for image, label, box, score in rows
    ]


def write_results(path: str | os.PathLike[str], predictions: Predictions, truth: GroundTruth) -> None:
    """Write a COCO result file, whole or not at all.

    Raises:
        Yolov3Error: it can't be written.
    """
    write_atomic(path, json.dumps(to_results(predictions, truth)) + "\n")


def read_results(path: str | os.PathLike[str], truth: GroundTruth) -> Predictions:
    """Read a COCO result file: a list of objects with `image_id, category_id, bbox, score`.

    Raises:
        DataError: it can't be read, or an entry can't be scored; names the entry.
    """
    name = display_name(path)
    try:
        document = json.loads(read_bytes(Path(path), MAX_RESULT_BYTES), parse_constant=_refuse_constant)
    except RecursionError:
        raise DataError(f"{name}: nested too deeply, expected a COCO result file") from None
    except ValueError as error:
        raise DataError(f"{name}: not valid JSON: {error}") from None
    return parse_results(document, truth, name)


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def parse_results(document: Any, truth: GroundTruth, name: str) -> Predictions:
    """Check what a result file holds, entry by entry.

    Args:
        document: the parsed JSON.
        truth: whose pictures and categories it may name.
        name: what messages call the file.

    Raises:
        DataError: see `read_results`.
    """
    if not isinstance(document, list):
        raise DataError(f"{name}: no list, expected COCO results: a list of {{image_id, category_id, bbox, score}}")
    label_of = {category: label for label, category in enumerate(truth.category_ids)}
    image, labels = np.zeros(len(document), np.int64), np.zeros(len(document), np.int64)
    boxes, scores = np.zeros((len(document), 4)), np.zeros(len(document))
    for row, entry in enumerate(document):
        fault_of_entry = _entry_fault(entry, truth, label_of)
        if fault_of_entry is not None:
            raise DataError(f"{name}: entry {row}: {fault_of_entry}")
        image[row] = truth.index_of[entry["image_id"]]
        labels[row] = label_of[entry["category_id"]]
        boxes[row] = entry["bbox"]
        scores[row] = entry["score"]
    fault = first_fault(boxes, scores)
    if fault is not None:
        raise DataError(f"{name}: entry {fault[0]}: {fault[1]}")
    return Predictions(image, boxes, labels, scores)


def _entry_fault(entry: Any, truth: GroundTruth, label_of: dict[int, int]) -> str | None:
    """What is wrong with an entry of a result file, or None. Types are told exactly: true is no number, "1" no id."""
    if not isinstance(entry, dict):
        return f"{_shown(entry)}, expected an object with {', '.join(_KEYS)}"
    for key in _KEYS:
        if key not in entry:
            return f"no {key}, expected {', '.join(_KEYS)}"
    image_id, category, box, score = (entry[key] for key in _KEYS)
    if type(image_id) not in (int, str) or image_id not in truth.index_of:
        known = json.dumps(truth.samples[0].image_id) if truth.samples else "none"
        return f"image_id {_shown(image_id)} is no picture of this split, expected ids such as {known}"
    if type(category) is not int or category not in label_of:
        some = ", ".join(map(str, sorted(label_of)[:5])) + (" …" if len(label_of) > 5 else "")
        return f"category_id {_shown(category)} is no class of the dataset, expected one of {some}"
    if type(box) is not list or len(box) != 4 or not all(map(_is_number, box)):
        return f"bbox {_shown(box)}, expected [x, y, width, height] in pixels"
    return None if _is_number(score) else f"score {_shown(score)}, expected a number"


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= 1 << 53)


def _shown(value: Any) -> str:
    return quote(json.dumps(value))
