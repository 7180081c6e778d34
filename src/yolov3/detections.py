"""`Detections`: what every detector of this package returns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, Yolov3Error

Index = int | slice | Sequence[int] | NDArray[np.bool_] | NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The objects found in one picture, best score first.

    Attributes:
        boxes: float32 (N, 4), xyxy in pixels of the original picture, inside it.
        scores: float32 (N,), in [0, 1]: objectness times class probability.
        labels: int64 (N,), the class index of each box.
        names: the model's class names; `names[label]` is a box's class.
        image_wh: the picture's (width, height) in pixels.
        truncated: True when more boxes survived than `max_det` let through.

    Raises:
        ValueError: the arrays' shapes don't fit each other, or a label has no name.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: tuple[str, ...] = field(repr=False)
    image_wh: tuple[int, int]
    truncated: bool = False

    def __post_init__(self) -> None:
        count = len(self.boxes)
        if self.boxes.shape != (count, 4) or self.scores.shape != (count,) or self.labels.shape != (count,):
            raise ValueError(
                f"boxes {self.boxes.shape}, scores {self.scores.shape} and labels {self.labels.shape} "
                "must have shapes (N, 4), (N,) and (N,)"
            )
        if count and not 0 <= self.labels.min() <= self.labels.max() < len(self.names):
            raise ValueError(f"labels must be in 0..{len(self.names) - 1}")

    @classmethod
    def empty(cls, names: Sequence[str], image_wh: tuple[int, int]) -> Detections:
        """No objects in a picture of `image_wh` pixels."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), tuple(names), image_wh)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Index) -> Detections:
        """The boxes at `index`: an int, a slice, a list of ints or a boolean mask."""
        chosen = [index] if isinstance(index, (int, np.integer)) else index
        if not isinstance(chosen, slice):
            chosen = np.asarray(chosen, dtype=None if len(chosen) else np.int64)
        return replace(self, boxes=self.boxes[chosen], scores=self.scores[chosen], labels=self.labels[chosen])

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], float, str]]:
        """Yield `(box, score, name)` for each object."""
        for box, score, label in zip(self.boxes, self.scores, self.labels, strict=True):
            yield box, float(score), self.names[label]

    def __repr__(self) -> str:
        width, height = self.image_wh
        more = ", more were cut off" if self.truncated else ""
        lines = [f"Detections({len(self)} in {width}×{height}{more})"]
        lines += [
            f"  {name:<16} {score:.2f}  ({', '.join(f'{value:.1f}' for value in box)})" for box, score, name in self
        ]
        return "\n".join(lines)

    def summary(self) -> str:
        """Counts in words, most frequent first: `2 car, 1 dog`, or `nothing`."""
        counts = Counter(self.names[label] for label in self.labels)
        words = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        return (words or "nothing") + (" (more were cut off)" if self.truncated else "")

    def annotate(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy of `image` (H, W, 3 RGB uint8) with the boxes drawn on it."""
        from .annotate import draw

        return draw(image, self)

    def to_dicts(self) -> list[dict[str, Any]]:
        """JSON-ready objects: `box` [x1, y1, x2, y2] in pixels, `score`, `label` (name), `class_id`."""
        return [
            {
                "box": [round(float(value), 2) for value in box],
                "score": round(float(score), 4),
                "label": self.names[label],
                "class_id": int(label),
            }
            for box, score, label in zip(self.boxes, self.scores, self.labels, strict=True)
        ]

    def to_json(self) -> str:
        """One JSON object with everything, read back by `from_json` without loss."""
        return json.dumps(
            {
                "width": self.image_wh[0],
                "height": self.image_wh[1],
                "names": list(self.names),
                "truncated": self.truncated,
                "detections": [
                    found | {"box": box, "score": score}
                    for found, box, score in zip(
                        self.to_dicts(), self.boxes.tolist(), self.scores.tolist(), strict=True
                    )
                ],
            },
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, text: str) -> Detections:
        """What `to_json` wrote.

        Raises:
            DataError: it isn't such an object.
        """
        try:
            values = json.loads(text)
            found = values["detections"]
            return cls(
                np.array([each["box"] for each in found], np.float32).reshape(-1, 4),
                np.array([each["score"] for each in found], np.float32),
                np.array([each["class_id"] for each in found], np.int64),
                tuple(str(name) for name in values["names"]),
                (int(values["width"]), int(values["height"])),
                bool(values["truncated"]),
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise DataError(f"not the JSON of Detections ({type(error).__name__}: {error})") from None

    def to_pandas(self) -> Any:
        """A pandas DataFrame, a row an object: `x1, y1, x2, y2, score, class_id, label`.

        Raises:
            Yolov3Error: pandas isn't installed.
        """
        pandas = _optional("pandas")
        frame = pandas.DataFrame(self.boxes, columns=["x1", "y1", "x2", "y2"])
        frame["score"], frame["class_id"] = self.scores, self.labels
        frame["label"] = [self.names[label] for label in self.labels]
        return frame

    def to_supervision(self) -> Any:
        """The same as supervision's Detections, with the names as `data["class_name"]`.

        Raises:
            Yolov3Error: supervision isn't installed.
        """
        supervision = _optional("supervision")
        names = np.array([self.names[label] for label in self.labels], dtype=str)
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            confidence=self.scores.copy(),
            class_id=self.labels.astype(int),
            data={"class_name": names},
        )

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        import html

        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{score:.2f}</td>"
            + "".join(f"<td>{value:.1f}</td>" for value in box)
            + "</tr>"
            for box, score, name in self
        )
        width, height = self.image_wh
        caption = html.escape(f"{self.summary()} in {width}×{height}")
        head = "".join(f"<th>{word}</th>" for word in ("label", "score", "x1", "y1", "x2", "y2"))
        return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def to_coco(self, image_id: int | str = 0, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """COCO result objects: `image_id, category_id, bbox [x, y, width, height], score`.

        Args:
            image_id: the picture's id in the ground truth.
            category_ids: the dataset's category id of each class; by default COCO's own ids where the names are
                COCO's 80, else the class index.
        """
        from .zoo.coco import category_ids as default_ids

        ids = default_ids(self.names) if category_ids is None else category_ids
        return [
            {
                "image_id": image_id,
                "category_id": int(ids[label]),
                "bbox": [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])],
                "score": float(score),
            }
            for box, score, label in zip(self.boxes, self.scores, self.labels, strict=True)
        ]


def _optional(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError:
        raise Yolov3Error(f"{package} is not installed; pip install {package}") from None
