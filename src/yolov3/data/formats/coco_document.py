"""A COCO file as plain, checked values: what every entry must have before its boxes are looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

from ...errors import DataError
from ..pictures import read_bytes
from ..problems import Problem, ProblemError, problem_of, quote

MAX_JSON_BYTES = 1 << 30

MAX_SIDE = 1_000_000

Id = int | str
"""What identifies an image or annotation in a COCO file."""


def load_document(file: Path) -> dict[str, Any]:
    """Read a COCO file: an object with lists `images`, `annotations` and `categories`.

    Raises:
        ProblemError: it is something else, no valid JSON, nested too deeply or too large.
    """
    try:
        document: Any = json.loads(read_bytes(file, MAX_JSON_BYTES), parse_constant=_refuse_constant)
    except DataError as error:
        raise ProblemError(problem_of("description", file, error)) from error
    except json.JSONDecodeError as error:
        raise _broken(file, f"not valid JSON: {error.msg}", error.lineno) from error
    except UnicodeDecodeError as error:
        raise _broken(file, f"not UTF-8 text (byte {error.start:,}), expected JSON") from error
    except RecursionError as error:
        raise _broken(file, "nested too deeply, expected a COCO file") from error
    except ValueError as error:
        raise _broken(file, f"not valid JSON: {error}") from error
    if isinstance(document, list):
        raise _broken(file, "a list (detection results?), expected an object with images, annotations, categories")
    if not isinstance(document, dict):
        raise _broken(file, "no JSON object, expected a COCO file with images, annotations and categories")
    for key in ("images", "annotations", "categories"):
        if not isinstance(document.get(key), list):
            raise _broken(file, f"no list `{key}`, expected a COCO file with images, annotations and categories")
    return document


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _broken(file: Path, message: str, line: int | None = None) -> ProblemError:
    return ProblemError(Problem("description", file, message, line))


def is_id(value: object) -> TypeGuard[Id]:
    """Whether a value can be an id: a whole number or a printable word."""
    return type(value) is int or (isinstance(value, str) and value.isprintable())


def annotation_key(entry: dict[str, Any], index: int, seen: set[Id]) -> Id:
    """What an annotation is called: its id where that is plain and new, else its place in the list, as "[3]"."""
    id_ = entry.get("id")
    key: Id = id_ if is_id(id_) and id_ not in seen else f"[{index}]"
    seen.add(key)
    return key


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number (true and false are none)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e300


def category_fault(entry: Any) -> str | None:
    """What is wrong with an entry of `categories`, or None."""
    if not isinstance(entry, dict) or type(entry.get("id")) is not int:
        return "no id, expected a whole number"
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        return f"name {quote(json.dumps(name))}, expected a word"
    return None


def image_fault(entry: Any) -> str | None:
    """What is wrong with an entry of `images`, or None."""
    if not isinstance(entry, dict) or not is_id(entry.get("id")):
        return "no id, expected a number or word"
    name = entry.get("file_name")
    if not isinstance(name, str) or not name or not name.isprintable():
        return f"file_name {quote(json.dumps(name))}, expected a file's name"
    for key in ("width", "height"):
        side = entry.get(key)
        if side is not None and (type(side) is not int or not 0 <= side <= MAX_SIDE):
            return f"{key} {quote(json.dumps(side))}, expected pixels as a whole number"
    return None


def box_of(value: Any) -> tuple[float, float, float, float] | None:
    """[x, y, width, height] where a value is that, else None."""
    if not isinstance(value, list) or len(value) != 4 or not all(map(is_number, value)):
        return None
    x, y, width, height = map(float, value)
    return x, y, width, height
