"""Charts as SVG text: curves, bars, a matrix, box shapes. No script, no style, no reference to anything outside.

A chart stands by itself in a file and inside an HTML page of strict content security policy.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

INK, FAINT, GRID = "#333333", "#999999", "#e5e5e5"
# Okabe and Ito's palette, told apart with any colour vision, without its black and yellow.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#8c564b", "#808000")
_FONT = 'font-family="system-ui, sans-serif"'


class Curve(NamedTuple):
    """A named line through points; `main` ones are drawn thick and last."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    main: bool = False


class Bar(NamedTuple):
    """A named value, and the range in which it was seen; `main` ones are drawn dark."""

    name: str
    value: float
    low: float
    high: float
    main: bool = True


class ShapeGroup(NamedTuple):
    """The shapes [width, height] nearest to one anchor."""

    shapes: Sequence[Sequence[float]]
    anchor: tuple[float, ...]


def escape(text: object) -> str:
    """Any text for HTML and SVG, as content or attribute; what can't be printed becomes U+FFFD."""
    printable = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))
    return html.escape(printable, quote=True)


def line_chart(curves: Sequence[Curve], *, title: str, x_label: str, y_label: str) -> str:
    """Curves over axes from 0 to 1. Up to nine are coloured and named; of more, only the main ones."""
    coloured = len([curve for curve in curves if not curve.main]) <= len(PALETTE)
    frame = _Frame(580 if coloured else 540, 420, left=58, right=150 if coloured else 110, top=40, bottom=48)
    lines = frame.opening(title) + frame.unit_axes(x_label, y_label)
    palette = iter(PALETTE)
    legend = []
    for curve in sorted(curves, key=lambda curve: curve.main):
        color = INK if curve.main else next(palette) if coloured else FAINT
        width = 3 if curve.main else 1.5 if coloured else 0.7
        points = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="{width}" stroke-linejoin="round">'
            f"<title>{escape(curve.name)}</title></polyline>"
        )
        if curve.main or coloured:
            legend.append((curve.name, color))
    lines += frame.legend(reversed(legend))
    return "\n".join([*lines, "</svg>"])


def bar_chart(bars: Sequence[Bar], *, title: str, x_label: str) -> str:
    """Lying bars from 0, each with its value and its range, which stands in the hint too."""
    names = max((len(bar.name) for bar in bars), default=0)
    frame = _Frame(620, 100 + 34 * len(bars), left=24 + round(7.2 * min(names, 28)), right=70, top=44, bottom=52)
    most = max((max(bar.value, bar.high) for bar in bars), default=1) or 1
    lines = frame.opening(title)
    for index, bar in enumerate(bars):
        y = frame.top + 34 * index + 8
        middle, end = y + 11, frame.x(bar.value / most)
        short = bar.name if len(bar.name) <= 28 else bar.name[:27] + "…"
        lines += [
            _text(frame.left - 8, middle + 4, escape(short), 12, "end"),
            f'<rect x="{frame.left}" y="{y}" width="{end - frame.left:.1f}" height="22" '
            f'fill="{PALETTE[0] if bar.main else FAINT}">'
            f"<title>{escape(bar.name)}: {bar.value:.3g} ({bar.low:.3g} to {bar.high:.3g})</title></rect>",
            f'<path d="M{frame.x(bar.low / most):.1f} {middle}H{frame.x(bar.high / most):.1f}" stroke="{INK}"/>',
            _text(max(end, frame.x(bar.high / most)) + 6, middle + 4, f"{bar.value:.3g}", 12, "start"),
        ]
    lines.append(f'<path d="M{frame.left} {frame.top}V{frame.bottom}" stroke="{FAINT}"/>')
    lines.append(_text((frame.left + frame.right) / 2, frame.bottom + 28, escape(x_label), 12, "middle"))
    return "\n".join([*lines, "</svg>"])


def matrix_chart(values: Sequence[Sequence[int]], names: Sequence[str], *, title: str) -> str:
    """Counts as a matrix of shaded cells, `names` on both sides; a cell is the darker, the larger its row's share.

    Args:
        values: rows are the truth, columns what was predicted.
        names: of rows and columns.
        title: over the matrix.
    """
    count = len(names)
    cell = max(9, min(46, 640 // max(count, 1)))
    font = min(12, cell - 1)
    room = 20 + round(min(max((len(name) for name in names), default=0), 24) * font * 0.58)
    side = count * cell
    width = max(side + room + 20, room + 9 * len(title))  # a short matrix has its whole title too
    lines = _Frame(width, side + room + 60, left=room, right=20, top=40, bottom=room + 20).opening(title)
    for row, counts in enumerate(values):
        total = max(sum(counts), 1)
        for column, value in enumerate(counts):
            if value:
                x, y = room + column * cell, 40 + row * cell
                lines += _cell(x, y, cell, font, value, value / total, f"{names[row]} → {names[column]}: {value}")
    lines.append(f'<rect x="{room}" y="40" width="{side}" height="{side}" fill="none" stroke="{FAINT}"/>')
    for index, name in enumerate(names):
        short = escape(name if len(name) <= 24 else name[:23] + "…")
        middle = (index + 0.5) * cell
        lines.append(_text(room - 5, 40 + middle + font * 0.35, short, font, "end"))
        across, below = room + middle + font * 0.35, 45 + side
        turn = f' transform="rotate(-90 {across:.1f} {below})"'
        lines.append(_text(across, below, short, font, "end", turn))
    lines.append(_text(room + side / 2, side + room + 55, "predicted", 12, "middle"))
    lines.append(_text(room - 5, 30, "true", 12, "end"))
    return "\n".join([*lines, "</svg>"])


def _cell(x: float, y: float, size: int, font: int, value: int, share: float, hint: str) -> list[str]:
    """One shaded cell, with its number where there is room."""
    shade = round(245 - 190 * min(share, 1) ** 0.7)
    fill = f"#{shade:02x}{min(shade + 30, 250):02x}{250:02x}"
    lines = [f'<rect x="{x}" y="{y}" width="{size}" height="{size}" fill="{fill}"><title>{escape(hint)}</title></rect>']
    if size >= 26:
        color = "#ffffff" if share > 0.5 else INK
        lines.append(_text(x + size / 2, y + size / 2 + 4, str(value), min(font, 11), "middle", fill=color))
    return lines


def shape_chart(groups: Sequence[ShapeGroup], others: Sequence[Sequence[float]], title: str) -> str:
    """Box shapes on logarithmic axes, coloured by group, each group's anchor as a disc, other anchors as rings."""
    frame = _Frame(620, 520, left=58, right=150, top=40, bottom=48)
    sides = [side for group in groups for shape in (*group.shapes, group.anchor) for side in shape]
    sides += [side for anchor in others for side in anchor]
    low, high = math.log(min(sides) * 0.9), math.log(max(sides) * 1.1)

    def place(shape: Sequence[float]) -> tuple[float, float]:
        x, y = ((math.log(side) - low) / (high - low) for side in shape)
        return frame.x(x), frame.y(y)

    lines = frame.opening(title) + frame.log_axes(low, high, "width (pixels)", "height (pixels)")
    for index, group in enumerate(groups):
        color = PALETTE[index % len(PALETTE)]
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in map(place, group.shapes))
        lines.append(
            f'<path d="{dots}" stroke="{color}" stroke-width="3" stroke-linecap="round" stroke-opacity="0.35"/>'
        )
    for shape in others:
        x, y = place(shape)
        lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="none" stroke="{INK}" stroke-width="1.5"/>')
    for index, group in enumerate(groups):
        x, y = place(group.anchor)
        color = PALETTE[index % len(PALETTE)]
        lines.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{color}" stroke="#ffffff" stroke-width="1.5">'
            f"<title>{group.anchor[0]:g}×{group.anchor[1]:g}</title></circle>"
        )
    words = [(f"{g.anchor[0]:g} × {g.anchor[1]:g}", PALETTE[i % len(PALETTE)]) for i, g in enumerate(groups)]
    lines += frame.legend([*words, ("○ present anchors", "none")])
    return "\n".join([*lines, "</svg>"])


def _text(x: float, y: float, text: str, size: int, anchor: str, extra: str = "", fill: str = INK) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" {_FONT} font-size="{size}" fill="{fill}" text-anchor="{anchor}"{extra}>'
        f"{text}</text>"
    )


class _Frame:
    """The drawing area: maps 0…1 to pixels and draws what is around the data."""

    def __init__(self, width: int, height: int, *, left: int, right: int, top: int, bottom: int) -> None:
        self.width, self.height = width, height
        self.left, self.right = left, width - right
        self.top, self.bottom = top, height - bottom

    def x(self, part: float) -> float:
        return self.left + part * (self.right - self.left)

    def y(self, part: float) -> float:
        return self.bottom - part * (self.bottom - self.top)

    def opening(self, title: str) -> list[str]:
        return [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img" aria-label="{escape(title)}">',
            f'<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>',
            _text(self.left, 24, escape(title), 15, "start", ' font-weight="600"'),
        ]

    def unit_axes(self, x_label: str, y_label: str) -> list[str]:
        ticks = [(place / 5, f"{place / 5:g}") for place in range(6)]
        return self._axes(ticks, x_label, y_label)

    def log_axes(self, low: float, high: float, x_label: str, y_label: str) -> list[str]:
        values = [step * 10**power for power in range(-1, 6) for step in (1, 2, 5)]
        ticks = [
            ((math.log(value) - low) / (high - low), f"{value:g}") for value in values if low <= math.log(value) <= high
        ]
        return self._axes(ticks, x_label, y_label)

    def _axes(self, ticks: Iterable[tuple[float, str]], x_label: str, y_label: str) -> list[str]:
        lines = []
        for part, word in ticks:
            x, y = self.x(part), self.y(part)
            lines.append(
                f'<path d="M{x:.1f} {self.top}V{self.bottom}M{self.left} {y:.1f}H{self.right}" stroke="{GRID}"/>'
            )
            lines.append(_text(x, self.bottom + 16, word, 11, "middle"))
            lines.append(_text(self.left - 7, y + 4, word, 11, "end"))
        lines.append(f'<path d="M{self.left} {self.top}V{self.bottom}H{self.right}" fill="none" stroke="{FAINT}"/>')
        lines.append(_text((self.left + self.right) / 2, self.bottom + 38, escape(x_label), 12, "middle"))
        x, y = 18, (self.top + self.bottom) / 2
        lines.append(_text(x, y, escape(y_label), 12, "middle", f' transform="rotate(-90 {x} {y:.1f})"'))
        return lines

    def legend(self, entries: Iterable[tuple[str, str]]) -> list[str]:
        lines = []
        for index, (name, color) in enumerate(entries):
            short = name if len(name) <= 20 else name[:19] + "…"
            y = self.top + 14 + index * 20
            lines.append(f'<rect x="{self.right + 14}" y="{y - 9}" width="10" height="10" fill="{color}"/>')
            lines.append(_text(self.right + 30, y, escape(short), 12, "start"))
        return lines
