"""`GroundTruth`: the true boxes of a split as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..data import Sample
from ..errors import DataError
from ..zoo.coco import category_ids as default_ids

Id = int | str
MAX_AREA = 1e5**2
"""COCO counts areas from 0 to this one (`cocoeval.py: Params.areaRng`)."""


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The true boxes of a split, those of all pictures in one array each; G is the number of boxes.

    Attributes:
        names: class names.
        category_ids: what a results file calls each class: the dataset's own id, without one as `Detections.to_coco`.
        samples: the pictures. In ascending order where ids are numbers: COCO's evaluator sorts them so, and of boxes
            with equal scores the first counts first.
        image: int64 (G,), index into `samples`.
        boxes_xywh: float64 (G, 4), left, top, width, height in pixels of the displayed picture.
        labels: int64 (G,), index into `names`.
        areas: float64 (G,) in pixels; what makes an object small, medium or large.
        crowd: bool (G,), regions in which detections count neither for nor against: COCO's crowds, and the objects
            that Pascal VOC calls difficult.
        numbers: int64 (G,), the box's place in its sample.
    """

    names: tuple[str, ...]
    category_ids: tuple[int, ...]
    samples: tuple[Sample, ...]
    image: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    numbers: NDArray[np.int64]

    @classmethod
    def from_samples(
        cls, samples: Sequence[Sample], names: Sequence[str], category_ids: Sequence[int] | None = None
    ) -> GroundTruth:
        """Gather the boxes of samples; pictures' headers are read where only they tell the size.

        Raises:
            DataError: two pictures have one id, or a header can't be read.
        """
        if all(isinstance(sample.image_id, int) for sample in samples):
            samples = sorted(samples, key=lambda sample: sample.image_id)
        seen: set[Id] = set()
        for sample in samples:
            if sample.image_id in seen:
                raise DataError(f"two pictures have the id {sample.image_id!r}, expected one each")
            seen.add(sample.image_id)
        counts = [len(sample.labels) for sample in samples]
        boxes = np.concatenate([np.zeros((0, 4)), *(sample.boxes for sample in samples)])
        boxes[:, 2:] -= boxes[:, :2]
        nothing, no_number = np.zeros(0, np.bool_), np.zeros(0, np.int64)
        return cls(
            tuple(names),
            tuple(default_ids(names) if category_ids is None else category_ids),
            tuple(samples),
            np.repeat(np.arange(len(samples)), counts),
            boxes,
            np.concatenate([no_number, *(sample.labels for sample in samples)]),
            np.concatenate([np.zeros(0), *(sample.areas for sample in samples)]),
            np.concatenate([nothing, *(sample.crowd | sample.difficult for sample in samples)]),
            np.concatenate([no_number, *(np.arange(count) for count in counts)]),
        )

    def __len__(self) -> int:
        return len(self.boxes_xywh)

    @cached_property
    def index_of(self) -> dict[Id, int]:
        """The place of each picture id in `samples`."""
        return {sample.image_id: index for index, sample in enumerate(self.samples)}

    @cached_property
    def ignored(self) -> NDArray[np.bool_]:
        """bool (G,): boxes that needn't be found, crowds and those of an area beyond all bounds."""
        return self.crowd | (self.areas < 0) | (self.areas > MAX_AREA)

    @cached_property
    def objects(self) -> NDArray[np.int64]:
        """int64 (classes,): how many objects there are to find."""
        return np.bincount(self.labels[~self.ignored], minlength=len(self.names))

    def place(self, box: int) -> str:
        """Where a box stands in the user's files, for a message."""
        return self.samples[int(self.image[box])].place(int(self.numbers[box]))
