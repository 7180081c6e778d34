"""XML without surprises: elements, their text and their lines. A DTD, and with it every entity, is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

MAX_DEPTH = 50


class XmlError(ValueError):
    """Why a text isn't acceptable XML, with the line where that shows."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(slots=True)
class Element:
    """An element: its tag, the line on which it starts, its text and the elements in it."""

    tag: str
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def find(self, *path: str) -> Element | None:
        """The first element at `path`, or None."""
        here: Element | None = self
        for tag in path:
            here = next(here.all(tag), None) if here is not None else None
        return here

    def all(self, tag: str) -> Iterator[Element]:
        """The elements directly in this one that are called `tag`."""
        return (child for child in self.children if child.tag == tag)

    def word(self, *path: str) -> str:
        """The text at `path` without blanks around it; empty where there is none."""
        found = self.find(*path)
        return "" if found is None else found.text.strip()


def parse_xml(data: bytes) -> Element:
    """Parse one XML document.

    Raises:
        XmlError: it isn't well-formed, declares a document type (entity bombs and external entities need one), or
            nests more than `MAX_DEPTH` elements.
    """
    parser = expat.ParserCreate()
    root = Element("", 1)
    stack = [root]

    def start(tag: str, _: dict[str, str]) -> None:
        if len(stack) > MAX_DEPTH:
            raise XmlError(f"over {MAX_DEPTH} elements within each other", parser.CurrentLineNumber)
        element = Element(tag, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_: str) -> None:
        stack.pop()

    def text(words: str) -> None:
        stack[-1].text += words

    def refuse(*_: object) -> NoReturn:
        raise XmlError("a document type or entity declaration, expected none", parser.CurrentLineNumber)

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise XmlError(f"not well-formed XML: {expat.ErrorString(error.code)}", error.lineno) from error
    except (ValueError, LookupError) as error:
        if isinstance(error, XmlError):
            raise
        raise XmlError(f"not readable XML: {error}", parser.CurrentLineNumber) from error
    return root.children[0]
