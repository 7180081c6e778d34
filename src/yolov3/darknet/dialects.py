"""What the programs that read Darknet files understand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import ModelError, UsageError
from ..spec import Row, Spec
from ..spec.primitives import Add, Convolution, Slice

# Our name of an activation → Darknet's.
ACTIVATION_NAMES = {
    "leaky": "leaky",
    "linear": "linear",
    "relu": "relu",
    "relu6": "relu6",
    "silu": "swish",
    "mish": "mish",
    "sigmoid": "logistic",
    "tanh": "tanh",
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One reader of Darknet files.

    Attributes:
        title: what messages call it.
        activations: our names of those that it has.
        scaled_decode: whether it knows `scale_x_y` and `new_coords`.
        channel_groups: whether a route may take a part of the channels (`groups`).
        several_sources: whether a shortcut may add several layers at once.
    """

    title: str
    activations: frozenset[str]
    scaled_decode: bool = True
    channel_groups: bool = True
    several_sources: bool = False


DIALECTS = {
    "alexeyab": Dialect(
        "AlexeyAB's Darknet and its successor, hank-ai's", frozenset(ACTIVATION_NAMES), several_sources=True
    ),
    "pjreddie": Dialect(
        "pjreddie's Darknet",
        frozenset({"leaky", "linear", "relu", "sigmoid", "tanh"}),
        scaled_decode=False,
        channel_groups=False,
    ),
    "opencv": Dialect("OpenCV 4", frozenset(ACTIVATION_NAMES) - {"relu6"}),
}
DEFAULT_DIALECT = "alexeyab"


def find_dialect(name: str) -> Dialect:
    """A dialect by its name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in DIALECTS:
        raise UsageError(f"dialect {name!r}: expected one of {', '.join(DIALECTS)}")
    return DIALECTS[name]


def lacking(spec: Spec, dialect: Dialect) -> ModelError | None:
    """What of a network a dialect can't say: an error that names the row; None when it can say all."""
    row, what = next(_features_lacking(spec, dialect), (None, ""))
    return None if row is None else spec.error(row, f"{what}, which {dialect.title} can't read")


def _features_lacking(spec: Spec, dialect: Dialect) -> Iterator[tuple[Row, str]]:
    for operation in spec.network.operations:
        row = spec.rows[operation.row]
        if isinstance(operation, (Convolution, Add)) and operation.activation not in dialect.activations:
            yield row, f"activation {operation.activation}"
        if isinstance(operation, Slice) and not dialect.channel_groups:
            yield row, "a part of the channels of its input"
    for head in spec.network.heads:
        if (head.xy_scale, head.wh) != (1.0, "exp") and not dialect.scaled_decode:
            yield spec.rows[-1], f"scaled decoding (xy_scale {head.xy_scale:g}, wh {head.wh})"
