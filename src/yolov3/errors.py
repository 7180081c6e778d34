"""The errors that a user can cause, each with its exit code.

Every message is one line: the place (file, line, row, tensor), what was found, what was expected, what to do.
"""

from __future__ import annotations


class Yolov3Error(Exception):
    """Base of all errors that the package raises on purpose. Exit code 1: something failed at run time."""

    exit_code = 1


class UsageError(Yolov3Error):
    """An option or argument that can't be meant. Exit code 2."""

    exit_code = 2


class DataError(Yolov3Error):
    """A picture, label or dataset that can't be used. Exit code 3."""

    exit_code = 3


class ModelError(Yolov3Error):
    """A model, cfg, weight or spec file that can't be used. Exit code 4."""

    exit_code = 4


def shown(value: object, most: int = 80) -> str:
    """A foreign value as a message may quote it: on one line, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes out no number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= most else f"{text[: most - 1]}…"


def printable(text: str) -> str:
    """Text from outside (a path, a name in a file) on one line that no terminal obeys: `\\x1b`, `\\n` are spelt out."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in text
    )


def said(error: Exception, most: int = 200) -> str:
    """What another library's error says, on one printable line, cut to `most` letters."""
    return printable(" ".join(str(error).split()))[:most]
