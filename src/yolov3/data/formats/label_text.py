"""Label files of YOLO and Darknet: a row a box, `class x_centre y_centre width height` in parts of the picture.

Numbers are plain ASCII decimals, checked by a pattern: Python's `float` would also take `1_0`, `nan` or Arabic digits.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import DataError
from ..pictures import read_bytes
from ..problems import DROP, BoxTuple, Problem, Repair, problem_of, quote
from ..rows import NO_OBJECTS, PARTS, Objects, RowCollector

MAX_LABEL_BYTES = 16 << 20
MAX_ROW_BYTES = 100_000

_NUMBER = rb"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,4})?"
_IS_NUMBER = re.compile(_NUMBER)
_IS_CLASS = re.compile(rb"[0-9]{1,9}")
_IS_ROW = re.compile(rb"[ \t]*([0-9]{1,9})" + rb"[ \t]+(%b)" % _NUMBER * 4 + rb"[ \t]*\r?")
_NOT_FINITE = re.compile(rb"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_label_file(
    file: Path,
    image: Path,
    split: str,
    names: tuple[str, ...],
    problems: list[Problem],
    data: bytes | None = None,
) -> Objects:
    """Read the boxes of one picture; rows that can't be used are left out and noted in `problems`.

    Args:
        file: the label file; an empty one means a picture without objects.
        image: the picture.
        split: its split.
        names: the dataset's class names.
        problems: where findings go.
        data: the file's bytes where they are read already.
    """
    try:
        data = read_bytes(file, MAX_LABEL_BYTES) if data is None else data
    except DataError as error:
        problems.append(problem_of("label-unreadable", file, error, split=split, image=image))
        return NO_OBJECTS
    data = data.removeprefix(b"\xef\xbb\xbf")
    if data.startswith(_UTF16) or b"\0" in data:
        problems.append(Problem("label-encoding", file, _encoding_words(data), None, split, image))
        return NO_OBJECTS
    return _read_rows(data, RowCollector(file, image, split, PARTS, problems), names)


def _encoding_words(data: bytes) -> str:
    if data.startswith(_UTF16):
        return "UTF-16 text, expected ASCII: save it as plain text (UTF-8)"
    row = data[: data.index(b"\0")].count(b"\n") + 1
    return f"a NUL byte in row {row}, expected plain text: write the file anew"


def _read_rows(data: bytes, rows: RowCollector, names: tuple[str, ...]) -> Objects:
    """Sound rows take one pattern match; only the others are looked at closely."""
    count = len(names)
    for number, line in enumerate(data.split(b"\n"), 1):
        match = _IS_ROW.fullmatch(line) if len(line) < MAX_ROW_BYTES else None
        if match is not None and (label := int(match[1])) < count:
            box = _xyxy(float(match[2]), float(match[3]), float(match[4]), float(match[5]))
            rows.add(label, box, row=number, line=number, size=(float(match[4]), float(match[5])))
        elif not line or line.isspace():
            continue
        else:
            _explain(line, number, rows, names)
    return rows.objects()


def _xyxy(x: float, y: float, width: float, height: float) -> BoxTuple:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _explain(line: bytes, number: int, rows: RowCollector, names: tuple[str, ...]) -> None:
    """Say everything that is wrong with a row."""
    if len(line) >= MAX_ROW_BYTES:
        message = f"a row of {len(line):,} bytes, expected five numbers: write the file anew"
        rows.refuse("columns", message, row=number, line=number)
        return
    fields = line.split()
    found = _class_fault(fields[0], names)
    if len(fields) != 5:
        found.append(_columns_fault(fields))
    else:
        found += [fault for field in fields[1:] if (fault := _number_fault(field))]
    box = _box_of(fields)
    if box is not None and len(fields) == 5:
        fault = rows.judge(box, (float(fields[3]), float(fields[4])))
        found += [fault] if fault else []
    repair = _repair([code for code, _ in found], fields, box, len(names))
    for code, message in found:
        rows.refuse(code, message, row=number, line=number, before=box, repair=repair)


def _class_fault(field: bytes, names: tuple[str, ...]) -> list[tuple[str, str]]:
    expected = f"expected a whole number from 0 to {len(names) - 1}"
    if not _IS_CLASS.fullmatch(field):
        digits = field.isdigit()
        return [("class-range" if digits else "class-format", f"class {quote(field)}, {expected}: correct it")]
    if int(field) >= len(names):
        hint = "correct it, or add the class to the names"
        return [("class-range", f"class {int(field)}, {expected}: {hint}")]
    return []


def _number_fault(field: bytes) -> tuple[str, str] | None:
    if _IS_NUMBER.fullmatch(field):
        return None
    code = "not-finite" if _NOT_FINITE.fullmatch(field) else "number"
    return code, f"{quote(field)}, expected a plain decimal number like 0.25: correct it or take the row out"


def _columns_fault(fields: list[bytes]) -> tuple[str, str]:
    count = len(fields)
    if count >= 7 and count % 2 and all(map(_IS_NUMBER.fullmatch, fields[1:])):
        words = f"a polygon of {count // 2} points, expected a box: `yolov3 data check --fix-to` boxes it"
        return "segment", words
    hint = "take the score out" if count == 6 else "correct it"
    plural = "column" if count == 1 else "columns"
    return "columns", f"{count} {plural}, expected 5 (class, x, y, width, height): {hint}"


def _box_of(fields: list[bytes]) -> BoxTuple | None:
    """The row's box as far as it can be read: the centre and size, or the bounds of a polygon."""
    if len(fields) < 5 or not all(map(_IS_NUMBER.fullmatch, fields[1:])):
        return None
    values = [float(field) for field in fields[1:]]
    if len(values) == 4:
        return _xyxy(*values)
    if len(values) < 6 or len(values) % 2:
        return None
    return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])


def _repair(codes: list[str], fields: list[bytes], box: BoxTuple | None, count: int) -> Repair:
    """A polygon becomes its box and a class like `1.0` is rewritten, where that is all; other rows are dropped."""
    if box is None or len(set(codes)) != 1 or codes[0] not in ("segment", "class-format"):
        return DROP
    label = float(fields[0]) if _IS_NUMBER.fullmatch(fields[0]) else -1.0
    x1, y1, x2, y2 = box
    inside = 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1
    if not inside or label != label // 1 or not 0 <= label < count:
        return DROP
    action = "box of segment" if codes[0] == "segment" else "rewrite class"
    return Repair(action, int(label), box)
