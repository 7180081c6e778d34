"""How arrows run: straight where nothing is in the way, else through the channels between columns and lines.

Channel k lies left of column k, gutter l above line l. Arrows of different rows never share a track in one of them,
so that none lies on another; arrows that leave the same row share theirs. In a channel the tracks of arrows that
leave stand left of those that arrive, so that the short pieces beside the boxes can't meet either.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import Enum

from .grid import Grid, Line, Node

Span = tuple[int, int]


class Way(Enum):
    """The shape of an arrow."""

    UPRIGHT = "straight up or down"
    LEVEL = "along the source's line, then up or down in the channel before the target"
    AROUND = "down or up in the channel after the source, along a gutter, in the channel before the target"


@dataclass(slots=True)
class Route:
    """One arrow.

    Attributes:
        source: where it starts.
        target: where it ends; None for a head.
        head: the head that it ends in, an input of Detect, or None.
        way: its shape.
        is_skip: it joins what an earlier row than the one before gave.
        leave, arrive: its tracks in the channels after the source and before the target, counted over all groups.
        gutter: its track in the gutter.
        port: how far from the middle of the box it arrives, in steps; 0 is the middle.
    """

    source: Node
    target: Node | None
    head: int | None
    way: Way
    is_skip: bool
    leave: int = 0
    arrive: int = 0
    gutter: int = 0
    port: int = 0


class Routes:
    """All arrows of a grid, and how many tracks each channel and gutter needs."""

    def __init__(self, grid: Grid, head_rows: list[int]) -> None:
        self.grid = grid
        self.rank = {line: place for place, line in enumerate(grid.lines)}
        self.all = [self._route(node, row) for node in grid.nodes for row in node.first.sources]
        self.all += [self._head_route(head, row) for head, row in enumerate(head_rows)]
        self.channel_tracks: dict[int, int] = defaultdict(int)
        self.gutter_tracks: dict[Line, int] = defaultdict(int)
        self.most_ports: dict[int, int] = defaultdict(int)  # id of a target → steps that its ports reach
        self._assign_channels()
        self._assign_gutters()
        self._assign_ports()

    def gutter_line(self, route: Route) -> Line:
        """The line above which the route runs."""
        return route.target.line if route.target else route.source.line

    def arrival_column(self, route: Route) -> int:
        """The channel from which it arrives."""
        return route.target.column if route.target else self.grid.columns

    def _route(self, target: Node, row: int) -> Route:
        source = self.grid.of_row[row]
        is_skip = target.is_join and row != target.first.row - 1
        if self.grid.goes_straight(source, target):
            return Route(source, target, None, Way.UPRIGHT, is_skip)
        between = range(source.column + 1, target.column)
        level = source.column < target.column and self.grid.is_free(source.line, between)
        return Route(source, target, None, Way.LEVEL if level else Way.AROUND, is_skip)

    def _head_route(self, head: int, row: int) -> Route:
        source = self.grid.of_row[row]
        level = self.grid.is_free(source.line, range(source.column + 1, self.grid.columns))
        return Route(source, None, head, Way.LEVEL if level else Way.AROUND, False)

    def is_plain(self, route: Route) -> bool:
        """True for a level arrow that needs no bend."""
        target = route.target
        return (
            route.way is Way.LEVEL
            and target is not None
            and target.line == route.source.line
            and len(route.source.boxes) == 1
        )

    def _arrival_span(self, route: Route) -> Span:
        """The stretch that it needs in the last channel; lines count 1, 3, 5 …, the gutters above them 0, 2, 4 …"""
        lane = route.source.lane
        if route.target is None:
            ranks = [rank for line, rank in self.rank.items() if line.lane == lane]
            return 2 * min(ranks), 2 * max(ranks) + 1
        end = 2 * self.rank[route.target.line] + 1
        start = end - 1 if route.way is Way.AROUND else 2 * self.rank[route.source.line] + 1
        return min(start, end), max(start, end)

    def _assign_channels(self) -> None:
        groups: dict[tuple[int, int], list[tuple[Span, Route, str]]] = defaultdict(list)
        for route in self.all:
            arrival = self.arrival_column(route)
            if route.way is Way.AROUND:
                here, there = 2 * self.rank[route.source.line] + 1, 2 * self.rank[self.gutter_line(route)]
                groups[route.source.column + 1, 0].append(((min(here, there), max(here, there)), route, "leave"))
                groups[arrival, 2].append((self._arrival_span(route), route, "arrive"))
            elif route.way is Way.LEVEL and not self.is_plain(route):
                groups[arrival, 1].append((self._arrival_span(route), route, "arrive"))
        for (channel, _), wanted in sorted(groups.items(), key=lambda item: item[0]):
            first = self.channel_tracks[channel]
            for (_, route, end), track in zip(wanted, _tracks([(s, r) for s, r, _ in wanted]), strict=True):
                setattr(route, end, first + track)
                self.channel_tracks[channel] = max(self.channel_tracks[channel], first + track + 1)

    def _assign_gutters(self) -> None:
        groups: dict[Line, list[tuple[Span, Route]]] = defaultdict(list)
        for route in self.all:
            if route.way is Way.AROUND:
                ends = route.source.column + 1, self.arrival_column(route)
                groups[self.gutter_line(route)].append(((min(ends), max(ends)), route))
        for line, wanted in groups.items():
            for (_, route), track in zip(wanted, _tracks(wanted), strict=True):
                route.gutter = track
                self.gutter_tracks[line] = max(self.gutter_tracks[line], track + 1)

    def _assign_ports(self) -> None:
        """Arrows that come in from above arrive above the middle, those from below under it."""
        arriving: dict[int, list[Route]] = defaultdict(list)
        for route in self.all:
            if route.target is not None and route.way is not Way.UPRIGHT and not self.is_plain(route):
                arriving[id(route.target)].append(route)
        for routes in arriving.values():
            target = routes[0].target
            assert target is not None
            alone = self.grid.is_free(target.line, range(target.column))
            level = routes[0].way is Way.LEVEL and routes[0].source.line == target.line
            if len(routes) == 1 and (alone or level):
                continue
            for side, group in self._sides(routes, target).items():
                for place, route in enumerate(sorted(group, key=lambda route: route.arrive), 1):
                    route.port = side * place
                    self.most_ports[id(target)] = max(self.most_ports[id(target)], place)

    def _sides(self, routes: list[Route], target: Node) -> dict[int, list[Route]]:
        sides: dict[int, list[Route]] = {-1: [], 1: []}
        for route in routes:
            above = route.way is Way.AROUND or route.source.line < target.line
            sides[-1 if above else 1].append(route)
        return sides


def _tracks(wanted: list[tuple[Span, Route]]) -> list[int]:
    """A track for each span, as few as possible: only spans of the same source may overlap on one."""
    taken: list[list[tuple[Span, Node]]] = []
    given = [0] * len(wanted)
    for place in sorted(range(len(wanted)), key=lambda place: (wanted[place][0], place)):
        (low, high), route = wanted[place]
        fits = (
            track
            for track, others in enumerate(taken)
            if all(source is route.source or end < low or high < start for (start, end), source in others)
        )
        track = next(fits, len(taken))
        if track == len(taken):
            taken.append([])
        taken[track].append(((low, high), route.source))
        given[place] = track
    return given
