"""Where each box goes: lanes by stride, lines in a lane, columns in the order of the rows.

The backbone's stages stand under each other from the left; the head's rows go on to the right of them. A row that
goes on from the one before stays on its line; a branch gets a line of its own; a change of stride moves straight to
the next lane where it can. Boxes of a long chain may stand above each other in one cell.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from .boxes import PICTURE, Box

JOINS = ("Concat", "Add")
MAX_COLUMNS = 15
MAX_STACK = 12


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """A line of boxes: its lane, and its place there (0 is the main line, negative ones stand above it)."""

    lane: int
    place: int = 0


@dataclass(slots=True)
class Node:
    """One cell of the grid: a box, or several of a chain above each other."""

    boxes: list[Box]
    is_head: bool
    lane: int
    line: Line = field(default_factory=lambda: Line(0))
    column: int = 0

    @property
    def first(self) -> Box:
        return self.boxes[0]

    @property
    def last(self) -> Box:
        return self.boxes[-1]

    @property
    def is_join(self) -> bool:
        return self.first.kind in JOINS


class Grid:
    """Boxes in their cells.

    Attributes:
        strides: of the lanes, smallest (the finest grid) first.
        nodes: in the order of the rows.
        of_row: the node that a row stands in.
        stages: the backbone's nodes by lane.
        head_column: the first column of the head.
        columns: how many there are.
    """

    def __init__(self, boxes: list[Box], backbone_rows: int, head_rows: list[int], stack: int) -> None:
        self.strides = sorted({box.stride for box in boxes})
        self.head_rows = head_rows
        self.users: dict[int, list[Box]] = defaultdict(list)
        for box in boxes:
            for source in box.sources:
                self.users[source].append(box)
        self.nodes = self._chains(boxes, backbone_rows, stack)
        self.of_row = {box.row: node for node in self.nodes for box in node.boxes}
        self._cells: dict[tuple[Line, int], Node] = {}
        self._in_column: dict[int, list[Line]] = defaultdict(list)
        self._reach = [-1] * len(self.strides)  # the last column used in each lane
        self.stages: dict[int, list[Node]] = defaultdict(list)
        self.head_column = 0
        for node in self.nodes:
            self._place(node)
        self.columns = 1 + max(node.column for node in self.nodes)
        self.head_column = self.head_column or self.columns

    @property
    def lines(self) -> list[Line]:
        """All lines from top to bottom; a lane without boxes has its main line."""
        used = {node.line for node in self.nodes}
        return sorted(used | {Line(lane) for lane in range(len(self.strides))})

    def at(self, line: Line, column: int) -> Node | None:
        """The node in a cell."""
        return self._cells.get((line, column))

    def is_free(self, line: Line, columns: range) -> bool:
        """True when no box stands on the line in these columns."""
        return all((line, column) not in self._cells for column in columns)

    def goes_straight(self, source: Node, target: Node, line: Line | None = None, column: int | None = None) -> bool:
        """True when an arrow can go straight up or down from `source` to `target` (there, or at line and column)."""
        line, column = line or target.line, target.column if column is None else column
        upwards = line < source.line
        if source.column != column or line == source.line or (upwards and len(source.boxes) + len(target.boxes) > 2):
            return False
        if line.lane != source.line.lane and not target.is_head:
            return False  # the backbone's stages begin anew from the left, under their label
        low, high = sorted((line, source.line))
        return not any(low < other < high for other in self._in_column[column])

    def _chains(self, boxes: list[Box], backbone_rows: int, stack: int) -> list[Node]:
        nodes: list[Node] = []
        for box in boxes:
            is_head = box.row >= backbone_rows
            lane = self.strides.index(box.stride)
            last = nodes[-1] if nodes else None
            if (
                last is not None
                and len(last.boxes) < stack
                and (last.lane, last.is_head) == (lane, is_head)
                and box.sources == (last.last.row,)
                and len(self.users[last.last.row]) == 1
                and last.last.row not in (PICTURE, *self.head_rows)
            ):
                last.boxes.append(box)
            else:
                nodes.append(Node([box], is_head, lane))
        return nodes

    def _place(self, node: Node) -> None:
        if node.is_head and not self.head_column:
            self.head_column = 1 + max(self._reach)
        sources = [self.of_row[row] for row in node.first.sources]
        if not sources:
            line, column = Line(node.lane), 0
        elif node.is_head or self._begun(node, sources):
            line, column = self._find(node, sources)
        else:
            line, column = Line(node.lane), 1 + self._reach[node.lane]
        node.line, node.column = line, column
        self._cells[line, column] = node
        self._in_column[column].append(line)
        self._reach[node.lane] = max(self._reach[node.lane], column)
        if not node.is_head and sources:
            self.stages[node.lane].append(node)

    def _begun(self, node: Node, sources: list[Node]) -> bool:
        """True when a row of the backbone goes on in its lane, false when it opens a stage."""
        return any(source.lane == node.lane for source in sources)

    def _find(self, node: Node, sources: list[Node]) -> tuple[Line, int]:
        floor = self.head_column if node.is_head else 0
        if len(sources) > 1:
            return self._find_join(node, sources, floor)
        source = sources[0]
        if source.lane != node.lane:
            return self._find_in_lane(node, source, floor)
        column = max(source.column + 1, floor)
        if self.is_free(source.line, range(source.column + 1, column + 1)):
            return source.line, column
        return self._nearest(node, source.line.place, column, self._side(node)), column

    def _find_join(self, node: Node, sources: list[Node], floor: int) -> tuple[Line, int]:
        line = min((source.line for source in sources), key=lambda line: (abs(line.place), line.place))
        column = max(floor, *(source.column for source in sources))
        while self.at(line, column) or not all(
            source.column < column or self.goes_straight(source, node, line, column) for source in sources
        ):
            column += 1
        return line, column

    def _find_in_lane(self, node: Node, source: Node, floor: int) -> tuple[Line, int]:
        """Into another lane: beside its main line when a join follows, else on it where that is free."""
        joins = any(user.kind in JOINS for user in self.users[node.last.row])
        side = 1 if source.lane > node.lane else -1
        for column in (max(source.column, floor), max(source.column + 1, floor)):
            line = Line(node.lane)
            if (joins and self._reach[node.lane] >= 0) or not self.is_free(line, range(column, column + 3)):
                line = self._nearest(node, 0, column, side)
            if source.column < column or self.goes_straight(source, node, line, column):
                return line, column
        raise AssertionError("the second column is right of the source")

    def _nearest(self, node: Node, place: int, column: int, side: int) -> Line:
        """The free line nearest to one of a lane, on this side of it."""
        line = Line(node.lane, place + side)
        while self.at(line, column):
            line = Line(node.lane, line.place + side)
        return line

    def _side(self, node: Node) -> int:
        """Which way a branch of its own should lean: towards the lane that it is on its way to (1 is down).

        The backbone's lean down, so that the way into a stage from above stays free.
        """
        if not node.is_head:
            return 1
        box = node.last
        for _ in range(MAX_STACK):
            users = self.users[box.row]
            if not users:
                break
            box = users[0]
            if box.stride != node.last.stride:
                return 1 if box.stride > node.last.stride else -1
        return -1


def arrange(boxes: list[Box], backbone_rows: int, head_rows: list[int]) -> Grid:
    """Boxes in a grid about as wide as a screen: chains are stacked only where the network is long.

    Args:
        boxes: in the order of the rows.
        backbone_rows: how many rows the backbone has.
        head_rows: the rows that feed the heads.
    """
    for stack in (1, 2, 3, 4, 6, 8, MAX_STACK):
        grid = Grid(boxes, backbone_rows, head_rows, stack)
        if grid.columns <= MAX_COLUMNS:
            break
    return grid
