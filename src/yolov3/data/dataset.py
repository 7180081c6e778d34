"""`Dataset` and `Sample`: pictures and their true boxes, whatever the files they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from ..geometry import box_area
from ..images import display_name, read_header
from .problems import Problem
from .rows import Objects

Kind = Literal["yolo", "coco", "voc", "darknet"]
SPLITS = ("train", "val", "test")


@dataclass(slots=True, eq=False)
class Sample:
    """One picture and its boxes. Nothing of the picture is read before its size is asked for.

    Attributes:
        image: the picture's file.
        image_id: the dataset's own id: COCO's number; elsewhere the picture's path in its split without suffix.
        label_file: the file that holds its boxes; None for a picture without one.
        objects: the boxes in the file's own unit.
        relative: the unit is parts of the picture (0 to 1), not pixels.
        declared_wh: (width, height) that the annotation gives, if it does.
    """

    image: Path
    image_id: int | str
    label_file: Path | None
    objects: Objects = field(repr=False)
    relative: bool = False
    declared_wh: tuple[int, int] | None = None
    _size_wh: tuple[int, int] | None = field(default=None, repr=False)

    @property
    def size_wh(self) -> tuple[int, int]:
        """(width, height) in pixels of the displayed picture: as declared, else read from the file's header.

        Raises:
            DataError: nothing is declared and the picture's header can't be read.
        """
        if self._size_wh is None:
            self._size_wh = self.declared_wh or read_header(self.image).size_wh
        return self._size_wh

    @property
    def known_wh(self) -> tuple[int, int] | None:
        """The size as far as it is known without opening the picture."""
        return self._size_wh or self.declared_wh

    def note_size(self, size_wh: tuple[int, int]) -> None:
        """Take in a size that somebody has read already, where none is declared."""
        self._size_wh = self.declared_wh or size_wh

    @property
    def boxes(self) -> NDArray[np.float64]:
        """float64 (N, 4): xyxy in pixels of the displayed picture. Reads its header where the size isn't known."""
        return self.boxes_for(self.size_wh)

    def boxes_for(self, size_wh: tuple[int, int]) -> NDArray[np.float64]:
        """`boxes` for a picture that is already decoded, with no further look at its file.

        Raises:
            DataError: the boxes are in pixels of a picture of another size.
        """
        if self.relative:
            return np.multiply(self.objects.boxes, np.array(size_wh * 2, np.float64))
        if self.declared_wh is not None and self.declared_wh != size_wh:
            words = size_mismatch(size_wh, self.declared_wh)
            raise DataError(f"{display_name(self.image)}: {words}")
        return self.objects.boxes

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 (N,): indices into the dataset's names."""
        return self.objects.labels

    @property
    def crowd(self) -> NDArray[np.bool_]:
        """bool (N,): regions of many objects (COCO's iscrowd)."""
        return self.objects.crowd

    @property
    def difficult(self) -> NDArray[np.bool_]:
        """bool (N,): objects that Pascal VOC's scoring leaves out."""
        return self.objects.difficult

    @property
    def areas(self) -> NDArray[np.float64]:
        """float64 (N,) in pixels: COCO's `area` where the file gives it, else the boxes' own."""
        if self.objects.areas is not None:
            return self.objects.areas
        return np.asarray(box_area(self.boxes), np.float64)

    def relative_boxes(self) -> NDArray[np.float64] | None:
        """float64 (N, 4): xyxy in parts of the picture's sides; None where that would take opening the picture."""
        if self.relative:
            return self.objects.boxes
        return self.objects.boxes / np.array(self.known_wh * 2, np.float64) if self.known_wh else None

    def place(self, index: int) -> str:
        """Where box `index` stands, for a message: "labels/x.txt:3" or "instances.json: 1774"."""
        separator = ":" if self.relative else ": "
        return f"{display_name(self.label_file or self.image)}{separator}{self.objects.rows[index]}"


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Pictures with true boxes, in named splits.

    Attributes:
        kind: "yolo", "coco", "voc" or "darknet".
        path: what was given to `load_dataset`.
        names: the class names; `names[label]` is a box's class.
        samples: the samples of each split, "train", "val", "test", or "all" where files don't say.
        category_ids: COCO's category id of each label; None elsewhere.
        problems: what the reader met: warnings, notes, and the errors that it was told to skip.
    """

    kind: Kind
    path: Path
    names: tuple[str, ...]
    samples: Mapping[str, list[Sample]]
    category_ids: tuple[int, ...] | None = None
    problems: Sequence[Problem] = ()

    def __len__(self) -> int:
        return sum(map(len, self.samples.values()))

    def split(self, name: str | None = None) -> list[Sample]:
        """The samples of one split; without a name those to score on: val, else test, else the only split.

        Raises:
            UsageError: there is no such split.
        """
        if name is None:
            name = next((choice for choice in ("val", "test") if choice in self.samples), None)
        if name is None and len(self.samples) == 1:
            name = next(iter(self.samples))
        if name is None or name not in self.samples:
            raise UsageError(f"{display_name(self.path)}: no split {name or 'val'}, it has {self.split_words}")
        return self.samples[name]

    @property
    def split_words(self) -> str:
        """The splits' names for a message."""
        return ", ".join(self.samples) or "none"


def size_mismatch(found_wh: tuple[int, int], declared_wh: tuple[int, int]) -> str:
    """What to say about a picture whose size isn't the one in its annotation."""
    turned = found_wh == declared_wh[::-1]
    why = " (was it annotated before its EXIF orientation was obeyed?)" if turned else ""
    return (
        f"the picture is {found_wh[0]}×{found_wh[1]} pixels as displayed, its annotation "
        f"says {declared_wh[0]}×{declared_wh[1]}{why}: annotate it anew or restore the picture"
    )


def remap(dataset: Dataset, classes: Mapping[str, str | None]) -> Dataset:
    """Rename, merge and drop classes: `classes` maps a name to its new name, or to None to drop its boxes.

    Classes that aren't mentioned stay. New labels count the new names in the order of their first old label.
    """
    targets = [classes.get(name, name) for name in dataset.names]
    names = tuple(dict.fromkeys(name for name in targets if name is not None))
    table = np.array([-1 if name is None else names.index(name) for name in targets], np.int64)
    samples = {split: [_relabel(sample, table) for sample in members] for split, members in dataset.samples.items()}
    return replace(dataset, names=names, samples=samples)


def _relabel(sample: Sample, table: NDArray[np.int64]) -> Sample:
    """A sample with labels looked up in `table`; boxes whose entry is −1 are left out."""
    if not len(sample.objects):
        return sample
    old = sample.objects
    labels = table[old.labels]
    kept = labels >= 0
    objects = Objects(
        old.boxes[kept],
        labels[kept],
        old.crowd[kept],
        old.difficult[kept],
        old.rows[kept],
        None if old.areas is None else old.areas[kept],
    )
    return replace(sample, objects=objects)
