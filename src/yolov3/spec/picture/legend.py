"""The legend: what each colour, number and arrow means, for the modules that are in the picture."""

from __future__ import annotations

from dataclasses import dataclass

from ..rows import Spec
from .svg import COLOURS, FLOW, SKIP, Canvas, text_width, wrap

ACTIVATION_NAMES = {"leaky": "LeakyReLU (slope 0.1)", "linear": "no activation", "silu": "SiLU", "relu": "ReLU"}
EXPLANATIONS = {
    "Conv": "convolution (kernel, /stride), batch normalisation, {activation}",
    "Bottleneck": "Conv 1×1 to half the channels, Conv 3×3 back to all; “add”: plus its own input, the residual",
    "SPP": "Conv 1×1, max-pools of several sizes side by side, joined with what went in, Conv 1×1",
    "MaxPool2d": "largest value of each window (size, /stride)",
    "ZeroPad2d": "zeros added at the sides",
    "ConstantPad2d": "columns and rows of one value added at the sides",
    "Upsample": "each value repeated: a finer grid, nothing learned",
    "Concat": "feature maps of several rows joined along the channels",
    "Add": "feature maps of several rows added value by value",
    "Slice": "one group of the channels",
    "Detect": "Conv 1×1; in every cell, for every anchor: 4 numbers of the box, 1 objectness, the classes: {nc}",
}
SIZE, LEADING, GAP = 11, 14, 8
SWATCH = 92


@dataclass(frozen=True, slots=True)
class Entry:
    """A swatch or arrow with its explanation."""

    label: str
    lines: list[str]
    colour: tuple[str, str] | None = None
    arrow: str | None = None

    @property
    def height(self) -> float:
        return max(len(self.lines) * LEADING, 18) + GAP


def legend_entries(spec: Spec, kinds: list[str], width: float) -> list[Entry]:
    """What there is to explain, wrapped to columns of a width."""
    words = {"activation": ACTIVATION_NAMES.get(spec.activation, spec.activation), "nc": spec.nc}
    inner = width - SWATCH - 10
    entries = [
        Entry(kind, wrap(EXPLANATIONS[kind].format(**words), SIZE, inner), COLOURS[kind])
        for kind in EXPLANATIONS
        if kind in kinds or kind == "Detect"
    ]
    flow = "from row to row, left to right, down to coarser cells, up to finer ones"
    entries.append(Entry("", wrap(flow, SIZE, inner), arrow=FLOW))
    if "Concat" in kinds or "Add" in kinds:
        skip = "what an earlier row gave, brought along to be joined"
        entries.append(Entry("", wrap(skip, SIZE, inner), arrow=SKIP))
    box = "row number, times in sequence, module, its arguments, output: channels × height × width"
    entries.append(Entry("in a box", wrap(box, SIZE, inner)))
    factor = "(2σ(tw))²" if all(head.wh == "square" for head in spec.network.heads) else "exp(tw)"
    decode = f"x = (σ(tx) + cell) · stride, width = anchor width · {factor}, score = σ(objectness) · σ(class)"
    entries.append(Entry("a box's place", wrap(decode, SIZE, inner)))
    return entries


def legend_height(entries: list[Entry], columns: int) -> float:
    """How high the legend is in so many columns."""
    return max(sum(entry.height for entry in column) for column in _split(entries, columns)) + 34


def _split(entries: list[Entry], columns: int) -> list[list[Entry]]:
    """Columns of about the same height, filled one after the other."""
    share = sum(entry.height for entry in entries) / columns
    result: list[list[Entry]] = [[]]
    filled = 0.0
    for entry in entries:
        if filled + entry.height / 2 > share * len(result) and len(result) < columns:
            result.append([])
        result[-1].append(entry)
        filled += entry.height
    return result


def draw_legend(canvas: Canvas, entries: list[Entry], columns: int, x: float, y: float, width: float) -> None:
    """Draw it with its top left corner at x, y; each column `width` wide."""
    canvas.group("legend")
    height = legend_height(entries, columns)
    canvas.rect(x, y, columns * width + 10, height, "#ffffff", "#cbd3df", rx=8)
    canvas.text(x + 14, y + 20, "How to read it", 13, "bold")
    for place, column in enumerate(_split(entries, columns)):
        top = y + 32
        for entry in column:
            _draw_entry(canvas, entry, x + 14 + place * width, top)
            top += entry.height


def _draw_entry(canvas: Canvas, entry: Entry, x: float, y: float) -> None:
    if entry.colour is not None:
        fill, line = entry.colour
        canvas.rect(x, y, SWATCH - 12, 18, fill, line, rx=4)
        canvas.text(x + (SWATCH - 12) / 2, y + 13, entry.label, 10.5, "bold middle", SWATCH - 18)
    elif entry.arrow is not None:
        middle, end = y + 9, x + SWATCH - 16
        canvas.path(f"M{x} {middle}L{end} {middle}", entry.arrow, stroke_width=2)
        canvas.path(f"M{end - 2} {middle - 4}l7 4l-7 4z", "none", entry.arrow)
    else:
        canvas.text(x, y + 13, entry.label, SIZE, "bold", min(SWATCH - 10, text_width(entry.label, SIZE, True)))
    for place, text in enumerate(entry.lines):
        canvas.text(x + SWATCH, y + 12 + place * LEADING, text, SIZE)
