"""From the grid to pixels: where columns, lines, lanes and panels lie, and where arrows bend."""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property
from itertools import pairwise

from ..rows import Spec
from ..shapes import Summary
from .boxes import boxes_of
from .grid import Line, Node, arrange
from .heads import WIDTH as PANEL_WIDTH
from .heads import Panel, panels_of
from .routes import Route, Routes, Way
from .svg import text_width

BOX_W, BOX_H, STACK_GAP = 82.0, 58.0, 12.0
TRACK, FIRST_TRACK, CHANNEL, GUTTER, LABEL_H = 7.0, 10.0, 24.0, 15.0, 16.0
MARGIN, LANE_LABEL_W, TOP = 18.0, 86.0, 100.0
PORT = 8.0
DETAIL_H, SMALLEST_DETAIL = 13.0, 9.0
Point = tuple[float, float]
Rectangle = tuple[float, float, float, float]  # left, top, right, bottom


class Page:
    """The geometry: x of columns and channels, y of lines, lanes and panels."""

    def __init__(self, spec: Spec, summary: Summary) -> None:
        self.spec = spec
        self.boxes = boxes_of(spec, summary)
        self.panels = panels_of(spec, summary.layers[-1])
        head_rows = [panel.source for panel in self.panels]
        self.grid = arrange(self.boxes, len(spec.backbone), head_rows)
        self.details = {box.row: _detail_lines(box.detail) for box in self.boxes}
        self.box_h = BOX_H + DETAIL_H * (max(len(lines) for lines in self.details.values()) - 1)
        self.routes = Routes(self.grid, head_rows)
        self._place_columns()
        self._place_lines()

    def _place_columns(self) -> None:
        x = MARGIN + LANE_LABEL_W
        self.channel_x, self.column_x = [], []
        for column in range(self.grid.columns + 1):
            self.channel_x.append(x)
            tracks = self.routes.channel_tracks[column]
            x += max(CHANNEL, FIRST_TRACK + TRACK * (tracks - 1) + 13)
            self.column_x.append(x)
            x += BOX_W
        self.panel_x = self.column_x[-1]
        self.width = self.panel_x + PANEL_WIDTH + MARGIN

    def _place_lines(self) -> None:
        """Lines of a lane one under the other; a lane is at least as high as its panels."""
        tops = {min(node.line for node in nodes) for nodes in self.grid.stages.values()}
        stacks: dict[Line, int] = {}
        for node in self.grid.nodes:
            stacks[node.line] = max(stacks.get(node.line, 1), len(node.boxes))
        self.gutter_y: dict[Line, float] = {}
        self.line_y: dict[Line, float] = {}
        self.lane_y: list[tuple[float, float]] = []
        y = TOP
        for lane in range(len(self.grid.strides)):
            lines = [line for line in self.grid.lines if line.lane == lane]
            gutters = [GUTTER + TRACK * self.routes.gutter_tracks[line] for line in lines]
            heights = [self._stack_height(stacks.get(line, 1)) for line in lines]
            labels = [LABEL_H if line in tops else 0 for line in lines]
            needed = sum(gutters) + sum(heights) + sum(labels) + GUTTER
            panels = [panel.height for panel in self.panels if self._lane_of(panel) == lane]
            height = max(needed, sum(panels) + GUTTER * (len(panels) + 1))
            self.lane_y.append((y, height))
            inner = y + (height - needed) / 2
            for line, gutter, label, own in zip(lines, gutters, labels, heights, strict=True):
                self.gutter_y[line] = inner + GUTTER / 2
                self.line_y[line] = inner + gutter + label
                inner += gutter + label + own
            y += height
        self.bottom = y
        self.panel_y = self._place_panels()
        self.arrival_y = self._place_arrivals()

    def _stack_height(self, count: int) -> float:
        return count * self.box_h + (count - 1) * STACK_GAP

    def _lane_of(self, panel: Panel) -> int:
        return self.grid.strides.index(Fraction(panel.head.stride))

    def _place_panels(self) -> dict[int, float]:
        """Beside the line that feeds them where there is room, in the order of those lines."""
        result: dict[int, float] = {}
        for lane, (top, height) in enumerate(self.lane_y):
            panels = [panel for panel in self.panels if self._lane_of(panel) == lane]
            panels.sort(key=lambda panel: self._exit(self.grid.of_row[panel.source])[1])
            free = height - sum(panel.height for panel in panels) - GUTTER * (len(panels) + 1)
            y = top + GUTTER
            for panel in panels:
                wanted = self._exit(self.grid.of_row[panel.source])[1] - panel.height / 2
                shift = min(max(wanted - y, 0), free)
                result[panel.place] = y + shift
                y, free = y + shift + panel.height + GUTTER, free - shift
        return result

    def is_empty(self, area: Rectangle) -> bool:
        """True when this part of the page exists and holds no box, panel or arrow."""
        shapes = [
            (x, y, x + BOX_W, y + self.box_h)
            for node in self.grid.nodes
            for x, y in (self.box_at(node, place) for place in range(len(node.boxes)))
        ]
        for panel in self.panels:
            y = self.panel_y[panel.place]
            shapes.append((self.panel_x, y, self.panel_x + PANEL_WIDTH, y + panel.height))
        return area[0] >= 0 and not any(_meet(area, shape) for shape in shapes) and not self.is_crossed(area)

    def is_crossed(self, area: Rectangle) -> bool:
        """True when an arrow runs through this part of the page."""
        return any(_meet(area, piece) for piece in self._pieces)

    @cached_property
    def _pieces(self) -> list[Rectangle]:
        """Every straight piece of every arrow."""
        return [
            (min(x, other_x), min(y, other_y), max(x, other_x), max(y, other_y))
            for route in self.routes.all
            for (x, y), (other_x, other_y) in pairwise(self.points(route))
        ]

    def _place_arrivals(self) -> dict[int, float]:
        """Where arrows enter the panels: straight ahead where they can, never where another one comes along."""
        routes = [route for route in self.routes.all if route.head is not None]
        levels = {
            route.head: self._exit(route.source)[1] if route.way is Way.LEVEL else self._gutter(route)
            for route in routes
        }
        result: dict[int, float] = {}
        for route in routes:
            assert route.head is not None
            others = [levels[other.head] for other in routes if other.source is not route.source]
            top = self.panel_y[route.head] + 12
            bottom = top + self.panels[route.head].height - 24
            choices = [min(max(self._exit(route.source)[1], top), bottom)]
            choices += [top + step * TRACK for step in range(int((bottom - top) / TRACK))]
            free = (y for y in choices if all(abs(y - other) > TRACK / 2 for other in others))
            result[route.head] = next(free, choices[0])
        return result

    def _gutter(self, route: Route) -> float:
        return self.gutter_y[self.routes.gutter_line(route)] + TRACK * route.gutter

    def box_at(self, node: Node, place: int) -> Point:
        """The top left corner of a node's box."""
        return self.column_x[node.column], self.line_y[node.line] + place * (self.box_h + STACK_GAP)

    def _exit(self, node: Node) -> Point:
        x, y = self.box_at(node, len(node.boxes) - 1)
        return x + BOX_W, y + self.box_h / 2

    def points(self, route: Route) -> list[Point]:
        """The corners of an arrow."""
        if route.way is Way.UPRIGHT and route.target is not None:
            return self._upright(route.source, route.target)
        start, end = self._exit(route.source), self._arrival(route)
        arrive = self.channel_x[self.routes.arrival_column(route)] + FIRST_TRACK + TRACK * route.arrive
        if route.way is Way.LEVEL:
            return [start, end] if start[1] == end[1] else [start, (arrive, start[1]), (arrive, end[1]), end]
        leave = self.channel_x[route.source.column + 1] + FIRST_TRACK + TRACK * route.leave
        gutter = self._gutter(route)
        return [start, (leave, start[1]), (leave, gutter), (arrive, gutter), (arrive, end[1]), end]

    def _upright(self, source: Node, target: Node) -> list[Point]:
        x = self.column_x[source.column] + BOX_W / 2
        if target.line < source.line:
            return [(x, self.line_y[source.line]), (x, self.line_y[target.line] + self.box_h)]
        return [(x, self.box_at(source, len(source.boxes) - 1)[1] + self.box_h), (x, self.line_y[target.line])]

    def _arrival(self, route: Route) -> Point:
        if route.target is not None:
            x, y = self.box_at(route.target, 0)
            step = min(PORT, (self.box_h / 2 - 4) / max(self.routes.most_ports[id(route.target)], 1))
            return x, y + self.box_h / 2 + step * route.port
        assert route.head is not None
        return self.panel_x, self.arrival_y[route.head]


def _meet(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _detail_lines(detail: str) -> list[str]:
    """A box's small print on one line, or on two when it would get too small to read."""
    if text_width(detail, SMALLEST_DETAIL) <= BOX_W - 8:
        return [detail]
    words = detail.split(" ")
    halves = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    return list(min(halves, key=lambda half: max(map(len, half)), default=(detail,)))
