"""Repairing a dataset: a copy in which every row can be used, and a ledger of what was done to which box.

The user's files stay as they are. What is sound is copied as it is written, byte for byte or key for key; only rows
with a problem are changed or left out, and pictures that can't be used.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..errors import UsageError
from ..images import display_name
from .check import Report, check_dataset
from .dataset import Dataset, Sample
from .formats.patching import Repairs, patch_coco, patch_labels, patch_voc
from .formats.writing import write_json
from .load import read_dataset
from .looks import look_at_pictures
from .output import Pictures, new_folder
from .problems import BoxTuple, Problem, raise_first

LEAVE_OUT_PICTURE = "leave out picture"
_MENDED = frozenset({"entry", "duplicate-id"})
"""Errors of a whole dataset that the copy doesn't have any more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger.

    Attributes:
        problem: what was wrong.
        action: what was done: a `problems.Repair`'s action, or "leave out picture".
        label: the class index afterwards; None where the box was left out.
        after: the box afterwards, xyxy in the unit of the file; None where it was left out.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "file",
        "line",
        "row",
        "split",
        "picture",
        "code",
        "found",
        "action",
        "label",
        "unit",
        "before",
        "after",
    )

    problem: Problem
    action: str
    label: int | None = None
    after: BoxTuple | None = None

    def to_dict(self, unit: str) -> dict[str, Any]:
        """JSON-ready."""
        problem = self.problem
        values = (
            display_name(problem.file),
            problem.line,
            problem.row,
            problem.split,
            problem.image and display_name(problem.image),
            problem.code,
            problem.message,
            self.action,
            self.label,
            unit,
            problem.before and [_plain(value) for value in problem.before],
            self.after and list(self.after),
        )
        return dict(zip(self.COLUMNS, values, strict=True))


def _plain(value: float) -> float | str:
    """A number that JSON can hold; the others in words."""
    return value if abs(value) < float("inf") else str(value)


@dataclass(frozen=True, slots=True)
class Repaired:
    """What `fix_dataset` wrote.

    Attributes:
        path: the new folder, which can be loaded.
        entries: the ledger, also in `ledger.json` and `ledger.csv` there.
        remaining: a check of the copy's labels.
    """

    path: Path
    entries: Sequence[Entry]
    remaining: Report

    def actions(self) -> Counter[str]:
        """How often each thing was done."""
        return Counter(entry.action for entry in self.entries)


def fix_dataset(
    path: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    pictures: Pictures = "copy",
) -> Repaired:
    """Write a repaired copy of a dataset into a new folder; nothing of it appears unless all does.

    Boxes that reach out are clipped, swapped corners swapped back, polygons in box files boxed, repeated boxes kept
    once, other bad rows left out; so are pictures that can't be decoded, aren't there, or aren't the size their
    annotation says, with their labels. Leaks between splits are left to you. A Darknet dataset becomes a YOLO one.

    Args:
        path: the dataset.
        out_dir: the new folder, or an empty one.
        images: as in `load_dataset`.
        pictures: "copy" them or "link" to them.

    Raises:
        DataError: `path` is no dataset, or something is wrong that only its owner can settle, such as names that don't
            fit `nc`.
        UsageError: the new folder holds something, or no picture would be left.
        Yolov3Error: the folder can't be written.
    """
    source = read_dataset(path, images=images)
    problems = list(source.problems)
    raise_first(problem for problem in problems if problem.scope == "dataset" and problem.code not in _MENDED)
    look_at_pictures(source, problems)
    bad_pictures = {problem.image for problem in problems if _spoils_picture(problem)}
    entries = _ledger(problems, bad_pictures)
    samples = {
        split: [sample for sample in members if sample.image not in bad_pictures]
        for split, members in source.samples.items()
    }
    if not any(samples.values()):
        raise UsageError(f"{display_name(path)}: no picture would be left")
    target = Path(out_dir)
    with new_folder(target) as folder:
        _write(source, samples, entries, folder, pictures)
        _write_ledger(folder, entries, "parts" if source.kind in ("yolo", "darknet") else "pixels")
    return Repaired(target, entries, check_dataset(target, labels_only=True))


def _spoils_picture(problem: Problem) -> bool:
    return problem.severity == "error" and problem.scope == "image" and problem.image is not None


def _ledger(problems: Sequence[Problem], bad_pictures: set[Path | None]) -> list[Entry]:
    """What will be done, and why; a row or picture with several problems is dealt with once."""
    entries: dict[tuple[object, ...], Entry] = {}
    for problem in problems:
        if _spoils_picture(problem):
            key: tuple[object, ...] = (problem.split, problem.image)
            entries.setdefault(key, Entry(problem, LEAVE_OUT_PICTURE))
        elif problem.repair is not None and problem.image not in bad_pictures:
            key = (problem.split, problem.file, problem.row if problem.row is not None else problem.message)
            entries.setdefault(key, Entry(problem, *problem.repair))
    return list(entries.values())


def _write(
    source: Dataset,
    samples: dict[str, list[Sample]],
    entries: Sequence[Entry],
    folder: Path,
    pictures: Pictures,
) -> None:
    """Write the copy in the kind it came in."""
    repairs: Repairs = defaultdict(dict)
    for entry in entries:
        problem = entry.problem
        if problem.row is not None and problem.repair is not None and entry.action != LEAVE_OUT_PICTURE:
            repairs[problem.file][problem.row] = problem.repair
    if source.kind == "coco":
        patch_coco(source, samples, repairs, folder, pictures)
    elif source.kind == "voc":
        patch_voc(source, samples, repairs, folder, pictures)
    else:
        patch_labels(source, samples, repairs, folder, pictures)


def _write_ledger(folder: Path, entries: Sequence[Entry], unit: str) -> None:
    """Write ledger.json and, with a row an entry, ledger.csv."""
    lines = [entry.to_dict(unit) for entry in entries]
    write_json(folder / "ledger.json", lines)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(Entry.COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    (folder / "ledger.csv").write_text(text.getvalue(), encoding="utf-8", newline="\n")
