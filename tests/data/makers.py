"""Small datasets of every kind, made in a test's own folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from yolov3.data import Report, check_dataset

NAMES = ("cat", "dog", "bird")
SIZE_WH = (200, 100)
ROW = "1 0.5 0.5 0.25 0.5"
"""A dog in the middle: 75, 25, 125, 75 in a picture of 200×100."""


def write_picture(path: Path, size_wh: tuple[int, int] = SIZE_WH, seed: int = 0, orientation: int = 1) -> Path:
    """A picture of coarse noise: two seeds are as unlike as two photographs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    picture = Image.fromarray(coarse).resize(size_wh, Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[274] = orientation
    options = {"exif": exif} if orientation != 1 else {}
    picture.save(path, **options)
    return path


def yolo(
    root: Path, labels: Mapping[str, str | bytes | None], *, split: str = "train", names: tuple[str, ...] = NAMES
) -> Path:
    """A YOLO dataset: for each stem its label file's content, None for none. Gives the data.yaml."""
    seed = len(list(root.rglob("*.png")))
    for number, (stem, content) in enumerate(labels.items(), seed):
        write_picture(root / "images" / split / f"{stem}.png", seed=number)
        file = root / "labels" / split / f"{stem}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            file.write_bytes(content.encode() if isinstance(content, str) else content)
    splits = sorted(folder.name for folder in (root / "images").iterdir())
    lines = [f"{name}: images/{name}\n" for name in splits]
    data = root / "data.yaml"
    data.write_text("".join(lines) + f"names: {json.dumps(list(names))}\n")
    return data


def coco_document(**changes: Any) -> dict[str, Any]:
    """Two pictures, sparse ids, one crowd."""
    document: dict[str, Any] = {
        "info": {"year": 2020},
        "images": [
            {"id": 42, "file_name": "a.png", "width": 200, "height": 100, "licence": 3},
            {"id": 7, "file_name": "b.png", "width": 200, "height": 100},
        ],
        "annotations": [
            {"id": 5, "image_id": 42, "category_id": 90, "bbox": [10.5, 20.25, 30, 40], "area": 600.5, "iscrowd": 0},
            {"id": 9, "image_id": 42, "category_id": 3, "bbox": [0, 0, 200, 100], "area": 9000, "iscrowd": 1},
            {"id": 6, "image_id": 7, "category_id": 3, "bbox": [100, 50, 20, 10], "score": "kept"},
        ],
        "categories": [{"id": 90, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    return {**document, **changes}


def coco(root: Path, document: Any = None, name: str = "instances_val.json") -> Path:
    """A COCO dataset of pictures a.png and b.png. Gives the JSON."""
    for seed, stem in enumerate("ab"):
        write_picture(root / "images" / f"{stem}.png", seed=seed)
    file = root / name
    file.write_text(json.dumps(coco_document() if document is None else document))
    return file


def voc_object(name: str, box: tuple[object, ...], *, difficult: int = 0) -> str:
    corners = "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return (
        f"<object>\n<name>{name}</name>\n<pose>Left</pose>\n<difficult>{difficult}</difficult>\n"
        f"<bndbox>{corners}</bndbox>\n</object>\n"
    )


def voc_xml(*objects: str, size_wh: tuple[int, int] = SIZE_WH, filename: str = "x.png") -> str:
    width, height = size_wh
    return (
        f"<annotation>\n<filename>{filename}</filename>\n"
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
        + "".join(objects)
        + "</annotation>\n"
    )


def voc(root: Path, annotations: Mapping[str, str], splits: Mapping[str, list[str]] | None = None) -> Path:
    """A Pascal VOC root: for each stem its XML."""
    for seed, (stem, text) in enumerate(annotations.items()):
        write_picture(root / "JPEGImages" / f"{stem}.png", seed=seed)
        file = root / "Annotations" / f"{stem}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for split, stems in (splits or {}).items():
        lists = root / "ImageSets" / "Main"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
    return root


def codes(report: Report, severity: str = "error") -> list[str]:
    """The codes of a report's problems of one severity."""
    return [problem.code for problem in report.problems if problem.severity == severity]


def found(path: Path, code: str, **options: Any) -> list[str]:
    """The lines that a check says about one code, with the dataset's folder taken off."""
    report = check_dataset(path, **options)
    root = path if path.is_dir() else path.parent
    return [str(problem).removeprefix(f"{root}/") for problem in report.problems if problem.code == code]


def fingerprint(root: Path) -> dict[str, tuple[str, int]]:
    """Content and time of every file under a folder."""
    return {
        str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
