"""The panels at the right: each head's grid, anchors drawn to scale, and output."""

from __future__ import annotations

from dataclasses import dataclass

from ..rows import Head, Row, Spec
from ..shapes import Layer
from .boxes import tooltip
from .svg import COLOURS, Canvas

WIDTH, TITLE, LEADING = 268.0, 24.0, 15.0
PER_LINE, TALLEST, CAPTION = 3, 62.0, 16.0


@dataclass(frozen=True, slots=True)
class Panel:
    """One head, ready to draw.

    Attributes:
        place: which of Detect's inputs it is.
        source: the row that feeds it.
        scale: drawn pixels to a pixel of the network's input, the same for all heads.
        lines: what is written above the anchors.
        output: the output's shape.
    """

    row: Row
    place: int
    source: int
    head: Head
    scale: float
    title: str
    lines: list[str]
    output: str
    tooltip: str

    @property
    def anchor_lines(self) -> list[tuple[tuple[float, float], ...]]:
        """The anchors, some a line."""
        anchors = self.head.anchors
        return [anchors[start : start + PER_LINE] for start in range(0, len(anchors), PER_LINE)]

    @property
    def height(self) -> float:
        """In pixels."""
        drawn = sum(self._line_height(line) for line in self.anchor_lines)
        return TITLE + 6 + LEADING * (len(self.lines) + 2) + drawn + 8

    def _line_height(self, anchors: tuple[tuple[float, float], ...]) -> float:
        return max(height for _, height in anchors) * self.scale + CAPTION + 6


def panels_of(spec: Spec, layer: Layer) -> list[Panel]:
    """A panel for each of Detect's inputs."""
    heads, row = spec.network.heads, layer.row
    shapes = [shape for head in heads for shape in head.anchors]
    room = (WIDTH - 20) / PER_LINE - 10
    scale = min(TALLEST / max(height for _, height in shapes), room / max(width for width, _ in shapes))
    panels = []
    for place, (head, source) in enumerate(zip(heads, row.sources, strict=True)):
        given, output = layer.inputs[place], layer.outputs[place]
        count = len(head.anchors)
        lines = [
            f"Conv 1×1, {given[1]} → {count * (5 + spec.nc)} channels",
            f"{_count(count, 'anchor')} × (4 box + 1 object + {_count(spec.nc, 'class', 'classes')})",
        ]
        if head.xy_scale != 1:
            lines.append(f"σ of the centre stretched by {head.xy_scale:g}")
        if head.wh == "square":
            lines.append("width = anchor width · (2σ(tw))²")
        title = f"Detect {row.index}, {output[3]}×{output[2]} cells of {head.stride} px"
        shape = "×".join(map(str, output))
        panels.append(Panel(row, place, source, head, scale, title, lines, shape, tooltip(layer)))
    return panels


def _count(count: int, one: str, several: str = "") -> str:
    return f"{count} {one if count == 1 else several or one + 's'}"


def draw_panel(canvas: Canvas, panel: Panel, x: float, y: float) -> None:
    """Draw a head with its top left corner at x, y."""
    line = COLOURS["Detect"][1]
    canvas.group("head", row=panel.row.index, head=panel.place)
    canvas.tooltip(panel.tooltip)
    canvas.rect(x, y, WIDTH, panel.height, "#ffffff", line, rx=6, class_="box")
    canvas.path(f"M{x} {y + TITLE}v{6 - TITLE}q0 -6 6 -6h{WIDTH - 12}q6 0 6 6v{TITLE - 6}z", "none", line)
    canvas.text(x + 10, y + 16.5, panel.title, 12.5, "bold white", WIDTH - 20)
    top = y + TITLE + 6
    for text in [*panel.lines, "anchors, in pixels of the input, to scale:"]:
        top += LEADING
        canvas.text(x + 10, top - 3, text, 11, "muted" if text.startswith("anchors,") else "", WIDTH - 20)
    for anchors in panel.anchor_lines:
        top = _draw_anchors(canvas, panel, anchors, x + 10, top + 3)
    canvas.text(x + 10, top + LEADING, f"output {panel.output}", 11.5, "bold", WIDTH - 20)


def _draw_anchors(canvas: Canvas, panel: Panel, anchors: tuple[tuple[float, float], ...], x: float, y: float) -> float:
    """Rectangles standing on one line, their sizes beneath; gives the y below them."""
    room = (WIDTH - 20) / PER_LINE
    ground = y + max(height for _, height in anchors) * panel.scale
    for place, (width, height) in enumerate(anchors):
        middle = x + (place + 0.5) * room
        wide, high = width * panel.scale, height * panel.scale
        canvas.rect(middle - wide / 2, ground - high, wide, high, "#cfdcf3", "#2f66b3", class_="anchor")
        canvas.text(middle, ground + 13, f"{width:g}×{height:g}", 11, "bold middle", room - 4)
    return ground + CAPTION + 3
