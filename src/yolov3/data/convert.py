"""Converting a dataset from any kind to YOLO, COCO or Pascal VOC."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..images import display_name
from .dataset import Dataset
from .formats.writing import Written, write_coco, write_voc, write_yolo
from .load import BadLabels, load_dataset
from .output import Pictures, new_folder

_WRITERS: dict[str, Callable[[Dataset, Path, Pictures], Written]] = {
    "yolo": write_yolo,
    "coco": write_coco,
    "voc": write_voc,
}


@dataclass(frozen=True, slots=True)
class Conversion:
    """What `convert_dataset` wrote.

    Attributes:
        path: the new folder, which can be loaded.
        kind: "yolo", "coco" or "voc".
        pictures, boxes: how many.
        lost: what the new format can't hold, in words, each kind with its number.
    """

    path: Path
    kind: str
    pictures: int
    boxes: int
    lost: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "path": display_name(self.path),
            "kind": self.kind,
            "pictures": self.pictures,
            "boxes": self.boxes,
            "lost": list(self.lost),
        }


def convert_dataset(
    path: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    kind: str,
    *,
    split: str | None = None,
    images: str | os.PathLike[str] | None = None,
    bad_labels: BadLabels = "error",
    pictures: Pictures = "copy",
) -> Conversion:
    """Write a dataset as another kind into a new folder, pictures included; nothing of it appears unless all does.

    Boxes survive a round trip to within a thousandth of a pixel, save where VOC rounds them to whole pixels.

    Args:
        path: what to convert.
        out_dir: the new folder, or an empty one.
        kind: "yolo", "coco" or "voc".
        split, images, bad_labels: as in `load_dataset`.
        pictures: "copy" them or "link" to them.

    Raises:
        DataError: the dataset can't be used, or a picture isn't the size that its annotation says.
        UsageError: no such kind, or the folder holds something.
        Yolov3Error: the folder can't be written.
    """
    if kind not in _WRITERS:
        raise UsageError(f"--to {kind}: expected one of {', '.join(_WRITERS)}")
    dataset = load_dataset(path, split=split, images=images, bad_labels=bad_labels)
    target = Path(out_dir)
    with new_folder(target) as folder:
        written = _WRITERS[kind](dataset, folder, pictures)
    return Conversion(target, kind, written.pictures, written.boxes, _lost(dataset, written))


def _lost(dataset: Dataset, written: Written) -> tuple[str, ...]:
    lost = [f"{count:,} {what}" for what, count in written.lost.items() if count]
    if written.worst_shift > 1e-3:
        lost.append(f"edges moved by up to {written.worst_shift:.2f} pixels")
    if dataset.kind == "coco":
        lost.append("polygons, masks, keypoints and other keys of the COCO file, where it has any")
    elif dataset.kind == "voc":
        lost.append("pose, truncated and other elements of the XML, where it has any")
    return tuple(lost)
