"""Writing a repaired copy: what is sound stays as it is written, only rows with a problem are changed or left out."""

from __future__ import annotations

import itertools
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...geometry import xyxy_to_cxcywh
from ..dataset import Dataset, Sample
from ..output import Pictures, picture_names, place_picture
from ..pictures import is_file
from ..problems import Repair
from .coco import split_files, split_of
from .coco_document import Id, annotation_key, category_fault, image_fault, is_id, load_document
from .voc import CLASS_FILE, CORNERS
from .writing import voc_corners, write_data_yaml, write_json, write_lines, yolo_rows
from .yolo_config import read_config

Repairs = dict[Path, dict[int | str, Repair]]
"""For each file what to do with its rows, by the key of `problems.Problem.row`."""

Splits = Mapping[str, list[Sample]]


def patch_labels(source: Dataset, splits: Splits, repairs: Repairs, folder: Path, pictures: Pictures) -> None:
    """Write data.yaml, images/SPLIT and labels/SPLIT from a YOLO or Darknet dataset."""
    names = picture_names(splits, shared=False)
    for split, members in splits.items():
        (folder / "labels" / split).mkdir(parents=True)
        for sample, name in zip(members, names[split], strict=True):
            place_picture(sample.image, folder / "images" / split / name, pictures)
            file = sample.label_file
            if file is not None:
                target = folder / "labels" / split / Path(name).with_suffix(".txt")
                target.write_bytes(_patched_rows(file.read_bytes(), repairs.get(file, {})))
    if source.kind == "yolo":
        config = read_config(source.path)
        write_data_yaml(folder, list(splits), config.names, config.classes)
    else:
        write_data_yaml(folder, list(splits), source.names)


def _patched_rows(data: bytes, repairs: Mapping[int | str, Repair]) -> bytes:
    """A label file with some of its lines (from 1) rewritten or taken out."""
    lines = []
    for number, line in enumerate(data.split(b"\n"), 1):
        repair = repairs.get(number)
        if repair is None:
            lines.append(line)
        elif repair.box is not None and repair.label is not None:
            box = xyxy_to_cxcywh(np.array([repair.box]))
            lines.append(yolo_rows(np.array([repair.label]), box).rstrip("\n").encode())
    return b"\n".join(lines)


def patch_voc(source: Dataset, splits: Splits, repairs: Repairs, folder: Path, pictures: Pictures) -> None:
    """Write Annotations, JPEGImages, ImageSets/Main and classes.txt, where there was one."""
    (folder / "Annotations").mkdir()
    for split, members in splits.items():
        stems = []
        for sample in members:
            if sample.label_file is None:
                continue
            target = folder / "JPEGImages" / sample.image.name
            if not target.exists():  # a picture may stand in two splits
                place_picture(sample.image, target, pictures)
            data = sample.label_file.read_bytes()
            wanted = repairs.get(sample.label_file)
            (folder / "Annotations" / sample.label_file.name).write_bytes(
                _patched_xml(data, wanted) if wanted else data
            )
            stems.append(sample.label_file.stem)
        if split != "all":
            write_lines(folder / "ImageSets" / "Main" / f"{split}.txt", stems)
    if is_file(source.path / CLASS_FILE):
        shutil.copyfile(source.path / CLASS_FILE, folder / CLASS_FILE)


def _patched_xml(data: bytes, repairs: Mapping[int | str, Repair]) -> bytes:
    """An annotation with some of its objects (from 1) changed or taken out. The reader has refused any DTD before."""
    root = ET.fromstring(data)
    for number, thing in enumerate(root.findall("object"), 1):
        repair = repairs.get(number)
        if repair is None:
            continue
        if repair.box is None:
            root.remove(thing)
            continue
        for tag, text in zip(CORNERS, voc_corners(repair.box), strict=True):
            corner = thing.find(f"bndbox/{tag}")
            if corner is not None:
                corner.text = text
    patched: bytes = ET.tostring(root, encoding="utf-8")
    return patched + b"\n"


def patch_coco(source: Dataset, splits: Splits, repairs: Repairs, folder: Path, pictures: Pictures) -> None:
    """Write annotations/instances_SPLIT.json, with every key of the original, and images/SPLIT."""
    (folder / "annotations").mkdir()
    files = [source.path] if is_file(source.path) else split_files(source.path)
    names = picture_names(splits, shared=False)
    for file in files:
        split = split_of(file)
        new_names: dict[Id, str] = {}
        for sample, name in zip(splits[split], names[split], strict=True):
            place_picture(sample.image, folder / "images" / split / name, pictures)
            new_names[sample.image_id] = name
        document = _patched_document(load_document(file), new_names, repairs.get(file, {}))
        write_json(folder / "annotations" / f"instances_{split}.json", document)


def _patched_document(
    document: dict[str, Any], names: Mapping[Id, str], repairs: Mapping[int | str, Repair]
) -> dict[str, Any]:
    """A COCO file of the pictures in `names` alone, its annotations changed, renumbered or taken out."""
    sound = [entry for entry in document["images"] if image_fault(entry) is None]
    images = {entry["id"]: entry for entry in reversed(sound)}
    categories = [entry for entry in document["categories"] if category_fault(entry) is None]
    unique = {entry["id"]: entry for entry in reversed(categories)}
    return {
        **document,
        "images": [{**images[id_], "file_name": name} for id_, name in names.items()],
        "annotations": list(_patched_annotations(document["annotations"], names, repairs)),
        "categories": [entry for entry in categories if unique[entry["id"]] is entry],
    }


def _patched_annotations(
    annotations: list[Any], names: Mapping[Id, str], repairs: Mapping[int | str, Repair]
) -> Iterator[dict[str, Any]]:
    seen: set[Id] = set()
    ids = [entry.get("id") for entry in annotations if isinstance(entry, dict)]
    fresh = itertools.count(max((id_ for id_ in ids if type(id_) is int), default=0) + 1)
    for index, entry in enumerate(annotations):
        if not isinstance(entry, dict):
            continue
        key = annotation_key(entry, index, seen)
        repair = repairs.get(key)
        owner = entry.get("image_id")
        if not is_id(owner) or owner not in names or (repair is not None and repair.box is None):
            continue
        patched = dict(entry) if entry.get("id") == key else {**entry, "id": next(fresh)}
        if repair is not None and repair.box is not None:
            x1, y1, x2, y2 = repair.box
            patched["bbox"] = [round(value, 6) for value in (x1, y1, x2 - x1, y2 - y1)]
        yield patched
