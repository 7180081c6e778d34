"""The description of a network: rows of `[from, number, module, args]`, anchors and classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import ModelError

if TYPE_CHECKING:
    from .primitives import Network

WidthHeight = tuple[float, float]

# exp of more than this only makes boxes larger than any picture.
MAX_LOG_SIDE = 30.0


class RowError(ModelError):
    """What is wrong with one row.

    Attributes:
        row: its index.
        detail: the message without the place.
    """

    def __init__(self, place: str, row: Row, detail: str) -> None:
        super().__init__(f"{place}: row {row.index} ({row.module}): {detail}")
        self.row = row.index
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the document's tables.

    Attributes:
        index: the row's number, counted through backbone and head from 0.
        from_: where the input comes from, as written: -1 is the row before, a number from 0 is that row, a
            list joins several.
        number: how often the module stands in sequence.
        module: the module's name, looked up in a table.
        args: its arguments as written, plain values; `nc` and `anchors` are names.
        line: where it stands in its file, for messages.
    """

    index: int
    from_: int | tuple[int, ...]
    number: int
    module: str
    args: tuple[Any, ...]
    line: int | None = field(default=None, compare=False)

    @property
    def sources(self) -> tuple[int, ...]:
        """The rows that feed this one, counted from 0; -1 is the picture."""
        given = self.from_ if isinstance(self.from_, tuple) else (self.from_,)
        return tuple(self.index + source if source < 0 else source for source in given)


@dataclass(frozen=True, slots=True)
class Anchors:
    """Anchor boxes: a pool of shapes and, for each head, which of them it uses.

    Two heads may share a shape (the official tiny weights use masks 1,2,3 and 3,4,5); the assignment of a box to
    its best anchor runs over the pool.

    Attributes:
        pool: (width, height) in pixels at the network's size.
        masks: indices into the pool, one tuple a head, in the order of Detect's inputs.
    """

    pool: tuple[WidthHeight, ...]
    masks: tuple[tuple[int, ...], ...]

    @classmethod
    def per_head(cls, heads: tuple[tuple[WidthHeight, ...], ...]) -> Anchors:
        """Anchors that no two heads share, as the family's YAML files list them."""
        pool = tuple(shape for head in heads for shape in head)
        masks, start = [], 0
        for head in heads:
            masks.append(tuple(range(start, start + len(head))))
            start += len(head)
        return cls(pool, tuple(masks))

    def of_head(self, head: int) -> tuple[WidthHeight, ...]:
        """The (width, height) of each anchor of one head."""
        return tuple(self.pool[index] for index in self.masks[head])

    @property
    def is_per_head(self) -> bool:
        """True when listing each head's shapes says everything."""
        return self == Anchors.per_head(tuple(self.of_head(head) for head in range(len(self.masks))))


@dataclass(frozen=True, slots=True)
class Head:
    """How one head's raw values become boxes.

    `xy = (xy_scale · (σ(t) - 0.5) + 0.5 + cell) · stride`; `wh` is "exp" (`anchor · exp(t)`, YOLOv3 section 2.1)
    or "square" (`anchor · (2σ(t))²`, AlexeyAB's `new_coords=1`).

    Attributes:
        anchors: (width, height) in pixels at the network's size.
        stride: pixels a cell.
        xy_scale: Darknet's `scale_x_y`, 1.0 in YOLOv3.
        wh: "exp" or "square".
    """

    anchors: tuple[WidthHeight, ...]
    stride: int
    xy_scale: float = 1.0
    wh: str = "exp"


@dataclass(frozen=True)
class Spec:
    """A network as data; see `read_spec` for the file format.

    Attributes:
        backbone, head: the rows; Detect is the last one.
        nc: number of classes.
        anchors: the anchor boxes.
        activation: what a convolution applies unless its row says otherwise.
        depth_multiple, width_multiple: factors on row numbers above 1 and on output channels.
        origin: the file or name that it came from, for messages.
    """

    backbone: tuple[Row, ...]
    head: tuple[Row, ...]
    nc: int
    anchors: Anchors
    activation: str = "leaky"
    depth_multiple: float = 1.0
    width_multiple: float = 1.0
    origin: str = field(default="spec", compare=False)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Backbone and head in one sequence; a row's index is its place here."""
        return self.backbone + self.head

    @cached_property
    def network(self) -> Network:
        """The primitive operations of this network, checked.

        Raises:
            ModelError: a row names an unknown module, a wrong index or a shape that doesn't fit.
        """
        from .primitives import expand

        return expand(self)

    def error(self, row: Row | None, message: str) -> ModelError:
        """A one-line error that names the file and the row; a `RowError` where there is one."""
        if row is None:
            return ModelError(f"{self.origin}: {message}")
        place = self.origin if row.line is None else f"{self.origin}:{row.line}"
        return RowError(place, row, message)
