"""Pascal VOC datasets: an XML a picture in `Annotations`, lists of them in `ImageSets/Main`.

VOC counts pixels from 1 and its corners belong to the box (VOC2012 development kit, section 8.1), so the box of a whole
picture of W×H pixels is 1, 1, W, H. Here that is the box from 0, 0 to W, H: 1 is taken off xmin and ymin, nothing off
xmax and ymax. Files that count from 0 or write edges shift by at most a pixel, which the tolerance allows.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...images import read_header
from ..dataset import Dataset, Sample
from ..pictures import Folders, is_folder, is_picture_name, read_bytes, read_text, stem_of
from ..problems import BoxTuple, Problem, problem_of, quote
from ..rows import NO_OBJECTS, RowCollector, pixel_frame
from .names_file import read_names_file
from .voc_xml import Element, XmlError, parse_xml

TOLERANCE = 1.0
"""How many pixels a box may reach out of its picture."""

MAX_XML_BYTES = 16 << 20
CLASS_FILE = "classes.txt"
"""A file in the root with a class name a line; without it names are those that occur, sorted."""

_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{0,40})?", re.ASCII)
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(path: Path, *, images: Path | None = None, only: str | None = None, labels_only: bool = False) -> Dataset:
    """Read a Pascal VOC root.

    The splits are `ImageSets/Main/train.txt`, `val.txt` and `test.txt`; `trainval.txt` only where neither train nor val
    is there. Without any, all annotations are the split "all".

    Args:
        path: the folder that holds `Annotations`.
        images: the pictures' folder; by default `JPEGImages`, else `images`, else beside the XML files.
        only: the one split to read; None for all.
        labels_only: pictures needn't be there.

    Raises:
        ProblemError: a list of the splits can't be read.
    """
    reader = _Reader(path, images, labels_only=labels_only)
    splits = reader.splits()
    names = reader.names(splits)
    samples = {split: reader.samples(split, stems, names) for split, stems in splits.items() if only in (None, split)}
    return Dataset("voc", path, names, samples, problems=reader.problems)


class _Reader:
    """Reads one root; every XML is parsed once."""

    def __init__(self, root: Path, images: Path | None, *, labels_only: bool) -> None:
        self.root, self.labels_only = root, labels_only
        self.problems: list[Problem] = []
        self.folders = Folders(self.problems)
        self.annotations = root / "Annotations"
        places = [images] if images else [root / "JPEGImages", root / "images"]
        self.images = next((place for place in places if is_folder(place)), images or self.annotations)
        self._pictures: dict[str, str] = {}
        for name in sorted(self.folders.listing(str(self.images))):
            if is_picture_name(name):
                self._pictures.setdefault(stem_of(name), name)
        self._parsed: dict[str, Element | Problem] = {}

    def splits(self) -> dict[str, list[tuple[str, Path, int | None]]]:
        """For each split the annotations' stems, each with the list and line that name it."""
        lists = self.root / "ImageSets" / "Main"
        files = {split: lists / f"{split}.txt" for split in ("train", "val", "test")}
        found = {split: file for split, file in files.items() if file.is_file()}
        if (lists / "trainval.txt").is_file() and not found.keys() & {"train", "val"}:
            found = {"train": lists / "trainval.txt", **found}
        if found:
            return {split: self._listed(file) for split, file in found.items()}
        names = sorted(name for name in self.folders.listing(str(self.annotations)) if name.endswith(".xml"))
        return {"all": [(name.removesuffix(".xml"), self.annotations / name, None) for name in names]}

    def _listed(self, file: Path) -> list[tuple[str, Path, int | None]]:
        """The stems in a list, each with its line."""
        stems: dict[str, tuple[str, Path, int | None]] = {}
        for number, line in enumerate(read_text(file).split("\n"), 1):
            stem = line.strip()
            if stem:
                stems.setdefault(stem, (stem, file, number))
        return list(stems.values())

    def parsed(self, stem: str) -> Element | Problem:
        """The annotation of a picture, or why it can't be read."""
        if stem not in self._parsed:
            self._parsed[stem] = _parse(self.annotations / f"{stem}.xml")
        return self._parsed[stem]

    def names(self, splits: dict[str, list[tuple[str, Path, int | None]]]) -> tuple[str, ...]:
        """The class names: those of `classes.txt`, else all that occur in any split, sorted."""
        file = self.root / CLASS_FILE
        if file.is_file():
            return read_names_file(file, self.problems)
        found = set()
        for stem, _, _ in (entry for entries in splits.values() for entry in entries):
            root = self.parsed(stem)
            if isinstance(root, Element):
                found |= {thing.word("name") for thing in root.all("object")}
        return tuple(sorted(name for name in found if name and name.isprintable()))

    def samples(self, split: str, entries: list[tuple[str, Path, int | None]], names: tuple[str, ...]) -> list[Sample]:
        """The pictures of a split with their boxes."""
        labels = {name: label for label, name in enumerate(names)}
        return [self._sample(split, stem, source, line, labels) for stem, source, line in entries]

    def _sample(self, split: str, stem: str, source: Path, line: int | None, labels: dict[str, int]) -> Sample:
        root = self.parsed(stem)
        picture = self._picture(stem, root)
        there = self.labels_only or self.folders.listing(str(picture.parent)).get(picture.name, False)
        if not there:
            words = f"no picture {quote(stem, 200)} in {quote(self.images, 200)}, expected one: add it"
            self.problems.append(Problem("picture-missing", source, words, line, split, picture))
        file = self.annotations / f"{stem}.xml"
        if isinstance(root, Problem):
            self.problems.append(replace(root, split=split, image=picture))
            return Sample(picture, stem, None, NO_OBJECTS)
        size_wh = self._size(root, picture, split, there=there)
        frame = pixel_frame(size_wh, TOLERANCE)
        rows = RowCollector(file, picture, split, frame, self.problems, word="object")
        for number, thing in enumerate(root.all("object"), 1):
            _add(number, thing, rows, labels)
        return Sample(picture, stem, file, rows.objects(), declared_wh=size_wh)

    def _picture(self, stem: str, root: Element | Problem) -> Path:
        """The picture of the annotation's own name, else the one it names, else where it should be."""
        name = self._pictures.get(stem)
        if name is None and isinstance(root, Element):
            named = Path(root.word("filename")).name
            name = named if self.folders.listing(str(self.images)).get(named) else None
        return self.images / (name or f"{stem}.jpg")

    def _size(self, root: Element, picture: Path, split: str, *, there: bool) -> tuple[int, int] | None:
        """(width, height) as declared; where that is 0 or missing, as the picture's header has it."""
        width, height = (root.word("size", side) for side in ("width", "height"))
        if all(re.fullmatch("[0-9]{1,6}", side, re.ASCII) and int(side) for side in (width, height)):
            return int(width), int(height)
        if self.labels_only or not there:
            return None
        try:
            return read_header(picture).size_wh
        except DataError as error:
            self.problems.append(problem_of("picture-bad", picture, error, split=split, image=picture))
            return None


def _parse(file: Path) -> Element | Problem:
    try:
        root = parse_xml(read_bytes(file, MAX_XML_BYTES))
    except DataError as error:
        return problem_of("label-unreadable", file, error)
    except XmlError as error:
        return Problem("xml", file, f"{error}: write the file anew", error.line)
    if root.tag != "annotation":
        return Problem("xml", file, f"<{root.tag}>, expected <annotation>: write the file anew", root.line)
    return root


def _add(number: int, thing: Element, rows: RowCollector, labels: dict[str, int]) -> None:
    """Add one object's box, or note why it can't be used."""
    name = thing.word("name")
    fields: dict[str, Any] = {"row": number, "line": thing.line}
    if name not in labels:
        words = f"class {quote(name)}, expected one of {CLASS_FILE}" if name else "no <name>, expected a class"
        rows.refuse("class-range", f"{words}: correct it", **fields)
    box = thing.find("bndbox")
    texts = [thing.word("bndbox", corner) for corner in CORNERS]
    if not all(map(_NUMBER.fullmatch, texts)):
        found = ", ".join(f"{corner} {quote(text)}" for corner, text in zip(CORNERS, texts, strict=True))
        rows.refuse("box-format", f"{found}, expected four plain numbers: correct it", **fields)
    elif name in labels:
        xmin, ymin, xmax, ymax = map(float, texts)
        fields["line"] = thing.line if box is None else box.line
        corners: BoxTuple = (xmin - 1, ymin - 1, xmax, ymax)
        difficult = thing.word("difficult") == "1"
        rows.add(labels[name], corners, size=(xmax - xmin, ymax - ymin), difficult=difficult, **fields)
