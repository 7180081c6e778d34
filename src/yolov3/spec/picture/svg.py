"""SVG elements and the look of the drawing: colours a kind of module, text that fits."""

from __future__ import annotations

import re
import textwrap
from xml.etree import ElementTree as ET

# Widths in em, on the generous side: the font is whatever sans-serif the reader's machine has.
_CHARACTER = 0.62
_BOLD = 0.68
_LETTER = 0.58  # in running text
_WIDE = {"×": 0.84, "→": 0.9, "·": 0.35, " ": 0.34, ",": 0.34, ".": 0.34, "i": 0.32, "l": 0.32, "/": 0.4, "M": 0.88}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# kind of module → (fill, line)
COLOURS = {
    "picture": ("#ffffff", "#4a5568"),
    "Conv": ("#dbe8fb", "#2f66b3"),
    "Bottleneck": ("#e2dcfb", "#5b45b8"),
    "SPP": ("#fbdcec", "#b02e76"),
    "MaxPool2d": ("#fdeec6", "#a87407"),
    "ZeroPad2d": ("#e9e9e9", "#6b6b6b"),
    "ConstantPad2d": ("#e9e9e9", "#6b6b6b"),
    "Upsample": ("#d4f1de", "#1f8049"),
    "Concat": ("#ffe1cd", "#bf4f1b"),
    "Add": ("#fddada", "#b83232"),
    "Slice": ("#d3f0f2", "#13808a"),
    "Detect": ("#ffffff", "#22304a"),
}
PAPER, BAND, FLOW, SKIP = "#fbfcfe", "#f0f3f8", "#46536a", "#bf4f1b"

_STYLE = """
text { font-family: "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif; fill: #1c2536; }
.muted { fill: #5c677b; }
.white { fill: #ffffff; }
.bold { font-weight: 700; }
.middle { text-anchor: middle; }
"""


def number(value: float) -> str:
    """A coordinate: at most one decimal, the same text on every machine."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def clean(text: str) -> str:
    """Text without the characters that XML can't hold (a file name may have them)."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def text_width(text: str, size: float, bold: bool = False) -> float:
    """About how wide a line of text is, in pixels, rather too wide than too narrow."""
    em = sum(_WIDE.get(character, _BOLD if bold else _CHARACTER) for character in text)
    return em * size


def wrap(text: str, size: float, width: float) -> list[str]:
    """Lines of text that fit a column."""
    return textwrap.wrap(text, max(int(width / (size * _LETTER)), 8))


class Canvas:
    """Collects SVG elements; the later lie over the earlier."""

    def __init__(self) -> None:
        self.root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img"})
        self._parent = self.root

    def group(self, label: str, **data: object) -> ET.Element:
        """Start a group, which the next elements go into; `data` become data- attributes."""
        attributes = {"class": label, **{f"data-{key}": str(value) for key, value in data.items()}}
        self._parent = ET.SubElement(self.root, "g", attributes)
        return self._parent

    def tooltip(self, text: str) -> None:
        """What browsers show when the pointer rests on the current group."""
        ET.SubElement(self._parent, "title").text = clean(text)

    def rect(
        self, x: float, y: float, width: float, height: float, fill: str, line: str = "none", **more: object
    ) -> None:
        """A rectangle; `more` are attributes such as rx, with underscores for dashes."""
        places = {"x": number(x), "y": number(y), "width": number(width), "height": number(height)}
        ET.SubElement(self._parent, "rect", {**places, "fill": fill, "stroke": line, **_attributes(more)})

    def path(self, data: str, line: str, fill: str = "none", **more: object) -> None:
        """A path."""
        ET.SubElement(self._parent, "path", {"d": data, "fill": fill, "stroke": line, **_attributes(more)})

    def text(self, x: float, y: float, text: str, size: float, style: str = "", width: float | None = None) -> None:
        """A line of text with its baseline at y; made smaller where it would be wider than `width`.

        `style` is any of bold, muted, white, middle.
        """
        text = clean(text)
        if width is not None:
            size = max(min(size, size * width / max(text_width(text, size, "bold" in style), 1)), 4)
        attributes = {"x": number(x), "y": number(y), "font-size": number(size)}
        if style:
            attributes["class"] = style
        ET.SubElement(self._parent, "text", attributes).text = text

    def finish(self, width: float, height: float, title: str, description: str) -> str:
        """The file's text."""
        size = {"width": number(width), "height": number(height)}
        self.root.attrib |= {**size, "viewBox": f"0 0 {size['width']} {size['height']}"}
        head = [ET.Element("title"), ET.Element("desc"), ET.Element("style")]
        head[0].text, head[1].text, head[2].text = clean(title), clean(description), _STYLE
        self.root[:0] = head
        ET.indent(self.root, " ")
        return ET.tostring(self.root, encoding="unicode") + "\n"


def _attributes(more: dict[str, object]) -> dict[str, str]:
    return {
        name.rstrip("_").replace("_", "-"): number(value) if isinstance(value, (int, float)) else str(value)
        for name, value in more.items()
    }


def rounded(points: list[tuple[float, float]], radius: float = 6) -> str:
    """Path data of a line through points, straight across and down, with rounded corners."""
    parts = [f"M{number(points[0][0])} {number(points[0][1])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        start, end = _towards(corner, before, radius), _towards(corner, after, radius)
        parts.append(f"L{number(start[0])} {number(start[1])}")
        parts.append(f"Q{number(corner[0])} {number(corner[1])} {number(end[0])} {number(end[1])}")
    parts.append(f"L{number(points[-1][0])} {number(points[-1][1])}")
    return "".join(parts)


def _towards(point: tuple[float, float], other: tuple[float, float], distance: float) -> tuple[float, float]:
    length = abs(other[0] - point[0]) + abs(other[1] - point[1])
    share = min(distance, length / 2) / length if length else 0
    return point[0] + (other[0] - point[0]) * share, point[1] + (other[1] - point[1]) * share
