"""What can be wrong with a dataset: the list of checks, and one `Problem` for each thing found.

Reading, checking, repairing and converting share these, so a fault has one name and one wording everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..errors import DataError
from ..images import display_name

Severity = Literal["error", "warning", "note"]
Scope = Literal["row", "image", "dataset"]
BoxTuple = tuple[float, float, float, float]


class Check(NamedTuple):
    """One check: how bad a finding is, how far it reaches, and what it means.

    An error stops `load_dataset` unless it is told to skip rows or images; a warning doesn't, but `data check`
    ends with exit code 3 for both. A note is only said.
    """

    severity: Severity
    scope: Scope
    meaning: str


def _rows(**checks: str) -> dict[str, Check]:
    return {code.replace("_", "-"): Check("error", "row", meaning) for code, meaning in checks.items()}


def _images(**checks: str) -> dict[str, Check]:
    return {code.replace("_", "-"): Check("error", "image", meaning) for code, meaning in checks.items()}


def _dataset(severity: Severity, **checks: str) -> dict[str, Check]:
    return {code.replace("_", "-"): Check(severity, "dataset", meaning) for code, meaning in checks.items()}


CHECKS: dict[str, Check] = {
    **_dataset(
        "error",
        description="the data.yaml, .data or JSON file can't be read: syntax, tags, aliases, too large",
        unknown_key="a key of data.yaml that looks like a misspelt one",
        wrong_type="a value of the wrong type",
        names="class names that are missing, empty, repeated or not words, or that don't fit `nc`",
        remap="an entry of `classes:` that names no class",
        split_missing="a split's folder or list isn't there",
        no_pictures="a split without any picture",
        no_boxes="a dataset without any box",
        no_labels="none of a split's pictures has a label file",
        folder_unreadable="a folder that can't be listed",
        duplicate_id="two pictures, categories or annotations with one id",
        entry="an image or category of a COCO file that lacks a key or has one of the wrong type",
    ),
    **_images(
        picture_missing="a picture that is listed but isn't there",
        picture_bad="a picture that can't be decoded",
        not_a_file="a folder, pipe or device where a picture or label file should be",
        picture_size="the size in the annotation isn't the picture's",
        shared_label="pictures that share one label file",
        label_unreadable="a label file that can't be read or is too large",
        label_encoding="a label file that isn't ASCII text: UTF-16, binary, NUL bytes",
        xml="an annotation that isn't well-formed XML, or declares a DTD or entities",
    ),
    **_rows(
        columns="a row with more or fewer than five columns",
        segment="a polygon where a box belongs",
        number="a number that isn't written in plain ASCII digits",
        not_finite="a coordinate that is NaN or infinite",
        class_format="a class that isn't a whole number",
        class_range="a class index or name that the dataset doesn't have",
        box_format="a box that isn't four numbers, or lacks one",
        negative_size="a box with its corners swapped",
        zero_area="a box without area",
        outside="a box that reaches out of the picture",
        image_unknown="an annotation of a picture that isn't listed",
    ),
    "duplicate": Check("warning", "row", "the same box twice in one picture"),
    **_dataset(
        "warning",
        label_without_picture="a label file without a picture",
        label_suffix="a label file whose suffix isn't .txt in small letters",
        split_overlap="pictures that stand in two splits",
        leak_exact="the same picture, byte for byte, in two splits",
        leak_near="nearly the same picture in two splits",
        repeated_picture="the same picture, byte for byte, twice in a split",
        split_without_boxes="a split without any box",
        class_unseen="a class that is validated or tested but never trained",
        symlink_loop="a link that leads back to a folder around it",
        root_missing="`path:` leads nowhere; the file's own folder was taken",
    ),
    **_dataset(
        "note",
        download_ignored="`download:` is never followed",
        extra_key="a key of data.yaml that isn't used here",
        missing_label="a picture without a label file, taken as background",
        exif="a picture that is displayed rotated or mirrored; boxes are taken in the displayed frame",
        class_absent="a class without a single box",
    ),
}


class Repair(NamedTuple):
    """What `--fix-to` does to a row.

    Attributes:
        action: "drop", "clip" (cut to the picture), "swap corners", "dedupe", "box of segment" or "rewrite class".
        label: the class index afterwards.
        box: the box afterwards, xyxy in the file's own unit; None where the row is left out.
    """

    action: str
    label: int | None = None
    box: BoxTuple | None = None


DROP = Repair("drop")


_shown = lru_cache(256)(display_name)
# A bad file often has many bad rows, one behind the other.


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing found in a dataset.

    Attributes:
        code: which check, a key of `CHECKS`.
        file: the file in which it stands.
        message: what was found, what was expected, what to do.
        line: the line in `file`, from 1, where there is one.
        split: the split to which it belongs, if any.
        image: the picture to which it belongs, if any.
        row: the box's key in its file: line of a .txt, number of the object in an XML (from 1), annotation id in a
            COCO file.
        before: the box as it was found, xyxy in the file's own unit, where it could be read.
        repair: what `--fix-to` does about it; None where nothing can be done.
    """

    code: str
    file: Path
    message: str
    line: int | None = None
    split: str | None = None
    image: Path | None = None
    row: int | str | None = None
    before: BoxTuple | None = None
    repair: Repair | None = None

    @property
    def severity(self) -> Severity:
        return CHECKS[self.code].severity

    @property
    def scope(self) -> Scope:
        return CHECKS[self.code].scope

    def __str__(self) -> str:
        """One line: `labels/x.txt:3: what was found, what was expected, what to do`."""
        line = f":{self.line}" if self.line is not None else ""
        return f"{_shown(self.file)}{line}: {self.message}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: file, line, code, severity, split, message."""
        return {
            "file": _shown(self.file),
            "line": self.line,
            "code": self.code,
            "severity": self.severity,
            "split": self.split,
            "message": self.message,
        }


class ProblemError(DataError):
    """A dataset that can't be read any further, with its `problem`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def problem_of(code: str, file: Path, error: DataError, **fields: Any) -> Problem:
    """Turn an error about `file` ("file:line: message") into a `Problem`."""
    text = str(error).removeprefix(display_name(file))
    place = re.match(r"(?::(\d+))?:\s*", text)
    line = int(place[1]) if place and place[1] else None
    return Problem(code, file, text[place.end() :] if place else text, line=line, **fields)


def raise_first(problems: Iterable[Problem], advice: Mapping[Scope, str] | None = None) -> None:
    """Raise the first error among the problems, saying how many more there are.

    Args:
        problems: of any severity.
        advice: what to add for an error of each scope.

    Raises:
        ProblemError: there is an error among them.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    if not errors:
        return
    failure = ProblemError(errors[0])
    words = [advice[failure.problem.scope]] if advice and failure.problem.scope in advice else []
    if len(errors) > 1:
        more = "more is" if len(errors) == 2 else "more are"
        words.append(f"{len(errors) - 1:,} {more} wrong: `yolov3 data check` lists all")
    if words:
        failure.args = (f"{errors[0]} ({'; '.join(words)})",)
    raise failure


def quote(value: object, limit: int = 40) -> str:
    """A value from a file for a message: one printable line, in quotes, cut when long."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    text = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in text[: limit + 1]
    )
    return f"“{text[:limit]}…”" if len(text) > limit else f"“{text}”"
