"""A file with a class name a line: Darknet's .names, and classes.txt beside VOC annotations."""

from __future__ import annotations

from pathlib import Path

from ..pictures import read_text
from ..problems import Problem, quote

MAX_NAMES_BYTES = 1 << 20


def read_names_file(file: Path, problems: list[Problem]) -> tuple[str, ...]:
    """The class names in order; empty and repeated ones are noted in `problems`.

    Raises:
        ProblemError: it can't be read or isn't UTF-8.
    """
    lines = [line.strip() for line in read_text(file, MAX_NAMES_BYTES).rstrip().split("\n")]
    seen: dict[str, int] = {}
    for number, name in enumerate(lines, 1):
        if not name or not name.isprintable():
            words = "an empty or unprintable class name, expected a word: correct it"
            problems.append(Problem("names", file, words, number))
        elif (first := seen.setdefault(name, number)) != number:
            words = f"{quote(name)} stands in line {first} too, expected different names: rename one"
            problems.append(Problem("names", file, words, number))
    return tuple(name if name.isprintable() else f"class_{index}" for index, name in enumerate(lines))
