"""Weight sets cut behind a layer (`darknet53.conv.74`, `yolov3-tiny.conv.15`): what training starts from."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..files import open_regular
from ..spec import Row, Spec
from .emitting import emit_cfg
from .weights import Header, Stored, read_header, read_weights


def darknet_padding(spec: Spec) -> Spec:
    """The same network padded before its max-pools as Darknet does: by −∞ where a row says `nn.ZeroPad2d`."""

    def row(given: Row) -> Row:
        if given.module != "nn.ZeroPad2d":
            return given
        return replace(given, module="nn.ConstantPad2d", args=(*given.args, -math.inf))

    return replace(spec, backbone=tuple(map(row, spec.backbone)), head=tuple(map(row, spec.head)))


def weight_order(spec: Spec) -> list[Stored]:
    """The convolutions of a network in the order of its Darknet weight file; see `emit_cfg`.

    Raises:
        ModelError: naming a row that Darknet can't say.
    """
    side = spec.network.max_stride
    return emit_cfg(darknet_padding(spec), (side, side), "letterbox")[1]


def read_backbone(
    path: str | os.PathLike[str], order: list[Stored]
) -> tuple[Header, dict[str, NDArray[np.float32]], list[str]]:
    """Read the first layers' weights from a set that ends behind one of them, as `darknet partial` writes it.

    Never done by a file's name or length: whoever reads a whole model gets an error for such a file.

    Args:
        path: the file.
        order: the network's convolutions, from a cfg (`DarknetNetwork.order`) or `weight_order`.

    Returns:
        The header, tensor name → float32 array of the layers that are there, and notes for the user.

    Raises:
        ModelError: not Darknet weights, or they end inside a layer or behind the last.
    """
    try:
        with open_regular(path) as file:
            header = read_header(file.read(20), str(path))
        floats, rest = divmod(Path(path).stat().st_size - header.size, 4)
    except OSError as error:
        raise ModelError(f"{path}: can't be read ({error.strerror})") from None
    ends = list(accumulate(stored.convolution.stored_values for stored in order))
    if rest or floats not in ends:
        broken = next((stored for stored, end in zip(order, ends, strict=True) if end > floats), order[-1])
        raise ModelError(
            f"{path}: its {floats:,} floats don't end with a layer of this network (nearest: {broken.layer}); "
            "expected weights of its first layers, cut behind one"
        )
    count = ends.index(floats) + 1
    _, tensors, notes = read_weights(path, order[:count])
    note = f"{path}: weights of {count} of {len(order)} convolutions, up to {order[count - 1].layer}"
    return header, tensors, [note, *notes]
