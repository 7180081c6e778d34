"""Everything on the page, from back to front."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from math import log2

from ..rows import Spec
from ..shapes import Summary
from .boxes import PICTURE, Box
from .grid import Node
from .heads import WIDTH as PANEL_WIDTH
from .heads import draw_panel
from .legend import Entry, draw_legend, legend_entries, legend_height
from .page import BOX_W, DETAIL_H, LABEL_H, LANE_LABEL_W, MARGIN, STACK_GAP, TOP, Page, Point
from .routes import Route
from .svg import BAND, COLOURS, FLOW, PAPER, SKIP, Canvas, number, rounded, text_width

LEGEND_COLUMN = 330.0
GAP = 14.0


def draw_page(spec: Spec, summary: Summary, title: str) -> str:
    """The SVG text."""
    page, canvas = Page(spec, summary), Canvas()
    legend = _Legend(page)
    height = max(page.bottom, legend.bottom) + MARGIN
    canvas.group("paper")
    canvas.rect(0, 0, page.width, height, PAPER)
    facts = _facts(spec, summary)
    canvas.text(MARGIN, 34, title, 22, "bold", page.width - 2 * MARGIN)
    canvas.text(MARGIN, 54, facts, 13, "muted", page.width - 2 * MARGIN)
    _draw_lanes(canvas, page, summary)
    _draw_stages(canvas, page)
    _draw_parts(canvas, page)
    _draw_routes(canvas, page)
    for node in page.grid.nodes:
        _draw_node(canvas, page, node)
    for panel in page.panels:
        draw_panel(canvas, panel, page.panel_x, page.panel_y[panel.place])
    draw_legend(canvas, legend.entries, legend.columns, legend.x, legend.y, LEGEND_COLUMN)
    return canvas.finish(page.width, height, title, facts)


def _facts(spec: Spec, summary: Summary) -> str:
    height, width = summary.layers[0].inputs[0][2:]
    return (
        f"{len(spec.rows)} rows, {summary.parameters:,} parameters, "
        f"{2 * summary.multiply_adds / 1e9:.3f} billion operations for a picture of {width}×{height} pixels, "
        f"{spec.nc} class{'es' if spec.nc > 1 else ''}"
    )


class _Legend:
    """Where the legend goes: into the empty corner at the top right when it fits, else under everything."""

    def __init__(self, page: Page) -> None:
        self.entries: list[Entry] = legend_entries(page.spec, [box.kind for box in page.boxes], LEGEND_COLUMN)
        self.y = TOP + GAP
        for self.columns in (3, 2, 1):
            self.x = page.width - MARGIN - self.columns * LEGEND_COLUMN - 10 - GAP
            self.bottom = self.y + legend_height(self.entries, self.columns)
            if page.is_empty((self.x - GAP, self.y, page.width, self.bottom + GAP)):
                return
        self.columns = max(min(int((page.width - 2 * MARGIN) / LEGEND_COLUMN), 4), 1)
        self.x, self.y = MARGIN, page.bottom + GAP
        self.bottom = self.y + legend_height(self.entries, self.columns)


def _draw_lanes(canvas: Canvas, page: Page, summary: Summary) -> None:
    """A band for each stride, with its name at the left."""
    height, width = summary.layers[0].inputs[0][2:]
    canvas.group("lanes")
    for lane, (stride, (y, lane_height)) in enumerate(zip(page.grid.strides, page.lane_y, strict=True)):
        if lane % 2 == 0:
            canvas.rect(0, y, page.width, lane_height, BAND)
        middle = y + lane_height / 2
        canvas.text(MARGIN, middle - 8, f"stride {stride}", 13, "bold", LANE_LABEL_W - 8)
        cells = f"{Fraction(width) / stride}×{Fraction(height) / stride}"
        canvas.text(MARGIN, middle + 8, f"{cells} cells", 11, "muted", LANE_LABEL_W - 8)
        if stride > 1 and log2(stride).is_integer():
            canvas.text(MARGIN, middle + 23, f"P{int(log2(stride))}", 11, "muted")


def _draw_stages(canvas: Canvas, page: Page) -> None:
    """A block around the backbone's boxes of each lane, with the size of what it gives."""
    for stage, (lane, nodes) in enumerate(sorted(page.grid.stages.items()), 1):
        corners = [page.box_at(node, place) for node in nodes for place in (0, len(node.boxes) - 1)]
        left, top = min(x for x, _ in corners) - 5, min(y for _, y in corners) - LABEL_H
        right, bottom = max(x for x, _ in corners) + BOX_W + 5, max(y for _, y in corners) + page.box_h + 5
        canvas.group("stage", lane=lane)
        canvas.rect(left, top, right - left, bottom - top, "#e6ebf3", "#b9c3d3", rx=8, stroke_dasharray="4 3")
        label = f"stage {stage}: {nodes[-1].last.shape}"
        wide = text_width(label, 10.5, bold=True)
        if wide > right - left - 10 or page.is_crossed((left, top, left + 6 + wide, top + LABEL_H)):
            label = f"stage {stage}"  # each box says its own size
        canvas.text(left + 6, top + 11.5, label, 10.5, "bold")


def _draw_parts(canvas: Canvas, page: Page) -> None:
    """Which columns are the backbone, the head and the detections."""
    grid = page.grid
    head_x = page.channel_x[grid.head_column]
    parts = [("backbone" if page.spec.backbone else "input", page.column_x[0], head_x)]
    if grid.head_column < grid.columns:
        parts.append(("head", head_x + 10, page.channel_x[-1]))
    parts.append(("detection", page.panel_x, page.panel_x + PANEL_WIDTH))
    canvas.group("parts")
    for name, left, right in parts:
        y = TOP - 6
        canvas.path(f"M{number(left)} {number(y)}H{number(right)}", "#9aa6b8", stroke_width=1.5)
        canvas.text((left + right) / 2, y - 6, name, 12, "muted bold middle", right - left)


def _draw_routes(canvas: Canvas, page: Page) -> None:
    """Arrows, each with a rim of paper where it crosses those of other rows."""
    by_source: dict[int, list[Route]] = defaultdict(list)
    for route in page.routes.all:
        by_source[route.source.last.row].append(route)
    for routes in by_source.values():
        canvas.group("rim")
        lines = [rounded(page.points(route)) for route in routes]
        for line in lines:
            canvas.path(line, PAPER, stroke_width=5, stroke_opacity=0.8)
        for route, line in zip(routes, lines, strict=True):
            _draw_route(canvas, route, line, page.points(route))


def _draw_route(canvas: Canvas, route: Route, line: str, points: list[Point]) -> None:
    colour = SKIP if route.is_skip else FLOW
    ends = {"to": route.target.first.row} if route.target else {"head": route.head}
    canvas.group("arrow", **{"from": route.source.last.row, **ends})
    canvas.path(line, colour, stroke_width=2, class_="line")
    (x, y), (before_x, before_y) = points[-1], points[-2]
    if x != before_x:
        canvas.path(f"M{number(x)} {number(y)}l-8 -4.5v9z", "none", colour)
    else:
        base = -8 if y > before_y else 8
        canvas.path(f"M{number(x)} {number(y)}l-4.5 {base}h9z", "none", colour)


def _draw_node(canvas: Canvas, page: Page, node: Node) -> None:
    for place, box in enumerate(node.boxes):
        x, y = page.box_at(node, place)
        if place:
            canvas.group("arrow")
            middle = x + BOX_W / 2
            canvas.path(f"M{number(middle)} {number(y - STACK_GAP)}v{number(STACK_GAP - 4)}", FLOW, stroke_width=2)
            canvas.path(f"M{number(middle)} {number(y)}l-4.5 -7h9z", "none", FLOW)
        _draw_box(canvas, page, box, x, y)


def _draw_box(canvas: Canvas, page: Page, box: Box, x: float, y: float) -> None:
    fill, line = COLOURS[box.kind]
    canvas.group("row", row=box.row)
    canvas.tooltip(box.tooltip)
    canvas.rect(x, y, BOX_W, page.box_h, fill, line, rx=6, stroke_width=1.4, class_="box")
    middle = x + BOX_W / 2
    if box.row != PICTURE:
        canvas.text(x + 6, y + 12, str(box.row), 10, "muted")
    if box.repeats > 1:
        canvas.rect(x + BOX_W - 31, y + 3, 28, 14, line, rx=7)
        canvas.text(x + BOX_W - 17, y + 13.5, f"×{box.repeats}", 10.5, "bold white middle", 26)
    y += 28
    canvas.text(middle, y, box.kind, 12, "bold middle", BOX_W - 8)
    for detail in page.details[box.row]:
        y += DETAIL_H
        canvas.text(middle, y, detail, 10.5, "middle", BOX_W - 8)
    canvas.text(middle, y + 12, box.shape, 10.5, "muted middle", BOX_W - 8)
