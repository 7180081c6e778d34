"""Darknet cfg text → sections. Format: `parser.c: read_cfg` in pjreddie's Darknet."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from ..errors import ModelError
from ..files import open_regular

MAX_BYTES = 1 << 20
MAX_SECTIONS = 5_000
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")


@dataclass(slots=True)
class Section:
    """One `[name]` with its `key=value` lines.

    Attributes:
        name: without the brackets.
        line: where it starts, from 1.
        index: Darknet's layer number, -1 for `[net]`.
        values: key → value as written; of a repeated key the first counts, as in Darknet.
        lines: key → line.
        origin: the file's name, for messages.
    """

    name: str
    line: int
    index: int
    origin: str
    values: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def error(self, message: str, key: str | None = None) -> ModelError:
        """A one-line error that names file, line and layer."""
        line = self.lines.get(key, self.line) if key else self.line
        name = shortened(self.name)
        what = f"[{name}]" if self.index < 0 else f"layer {self.index} [{name}]"
        return ModelError(f"{self.origin}:{line}: {what}: {message}")

    def integer(self, key: str, default: int | None, low: int, high: int) -> int:
        """A whole number within `low` to `high`; `default=None` means that it must be there."""
        text = self.values.get(key)
        if text is None:
            if default is None:
                raise self.error(f"{key} is missing, expected {low} to {high:,}")
            return default
        try:
            value = int(text) if text.isascii() and "_" not in text else None
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise self.error(f"{key}={shortened(text)}, must be in {low}..{high}", key)
        return value

    def number(self, key: str, default: float) -> float:
        """A finite number."""
        text = self.values.get(key)
        if text is None:
            return default
        numbers = self.numbers(key)
        if len(numbers) != 1:
            raise self.error(f"{key}={shortened(text)}, expected one number", key)
        return numbers[0]

    def numbers(self, key: str) -> list[float]:
        """A comma-separated list of finite numbers; empty when the key is absent."""
        text = self.values.get(key, "").strip().rstrip(",")
        try:
            values = [float(part) for part in text.split(",")] if text else []
        except ValueError:
            values = [float("nan")]
        if not all(abs(value) < 1e9 for value in values) or not text.isascii() or "_" in text:
            raise self.error(f"{key}={shortened(text)}, expected numbers separated by commas", key)
        return values

    def integers(self, key: str) -> list[int]:
        """A comma-separated list of whole numbers; empty when the key is absent."""
        values = self.numbers(key)
        if not all(value.is_integer() for value in values):
            raise self.error(f"{key}={shortened(self.values[key])}, expected whole numbers", key)
        return [int(value) for value in values]


def shortened(text: str) -> str:
    """At most 40 characters of what a file says, for messages."""
    return text if len(text) <= 40 else text[:37] + "…"


def read_text(path: str | os.PathLike[str], expected: str) -> str:
    """The text of a small file, without a byte order mark.

    Args:
        path: the file.
        expected: what it should hold, for messages.

    Raises:
        ModelError: it can't be read, is larger than 1 MiB, or isn't text.
    """
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{path}: can't be read ({error.strerror})") from None
    if len(data) > MAX_BYTES:
        raise ModelError(f"{path}: larger than {MAX_BYTES:,} bytes, expected {expected}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ModelError(f"{path}:{line}: not a text file, expected {expected}") from None


def parse_cfg(text: str, origin: str) -> list[Section]:
    """Split cfg text into sections; the first is `[net]` (or `[network]`).

    Blank lines, `#` and `;` comments, tabs, trailing blanks, CRLF and a byte order mark are harmless.

    Raises:
        ModelError: with the line: a control character, a key before the first section, a line without `=`, no
            `[net]` at the start, no layers or too many.
    """
    if len(text) > MAX_BYTES:
        raise ModelError(f"{origin}: {len(text):,} characters, expected a Darknet cfg of at most {MAX_BYTES:,}")
    sections: list[Section] = []
    for number, raw in enumerate(text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n"), 1):
        if _CONTROL.search(raw):
            raise ModelError(f"{origin}:{number}: a control character, expected a Darknet cfg (a text file)")
        line = raw.strip()
        if line and line[0] not in "#;":
            _read_line(line, number, sections, origin)
    if not sections:
        raise ModelError(f"{origin}: no sections, expected [net] and layers")
    if sections[0].name not in ("net", "network"):
        raise ModelError(f"{origin}:{sections[0].line}: starts with [{shortened(sections[0].name)}], expected [net]")
    if len(sections) == 1:
        raise ModelError(f"{origin}: no layers after [net]")
    return sections


def _read_line(line: str, number: int, sections: list[Section], origin: str) -> None:
    if line.startswith("["):
        if "]" not in line:
            raise ModelError(f"{origin}:{number}: {shortened(line)!r}, expected a section such as [convolutional]")
        if len(sections) > MAX_SECTIONS:
            raise ModelError(f"{origin}:{number}: more than {MAX_SECTIONS:,} sections")
        sections.append(Section(line[1 : line.index("]")].strip().lower(), number, len(sections) - 1, origin))
        return
    if not sections:
        raise ModelError(f"{origin}:{number}: {shortened(line)!r} stands before the first section, expected [net]")
    key, equals, value = line.partition("=")
    if not equals or not key.strip():
        raise ModelError(f"{origin}:{number}: {shortened(line)!r}, expected key=value")
    section, key = sections[-1], key.strip()
    if key not in section.values:
        for mark in "#;":
            value = value.partition(mark)[0]
        section.values[key] = value.strip()
        section.lines[key] = number
