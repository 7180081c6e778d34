"""What a dataset is made of, as one drawing: boxes of each class, their sizes, shapes and places, boxes a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..charts import FAINT, GRID, INK, PALETTE, escape
from ..geometry import FloatArray, box_area, xyxy_to_cxcywh
from .dataset import Dataset, Sample

MOST_CLASSES = 30
"""Classes that get a bar each; the rest share one."""

_SIDES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_BINS, _CELLS = 40, 24
_MARGIN, _TOP, _PANEL, _GAP = 30, 100, 280, 70
_NAMES_WIDTH, _BARS_WIDTH, _ROW = 130, 260, 21


def distribution_figure(dataset: Dataset) -> str:
    """Class, size, shape and position distributions of a dataset's boxes, as the text of an SVG.

    Sizes and places are parts of the picture. Pictures whose size isn't known take no part in them.

    Args:
        dataset: what to draw, all its splits.
    """
    samples = list(_samples(dataset))
    parts = [part for sample in samples if len(sample.labels) and (part := sample.relative_boxes()) is not None]
    boxes = np.concatenate(parts) if parts else np.zeros((0, 4))
    shapes = xyxy_to_cxcywh(boxes)
    bars = _class_counts(dataset)
    left = _MARGIN + _NAMES_WIDTH + _BARS_WIDTH + _GAP
    right, lower = left + _PANEL + _GAP, _TOP + _PANEL + _GAP
    width = right + _PANEL + _MARGIN
    height = max(lower + _PANEL + _GAP, _TOP + _ROW * len(bars) + _MARGIN)
    total = sum(len(sample.labels) for sample in samples)
    title = f"{len(samples):,} pictures, {total:,} boxes, {len(dataset.names):,} classes"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif">',
        _rect(0, 0, width, height, "#ffffff"),
        _text(_MARGIN, 38, title, size=20),
        *_legend(dataset),
        *_class_bars(bars, list(dataset.samples)),
        *_size_histogram(boxes, left, _TOP),
        *_count_histogram([len(sample.labels) for sample in samples], right, _TOP),
        *_heat_map(shapes[:, 2], 1 - shapes[:, 3], left, lower, "Shapes: width →, height ↑ (parts of the picture)"),
        *_heat_map(shapes[:, 0], shapes[:, 1], right, lower, "Places: where in the picture the centres lie"),
    ]
    return "\n".join([*lines, "</svg>\n"])


def _samples(dataset: Dataset) -> Iterator[Sample]:
    return (sample for members in dataset.samples.values() for sample in members)


def _text(x: float, y: float, words: object, *, size: int = 12, anchor: str = "start", fill: str = INK) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}"'
    return f"<text {place}>{escape(words)}</text>"


def _rect(x: float, y: float, width: float, height: float, fill: str, hint: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} fill="{fill}">{f"<title>{escape(hint)}</title>" if hint else ""}</rect>'


def _legend(dataset: Dataset) -> Iterator[str]:
    """The splits' colours, above the bars."""
    x = float(_MARGIN)
    for index, (split, members) in enumerate(dataset.samples.items()):
        words = f"{split}: {len(members):,} pictures"
        yield _rect(x, 54, 12, 12, PALETTE[index % len(PALETTE)])
        yield _text(x + 18, 64, words)
        x += 40 + 6.5 * len(words)


def _class_counts(dataset: Dataset) -> list[tuple[str, NDArray[np.int64]]]:
    """Boxes of each class in each split, most frequent first; the rarest together."""
    count = len(dataset.names)
    table = np.zeros((count, len(dataset.samples)), np.int64)
    for column, members in enumerate(dataset.samples.values()):
        for sample in members:
            np.add.at(table[:, column], sample.labels, 1)
    order = np.argsort(-table.sum(axis=1), kind="stable").tolist()
    rows = [(dataset.names[label], table[label]) for label in order]
    if count > MOST_CLASSES:
        others = table[order[MOST_CLASSES - 1 :]].sum(axis=0)
        rows = [*rows[: MOST_CLASSES - 1], (f"{count - MOST_CLASSES + 1} others", others)]
    return rows


def _class_bars(bars: Sequence[tuple[str, NDArray[np.int64]]], splits: Sequence[str]) -> Iterator[str]:
    """A bar a class, its parts coloured by split."""
    yield _text(_MARGIN, _TOP - 12, "Boxes of each class", size=13)
    most = max((int(counts.sum()) for _, counts in bars), default=0) or 1
    start = _MARGIN + _NAMES_WIDTH
    for row, (name, counts) in enumerate(bars):
        y, x = _TOP + row * _ROW, float(start)
        short = name if len(name) <= 18 else name[:17] + "…"
        yield _text(start - 6, y + 13, short, anchor="end")
        for column, value in enumerate(counts.tolist()):
            length = _BARS_WIDTH * value / most
            if value:
                yield _rect(x, y + 2, length, _ROW - 5, PALETTE[column % len(PALETTE)], f"{splits[column]}: {value:,}")
            x += length
        yield _text(x + 5, y + 13, f"{int(counts.sum()):,}", size=11, fill=FAINT)


def _frame(x: float, y: float, title: str) -> Iterator[str]:
    yield _text(x, y - 12, title, size=13)
    outline = f'fill="none" stroke="{GRID}"'
    yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{_PANEL}" height="{_PANEL}" {outline}/>'


def _columns(counts: NDArray[np.int64], x: float, y: float) -> Iterator[str]:
    """The columns of a histogram, filling a panel."""
    most, width = max(int(counts.max(initial=0)), 1), _PANEL / max(len(counts), 1)
    for index, count in enumerate(counts.tolist()):
        tall = (_PANEL - 14) * count / most
        if count:
            yield _rect(x + index * width, y + _PANEL - tall, max(width - 1, 0.5), tall, PALETTE[0], f"{count:,}")


def _size_histogram(boxes: FloatArray, x: float, y: float) -> Iterator[str]:
    """How large boxes are: the root of their share of the picture, on a logarithmic axis."""
    yield from _frame(x, y, "Sizes: √(box area ÷ picture area)")
    low = np.log(_SIDES[0])
    sides = np.log(np.maximum(np.sqrt(box_area(boxes)), _SIDES[0]))
    counts, _ = np.histogram(sides, _BINS, (low, 0.0))
    yield from _columns(counts, x, y)
    for side in _SIDES:
        place = x + _PANEL * float(1 - np.log(side) / low)
        words = f"≤{side:.1%}" if side == _SIDES[0] else f"{side:.0%}"
        yield _text(place, y + _PANEL + 16, words, size=11, anchor="middle")


def _count_histogram(counts: Sequence[int], x: float, y: float) -> Iterator[str]:
    """How many boxes a picture has."""
    yield from _frame(x, y, "Boxes a picture")
    most = max(counts, default=0)
    step = max(-(-(most + 1) // _BINS), 1)
    bins = np.bincount(np.asarray(counts, np.int64) // step, minlength=1)
    yield from _columns(bins, x, y)
    yield _text(x, y + _PANEL + 16, 0, size=11)
    yield _text(x + _PANEL, y + _PANEL + 16, f"{most:,}", size=11, anchor="end")


def _heat_map(across: FloatArray, down: FloatArray, x: float, y: float, title: str) -> Iterator[str]:
    """A panel of cells, the darker the more points (0 to 1 each way) lie in them."""
    yield from _frame(x, y, title)
    counts, _, _ = np.histogram2d(down, across, _CELLS, ((0, 1), (0, 1)))
    most, side = max(float(counts.max(initial=0)), 1.0), _PANEL / _CELLS
    for row, column in np.argwhere(counts).tolist():
        count = counts[row, column]
        strength = (count / most) ** 0.5
        red, green = round(235 - 235 * strength), round(243 - 129 * strength)
        fill = f"#{red:02x}{green:02x}{round(250 - 72 * strength):02x}"
        yield _rect(x + column * side, y + row * side, side + 0.3, side + 0.3, fill, f"{int(count):,}")
