"""What was measured: figures, ratios, the table and the chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any, NamedTuple

from ..charts import Bar, bar_chart
from .machine import PEAK_METHOD, machine_line

BAR = 24  # letters of the longest bar in the terminal's table


class Spread(NamedTuple):
    """The median of some figures, and the quarters around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """From one figure or more."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, middle, high = quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high)

    def milliseconds(self) -> str:
        """As "26.3 (26.0–27.1)" from seconds."""
        return f"{self.median * 1000:.1f} ({self.low * 1000:.1f}–{self.high * 1000:.1f})"


@dataclass
class Entry:
    """What one contender took.

    Attributes:
        name: of the engine or peer.
        peer: it is other software.
        load: seconds to import, read the model and build.
        first: seconds of the first picture, from file to boxes.
        network: seconds a picture of the network alone, for each round one a call.
        end_to_end: seconds a picture from file to boxes, for each round one a batch.
        boxes: found in a turn's pictures.
        memory_bytes: the most that its process ever held; None where the system doesn't say.
    """

    name: str
    peer: bool
    load: float
    first: float
    network: list[list[float]] = field(default_factory=list)
    end_to_end: list[list[float]] = field(default_factory=list)
    boxes: int = 0
    memory_bytes: int | None = None

    @property
    def network_spread(self) -> Spread:
        """Of all calls."""
        return Spread.of([seconds for turn in self.network for seconds in turn])

    @property
    def end_to_end_spread(self) -> Spread:
        """Of all batches."""
        return Spread.of([seconds for turn in self.end_to_end for seconds in turn])

    def times_as_fast(self, other: Entry) -> Spread:
        """End to end: the median of the rounds' ratios, their least and their most; turns of one round are compared."""
        ratios = [sum(theirs) / sum(own) for own, theirs in zip(self.end_to_end, other.end_to_end, strict=True)]
        return Spread(median(ratios), min(ratios), max(ratios))


@dataclass(frozen=True)
class Report:
    """Everything.

    Attributes:
        machine: from `describe_machine`.
        model: as it was asked for.
        size_wh, batch: of the network's input.
        pictures: in a turn.
        rounds: how many turns each had.
        operations: floating-point operations of one picture, as direct convolution counts them (2 a multiply-add).
        peak: floating-point operations a second that the machine reached.
        entries: one a contender, our engines first.
        notes: what else there is to say, a line each.
    """

    machine: dict[str, Any]
    model: str
    size_wh: tuple[int, int]
    batch: int
    pictures: int
    rounds: int
    operations: int
    peak: float
    entries: list[Entry]
    notes: list[str]

    @property
    def title(self) -> str:
        """Model, size and batch."""
        return f"{self.model} at {self.size_wh[0]}×{self.size_wh[1]}, batch {self.batch}"

    def share_of_peak(self, entry: Entry) -> float | None:
        """Of the network alone; None for a peer, which may run another network. Above 1 where Winograd saves work."""
        return None if entry.peer else self.operations / entry.network_spread.median / self.peak

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; seconds, bytes, operations a second."""
        return {
            "model": self.model,
            "size": list(self.size_wh),
            "batch": self.batch,
            "pictures": self.pictures,
            "rounds": self.rounds,
            "machine": self.machine,
            "peak_flops": self.peak,
            "peak_method": PEAK_METHOD,
            "operations_per_picture": self.operations,
            "contenders": [self._entry_dict(entry) for entry in self.entries],
            "times_as_fast": {
                peer.name: {entry.name: entry.times_as_fast(peer)._asdict() for entry in self._engines()}
                for peer in self._peers()
            },
            "notes": self.notes,
        }

    def _entry_dict(self, entry: Entry) -> dict[str, Any]:
        end_to_end = entry.end_to_end_spread
        return {
            "name": entry.name,
            "kind": "peer" if entry.peer else "engine",
            "load_seconds": entry.load,
            "first_picture_seconds": entry.first,
            "network_seconds": entry.network_spread._asdict(),
            "end_to_end_seconds": end_to_end._asdict(),
            "pictures_per_second": 1 / end_to_end.median,
            "share_of_peak": self.share_of_peak(entry),
            "peak_memory_bytes": entry.memory_bytes,
            "boxes": entry.boxes,
        }

    def _engines(self) -> list[Entry]:
        return [entry for entry in self.entries if not entry.peer]

    def _peers(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.peer]

    def table(self) -> str:
        """For a terminal."""
        titles = (
            "",
            "load s",
            "first ms",
            "network ms (quarters)",
            "of peak",
            "all ms (quarters)",
            "MiB",
            "pictures/s",
        )
        rows = [titles, *(self._row(entry) for entry in self.entries)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(titles))]
        lines = [f"{self.title}: {self.pictures} pictures a turn, {self.rounds} turns each", ""]
        lines += ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
        lines += ["", *self._ratio_lines(), *self._legend()]
        return "\n".join(lines)

    def _row(self, entry: Entry) -> tuple[str, ...]:
        end_to_end, share = entry.end_to_end_spread, self.share_of_peak(entry)
        fastest = min(other.end_to_end_spread.median for other in self.entries)
        return (
            entry.name,
            f"{entry.load:.2f}",
            f"{entry.first * 1000:.0f}",
            entry.network_spread.milliseconds(),
            "–" if share is None else f"{share:.0%}",
            end_to_end.milliseconds(),
            "–" if entry.memory_bytes is None else f"{entry.memory_bytes / 2**20:.0f}",
            f"{1 / end_to_end.median:.1f} {'█' * max(round(BAR * fastest / end_to_end.median), 1)}",
        )

    def _ratio_lines(self) -> list[str]:
        """One a peer: how many times as fast each engine is."""
        lines = []
        for peer in self._peers():
            ratios = [(entry.name, entry.times_as_fast(peer)) for entry in self._engines()]
            words = [f"{name} {ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f})" for name, ratio in ratios]
            lines.append(f"times as fast as {peer.name}: {', '.join(words)}")
        return [*lines, ""] if lines else []

    def _legend(self) -> list[str]:
        return [
            "network: the network alone; all: from JPEG file to final boxes; times are a picture's share of its batch",
            f"peak: {self.peak / 1e9:.0f} GFLOP/s, {PEAK_METHOD}; a picture counts {self.operations / 1e9:.2f} GFLOP,",
            "  those of direct convolution, so an engine that saves work by Winograd's way may go beyond 100 %",
            machine_line(self.machine),
        ]

    def chart(self) -> str:
        """Pictures a second as an SVG bar chart."""
        bars = []
        for entry in self.entries:
            spread = entry.end_to_end_spread
            bars.append(Bar(entry.name, 1 / spread.median, 1 / spread.high, 1 / spread.low, main=not entry.peer))
        return bar_chart(bars, title=self.title, x_label="pictures a second, from JPEG file to final boxes")


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The first and the last column stand left, figures right."""
    last = len(row) - 1
    return [
        word.ljust(width) if column in (0, last) else word.rjust(width)
        for column, (word, width) in enumerate(zip(row, widths, strict=True))
    ]
