"""COCO datasets: one JSON a split with `images`, `annotations` and `categories`.

Ids may have gaps and start anywhere; they are kept. Boxes are [x, y, width, height] in pixels, counted from the outer
edges of the picture's first pixel (https://cocodataset.org/#format-data).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...images import display_name, read_header
from ..dataset import Dataset, Sample
from ..pictures import Folders, is_file
from ..problems import DROP, Problem, ProblemError, Repair, problem_of, quote
from ..rows import RowCollector, pixel_frame
from .coco_document import Id, annotation_key, box_of, category_fault, image_fault, is_id, is_number, load_document

TOLERANCE = 1.0
"""How many pixels a box may reach out of its picture."""

_FOLDERS = ("images", ".", "../images", "../{split}", "../images/{split}", "{split}", "images/{split}", "..")
"""Where pictures are looked for, from the JSON's folder; {split} is the file's name without `instances_`."""


def read_coco(path: Path, *, images: Path | None = None, only: str | None = None, labels_only: bool = False) -> Dataset:
    """Read one COCO file, or a folder with a file a split (`instances_train.json` and so on).

    Args:
        path: the file or folder.
        images: the pictures' folder; by default looked for around the file.
        only: the one split to read; a single file is one split, whatever it is called.
        labels_only: pictures needn't be there.

    Raises:
        ProblemError: a file isn't a COCO object, so that there is nothing to go on.
    """
    problems: list[Problem] = []
    single = is_file(path)
    files = [path] if single else split_files(path)
    readers = [_Reader(file, images, problems, labels_only=labels_only) for file in files]
    first = readers[0]
    for other in readers[1:]:
        if (other.names, other.category_ids) != (first.names, first.category_ids):
            words = f"other categories than {first.file.name}, expected the same: give one file at a time"
            raise ProblemError(Problem("description", other.file, words))
    samples = {reader.split: reader.samples() for reader in readers if single or only in (None, reader.split)}
    return Dataset("coco", path, first.names, samples, first.category_ids, problems)


def split_files(folder: Path) -> list[Path]:
    """The COCO files of a folder, one a split: the official `instances_*` alone where there are some.

    Raises:
        ProblemError: two files are of the same split.
    """
    files = sorted(folder.glob("*.json"))
    files = [file for file in files if file.name.startswith("instances_")] or files
    splits: dict[str, Path] = {}
    for file in files:
        if (first := splits.setdefault(split_of(file), file)) != file:
            words = f"the split {split_of(file)}, as {first.name}, expected one file a split: give one at a time"
            raise ProblemError(Problem("description", file, words))
    return sorted(files, key=lambda file: ("train", "val", "test", "all").index(split_of(file)))


def split_of(file: Path) -> str:
    """The split that a file's name tells: train, val or test; else all."""
    found = re.findall(r"train|val|test", file.stem.lower())
    return found[-1] if found else "all"


def _short(folder: Path) -> Path:
    """The folder without `..` where that leads to the same one: a link on the way may make it another."""
    short = Path(os.path.normpath(folder))
    try:
        return short if folder.samefile(short) else folder
    except OSError:
        return folder


class _Reader:
    """Reads one file; what can't be used is left out and noted in `problems`."""

    def __init__(self, file: Path, images: Path | None, problems: list[Problem], *, labels_only: bool) -> None:
        self.file, self.images, self.problems, self.labels_only = file, images, problems, labels_only
        self.split = split_of(file)
        self.document = load_document(file)
        self.folders = Folders(problems)
        self.category_ids, self.names = self._categories()
        self.labels = {id_: label for label, id_ in enumerate(self.category_ids)}

    def _report(self, code: str, message: str, **fields: Any) -> None:
        self.problems.append(Problem(code, self.file, message, split=self.split, **fields))

    def _entries(self, key: str, fault_of: Callable[[Any], str | None]) -> Iterable[tuple[Any, dict[str, Any]]]:
        """The sound entries of a list, by id."""
        seen: set[Id] = set()
        for index, entry in enumerate(self.document[key]):
            fault = fault_of(entry)
            if fault is not None:
                self._report("entry", f"{key}[{index}]: {fault}: correct it", repair=DROP)
            elif entry["id"] in seen:
                words = f"{key}[{index}]: the id {quote(entry['id'])} for the second time, expected once: renumber"
                self._report("duplicate-id", words, repair=DROP)
            else:
                seen.add(entry["id"])
                yield entry["id"], entry

    def _categories(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Category ids in ascending order, and their names."""
        found = dict(sorted((id_, entry["name"]) for id_, entry in self._entries("categories", category_fault)))
        seen: dict[str, int] = {}
        for id_, name in found.items():
            if (first := seen.setdefault(name, id_)) != id_:
                words = f"{quote(name)} is category {first} and {id_}, expected different names: rename one"
                self._report("names", words)
        return tuple(found), tuple(found.values())

    def samples(self) -> list[Sample]:
        """The pictures in the file's order, with their boxes."""
        images = dict(self._entries("images", image_fault))
        annotations: dict[Id, list[dict[str, Any]]] = {id_: [] for id_ in images}
        seen: set[Id] = set()
        for index, entry in enumerate(self.document["annotations"]):
            owner = self._owner(index, entry, annotations, seen)
            if owner is not None:
                annotations[owner].append(entry)
        folder = self._picture_folder(images)
        return [self._sample(id_, image, folder, annotations[id_]) for id_, image in images.items()]

    def _owner(self, index: int, entry: Any, known: dict[Id, Any], seen: set[Id]) -> Id | None:
        """The picture of an annotation; None where it can't be used, which is noted.

        An annotation without a plain new id gets its place in the list for one.
        """
        if not isinstance(entry, dict):
            words = f"annotations[{index}]: {quote(json.dumps(entry))}, expected an object: correct it"
            self._report("entry", words, repair=DROP)
            return None
        id_ = annotation_key(entry, index, seen)
        if entry.get("id", id_) != id_:
            words = f"annotations[{index}]: the id {quote(entry['id'])}, expected a new number: renumber"
            self._report("duplicate-id", words, repair=Repair("renumber"))
        entry["id"] = id_
        owner = entry.get("image_id")
        if is_id(owner) and owner in known:
            return owner
        words = f"annotation {id_}: image_id {quote(owner)}, expected a listed image's: correct it or take it out"
        self._report("image-unknown", words, row=id_, repair=DROP)
        return None

    def _picture_folder(self, images: dict[Id, Any]) -> Path:
        """The folder that holds the pictures: as given, else the first around the file in which one is found."""
        if self.images is not None:
            return self.images
        names = [image["file_name"] for image in list(images.values())[:20]]
        word = self.file.stem.removeprefix("instances_")
        places = [_short(self.file.parent / pattern.format(split=word)) for pattern in _FOLDERS]
        return next((place for place in places if any(is_file(place / name) for name in names)), places[0])

    def _sample(self, id_: Id, image: dict[str, Any], folder: Path, annotations: list[dict[str, Any]]) -> Sample:
        picture = folder / image["file_name"]
        there = self.labels_only or self.folders.listing(str(picture.parent)).get(picture.name, False)
        if not there:
            words = f"image {id_}: {display_name(picture)} isn't there, expected a picture: name its folder (--images)"
            self._report("picture-missing", words, image=picture)
        size_wh = self._size(image, picture, there=there)
        frame = pixel_frame(size_wh, TOLERANCE)
        rows = RowCollector(
            self.file,
            picture,
            self.split,
            frame,
            self.problems,
            word="annotation",
            keep_duplicates=True,
            clip=False,
        )
        for entry in annotations:
            self._add(entry, rows)
        return Sample(picture, id_, self.file, rows.objects(areas=True), declared_wh=size_wh)

    def _size(self, image: dict[str, Any], picture: Path, *, there: bool) -> tuple[int, int] | None:
        """(width, height) as declared; where that says nothing, as the picture's header has it."""
        width, height = image.get("width") or 0, image.get("height") or 0
        if width and height:
            return width, height
        if self.labels_only or not there:
            return None
        try:
            return read_header(picture).size_wh
        except DataError as error:
            self.problems.append(problem_of("picture-bad", picture, error, split=self.split, image=picture))
            return None

    def _add(self, entry: dict[str, Any], rows: RowCollector) -> None:
        """Add one annotation's box, or note why it can't be used."""
        row, category, box = entry["id"], entry.get("category_id"), box_of(entry.get("bbox"))
        label = self.labels.get(category) if type(category) is int else None
        if label is None:
            words = f"category_id {quote(category)}, expected one of the {len(self.names)} categories: correct it"
            rows.refuse("class-range", words, row=row, line=None)
        if box is None:
            found = quote(json.dumps(entry["bbox"])) if "bbox" in entry else "no bbox"
            words = f"{found}, expected [x, y, width, height] as numbers: correct it"
            rows.refuse("box-format", words, row=row, line=None)
        if label is None or box is None:
            return
        x, y, width, height = box
        area = entry.get("area")
        rows.add(
            label,
            (x, y, x + width, y + height),
            row=row,
            line=None,
            size=(width, height),
            crowd=entry.get("iscrowd") in (1, True),
            difficult=entry.get("difficult") in (1, True),
            area=float(area) if is_number(area) else width * height,
        )
