"""Writing datasets as YOLO, COCO or Pascal VOC folders, and saying what the format can't hold."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ...geometry import FloatArray, box_area, xyxy_to_cxcywh
from ...images import read_header
from ..dataset import Dataset, Sample
from ..output import Pictures, picture_names, place_picture
from .voc import CLASS_FILE, CORNERS

DIGITS = 8
"""Decimals of a YOLO label: 1e-8 of a side of 65,535 pixels is below a thousandth of a pixel."""


@dataclass(slots=True)
class Written:
    """What was written and what could not be.

    Attributes:
        pictures, boxes: how many.
        lost: what the format can't hold, each kind counted.
        worst_shift: the farthest that rounding moved an edge, in pixels.
    """

    pictures: int = 0
    boxes: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    worst_shift: float = 0.0


@dataclass(frozen=True, slots=True)
class _Placed:
    """A sample on its way out: its true size, its boxes in pixels, its new file name."""

    sample: Sample
    name: str
    size_wh: tuple[int, int]
    boxes: NDArray[np.float64]

    @property
    def stem(self) -> str:
        return Path(self.name).stem


def _place(members: Sequence[Sample], names: Sequence[str], folder: Path, pictures: Pictures) -> list[_Placed]:
    """Copy the pictures of a split and take their sizes.

    Raises:
        DataError: a picture's header can't be read, or it isn't the size that its annotation says.
    """
    placed = []
    for sample, name in zip(members, names, strict=True):
        size_wh = read_header(sample.image).size_wh
        placed.append(_Placed(sample, name, size_wh, sample.boxes_for(size_wh)))
        place_picture(sample.image, folder / name, pictures)
    return placed


def _renamed(samples: Mapping[str, list[Sample]]) -> dict[str, list[Sample]]:
    """Splits under the names that data.yaml knows: what isn't split is for training."""
    return {"train" if split == "all" else split: members for split, members in samples.items()}


def write_yolo(dataset: Dataset, folder: Path, pictures: Pictures) -> Written:
    """Write data.yaml, images/SPLIT and labels/SPLIT. Crowds are left out; difficult boxes lose their mark."""
    written = Written()
    splits = _renamed(dataset.samples)
    names = picture_names(splits, shared=False)
    for split, members in splits.items():
        labels = folder / "labels" / split
        labels.mkdir(parents=True)
        for placed in _place(members, names[split], folder / "images" / split, pictures):
            kept = ~placed.sample.crowd
            boxes = xyxy_to_cxcywh(placed.boxes[kept] / np.array(placed.size_wh * 2))
            text = yolo_rows(placed.sample.labels[kept], boxes)
            (labels / f"{placed.stem}.txt").write_text(text, encoding="ascii", newline="\n")
            _count(written, placed, kept)
            written.lost["difficult marks"] += int(placed.sample.difficult[kept].sum())
    write_data_yaml(folder, list(splits), dataset.names)
    return written


def yolo_rows(labels: NDArray[np.int64], boxes: FloatArray) -> str:
    """The text of a label file: cxcywh boxes (N, 4) in parts of the picture."""
    rows = zip(labels.tolist(), boxes.tolist(), strict=True)
    return "".join(f"{label} {' '.join(map(_decimal, box))}\n" for label, box in rows)


def _decimal(value: float) -> str:
    """A plain decimal; in powers of ten only where it would otherwise become 0."""
    return f"{value:.{DIGITS}e}" if 0 < value < 1e-6 else f"{value:.{DIGITS}f}"


def write_data_yaml(
    folder: Path, splits: Sequence[str], names: Sequence[str], classes: Mapping[str, str | None] | None = None
) -> None:
    """Write a data.yaml that stands beside images/SPLIT."""
    content: dict[str, Any] = {split: f"images/{split}" for split in splits}
    content["names"] = dict(enumerate(names))
    if classes:
        content["classes"] = dict(classes)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    (folder / "data.yaml").write_text(text, encoding="utf-8", newline="\n")


def _count(written: Written, placed: _Placed, kept: NDArray[np.bool_]) -> None:
    """Count what is kept and what YOLO and VOC have no place for."""
    written.pictures += 1
    written.boxes += int(kept.sum())
    written.lost["crowd regions"] += int((~kept).sum())
    areas = placed.sample.objects.areas
    if areas is not None:
        own = box_area(placed.boxes)
        written.lost["areas other than the box's own"] += int((np.abs(areas - own) > 1e-3 * own)[kept].sum())


def write_coco(dataset: Dataset, folder: Path, pictures: Pictures) -> Written:
    """Write annotations/instances_SPLIT.json and images/SPLIT. COCO's own ids are kept, others count from 1."""
    written = Written()
    (folder / "annotations").mkdir()
    names = picture_names(dataset.samples, shared=False)
    ids = dataset.category_ids or tuple(range(1, len(dataset.names) + 1))
    categories = [{"id": id_, "name": name} for id_, name in zip(ids, dataset.names, strict=True)]
    keep_ids = dataset.kind == "coco" and _plain_ids(dataset)
    for split, members in dataset.samples.items():
        images, annotations = [], []
        for placed in _place(members, names[split], folder / "images" / split, pictures):
            written.pictures += 1
            id_ = placed.sample.image_id if dataset.kind == "coco" else written.pictures
            width, height = placed.size_wh
            images.append({"id": id_, "file_name": placed.name, "width": width, "height": height})
            for annotation in _annotations(placed, ids):
                written.boxes += 1
                row = annotation.pop("row")
                number = row if keep_ids else written.boxes
                annotations.append({"id": number, "image_id": id_, **annotation})
        document = {"images": images, "annotations": annotations, "categories": categories}
        write_json(folder / "annotations" / f"instances_{split}.json", document)
    return written


def _plain_ids(dataset: Dataset) -> bool:
    """Whether every annotation has a number of its own from 1 up; scorers take an annotation 0 for none."""
    rows = [row for members in dataset.samples.values() for sample in members for row in sample.objects.rows]
    return all(isinstance(row, int) and row > 0 for row in rows) and len(set(rows)) == len(rows)


def _annotations(placed: _Placed, ids: Sequence[int]) -> list[dict[str, Any]]:
    """One object's COCO entry each, still without ids. `difficult` is an extra key that only we read."""
    sample = placed.sample
    areas = box_area(placed.boxes) if sample.objects.areas is None else sample.objects.areas
    entries = []
    for index, (x1, y1, x2, y2) in enumerate(placed.boxes.tolist()):
        entry = {
            "row": sample.objects.rows[index],
            "category_id": ids[sample.labels[index]],
            "bbox": [round(value, 6) for value in (x1, y1, x2 - x1, y2 - y1)],
            "area": round(float(areas[index]), 6),
            "iscrowd": int(sample.crowd[index]),
        }
        entries.append({**entry, "difficult": 1} if sample.difficult[index] else entry)
    return entries


def write_json(file: Path, document: object) -> None:
    """Write JSON as UTF-8."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8", newline="\n")


def write_voc(dataset: Dataset, folder: Path, pictures: Pictures) -> Written:
    """Write Annotations, JPEGImages, ImageSets/Main and classes.txt. Boxes are rounded to whole pixels.

    VOC counts whole pixels from 1 and can't hold crowds. A box of less than two pixels is widened to two, for xmin
    equal to xmax would read as no area.
    """
    written = Written()
    names = picture_names(dataset.samples, shared=True)
    (folder / "Annotations").mkdir()
    for split, members in dataset.samples.items():
        stems = []
        for placed in _place(members, names[split], folder / "JPEGImages", pictures):
            _write_xml(folder / "Annotations" / f"{placed.stem}.xml", placed, dataset.names, written)
            stems.append(placed.stem)
        if split != "all":
            write_lines(folder / "ImageSets" / "Main" / f"{split}.txt", stems)
    write_lines(folder / CLASS_FILE, dataset.names)
    return written


def write_lines(file: Path, lines: Sequence[str]) -> None:
    """Write a line each as UTF-8, making the folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _write_xml(file: Path, placed: _Placed, names: Sequence[str], written: Written) -> None:
    root = ET.Element("annotation")
    ET.SubElement(root, "folder").text = "JPEGImages"
    ET.SubElement(root, "filename").text = placed.name
    size = ET.SubElement(root, "size")
    for tag, value in zip(("width", "height", "depth"), (*placed.size_wh, 3), strict=True):
        ET.SubElement(size, tag).text = f"{value}"
    kept = ~placed.sample.crowd
    _count(written, placed, kept)
    rounded = _whole_pixels(placed.boxes[kept], placed.size_wh)
    shift = np.abs(rounded - placed.boxes[kept]).max(axis=1, initial=0.0)
    written.lost["fractions of a pixel"] += int((shift > 1e-3).sum())
    written.worst_shift = max(written.worst_shift, float(shift.max(initial=0.0)))
    labels, difficult = placed.sample.labels[kept].tolist(), placed.sample.difficult[kept].tolist()
    for label, hard, box in zip(labels, difficult, rounded.tolist(), strict=True):
        thing = ET.SubElement(root, "object")
        ET.SubElement(thing, "name").text = names[label]
        ET.SubElement(thing, "difficult").text = str(int(hard))
        corners = ET.SubElement(thing, "bndbox")
        for tag, corner in zip(CORNERS, voc_corners(box), strict=True):
            ET.SubElement(corners, tag).text = corner
    ET.indent(root)
    ET.ElementTree(root).write(file, encoding="utf-8")


def _whole_pixels(boxes: NDArray[np.float64], size_wh: tuple[int, int]) -> NDArray[np.float64]:
    """xyxy boxes (N, 4) on whole pixels, at least two wide and high where the picture is, and inside it."""
    limit = np.array(size_wh, np.float64)
    low = np.clip(np.rint(boxes[:, :2]), 0, np.maximum(limit - 2, 0))
    high = np.clip(np.maximum(np.rint(boxes[:, 2:]), low + 2), 0, limit)
    return np.concatenate([low, high], axis=1)


def voc_corners(box: Sequence[float]) -> list[str]:
    """xmin, ymin, xmax, ymax as VOC counts them, from an xyxy box in pixels."""
    x1, y1, x2, y2 = box
    return [f"{value:.10g}" for value in (x1 + 1, y1 + 1, x2, y2)]
