"""A Darknet cfg and its weights → Spec and tensors."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, UsageError
from ..spec import Spec, summarise
from ..spec.primitives import Convolution
from ..spec.rows import RowError
from ..spec.shapes import MAX_SIDE
from .cfg import Section, parse_cfg, read_text, shortened
from .layers import FlatHead, FlatLayer, FlatNetwork, flatten_sections
from .lift import lift, sorted_heads
from .weights import Header, Stored, read_weights

# Keys that AlexeyAB's Darknet added; its pictures are stretched unless letter_box=1.
_ALEXEYAB_KEYS = ("scale_x_y", "new_coords", "iou_loss", "iou_thresh", "nms_kind", "cls_normalizer", "mosaic")


@dataclass(frozen=True)
class DarknetNetwork:
    """A cfg, read.

    Attributes:
        spec: the network.
        size_wh: the input size that the cfg names.
        resize: "letterbox" or "stretch".
        order: the weight file's convolutions.
        text: the cfg's text as it was.
        notes: what the user should be told, a line each.
    """

    spec: Spec
    size_wh: tuple[int, int]
    resize: str
    order: list[Stored]
    text: str
    notes: list[str]

    def read_weights(
        self, path: str | os.PathLike[str], *, allow_extra: bool = False
    ) -> tuple[Header, dict[str, NDArray[np.float32]], list[str]]:
        """Tensors by name from a weight file; see `weights.read_weights`."""
        return read_weights(path, self.order, allow_extra=allow_extra)


def parse_masks(text: str) -> tuple[tuple[int, ...], ...]:
    """`--masks`: `1,2,3` for the head with the smallest stride, or `3,4,5/1,2,3` for all in the cfg's order.

    Raises:
        UsageError: not lists of whole numbers.
    """
    try:
        masks = tuple(tuple(int(part) for part in mask.split(",")) for mask in text.split("/"))
    except ValueError:
        raise UsageError(f"--masks {text}: expected indices such as 1,2,3 or 3,4,5/1,2,3") from None
    return masks


def load_cfg(path: str | os.PathLike[str], *, masks: str | None = None) -> DarknetNetwork:
    """Read a Darknet cfg file; see `import_cfg`."""
    return import_cfg(read_text(path, "a Darknet cfg"), str(path), masks=masks)


def import_cfg(text: str, origin: str, *, masks: str | None = None) -> DarknetNetwork:
    """Turn cfg text into a Spec with the document's numbering where its structure is the family's.

    Args:
        text: the cfg.
        origin: the file's name, for messages.
        masks: anchor masks that replace the cfg's, see `parse_masks`.

    Raises:
        ModelError: naming file, line and layer, and what was expected.
        UsageError: `masks` don't fit the cfg.
    """
    sections = parse_cfg(text, origin)
    net = sections[0]
    size_wh = _input_size(net)
    flat = flatten_sections(sections)
    if masks is not None:
        _replace_masks(flat, parse_masks(masks), masks)
    spec, starts = lift(flat, origin)
    try:
        _check_sides(net, size_wh, spec.network.max_stride)
        summarise(spec, size_wh)  # every shape is checked before anything is allocated
    except RowError as error:
        raise _at_section(error, starts, flat) from None
    resize = "letterbox" if net.integer("letter_box", 1, 0, 1) else "stretch"
    notes = flat.notes + _resize_notes(sections, resize)
    return DarknetNetwork(spec, size_wh, resize, _weight_order(spec, flat), text, notes)


def _input_size(net: Section) -> tuple[int, int]:
    channels = net.integer("channels", 3, 1, 1_000_000)
    if channels != 3:
        raise net.error(f"channels={channels}, expected 3 (RGB pictures)", "channels")
    return net.integer("width", None, 1, MAX_SIDE), net.integer("height", None, 1, MAX_SIDE)


def _check_sides(net: Section, size_wh: tuple[int, int], stride: int) -> None:
    for key, side in zip(("width", "height"), size_wh, strict=True):
        if side % stride:
            raise net.error(f"{key}={side}, expected a multiple of {stride}, the network's largest stride", key)


def _replace_masks(flat: FlatNetwork, masks: tuple[tuple[int, ...], ...], text: str) -> None:
    heads = flat.heads if len(masks) > 1 else sorted_heads(flat)[:1]
    if len(masks) != len(heads):
        raise UsageError(f"--masks {text}: {len(masks)} masks, expected one or {len(flat.heads)}")
    for head, mask in zip(heads, masks, strict=True):
        if len(mask) != len(head.mask) or not all(0 <= index < len(head.anchors) for index in mask):
            raise UsageError(
                f"--masks {text}: expected {len(head.mask)} indices from 0 to {len(head.anchors) - 1} "
                f"for {head.yolo.origin}:{head.yolo.line}"
            )
        head.mask = mask


def _resize_notes(sections: list[Section], resize: str) -> list[str]:
    net = sections[0]
    foreign = sorted({key for section in sections for key in section.values if key in _ALEXEYAB_KEYS})
    if resize == "stretch" or "letter_box" in net.values or not foreign:
        return []
    return [
        f"{net.origin}: has keys of AlexeyAB's Darknet ({', '.join(foreign[:3])}), which stretches pictures unless "
        "letter_box=1; pictures are letterboxed here: give --resize stretch if the model was trained stretched"
    ]


def _at_section(error: RowError, starts: list[FlatLayer], flat: FlatNetwork) -> ModelError:
    """The same error, naming the cfg's line of the layer, and the layers that feed it."""
    if error.row == len(starts):  # Detect
        yolos = [head.yolo for head in sorted_heads(flat)]
        return yolos[0].error(f"{error.detail} (heads, small strides first: {_naming(yolos)})")
    layer = starts[error.row]
    feeding = [flat.layers[source].section for source in layer.sources if source >= 0]
    return layer.section.error(f"{error.detail} (fed by {_naming(feeding) or 'the picture'})")


def _naming(sections: list[Section]) -> str:
    names = [f"layer {section.index} [{section.name}]" for section in sections]
    return " and ".join(names[:5]) + (" and more" if len(names) > 5 else "")


def _weight_order(spec: Spec, flat: FlatNetwork) -> list[Stored]:
    """The cfg's convolutions in its own order, each with the operation that it became."""
    network = spec.network
    trunk = (convolution for convolution in network.convolutions if not convolution.is_head)
    flat_convolutions = (layer for layer in flat.layers if layer.module == "Conv")
    found: dict[int, Convolution] = {
        id(layer): convolution for layer, convolution in zip(flat_convolutions, trunk, strict=True)
    }
    operations = iter([network.operations[index] for index in network.head_operations])
    for head in sorted_heads(flat):
        operation = next(operations)
        assert isinstance(operation, Convolution)
        found[id(head)] = operation
    return [_stored(item, found[id(item)]) for item in flat.weight_order]


def _stored(item: FlatLayer | FlatHead, convolution: Convolution) -> Stored:
    section = item.section if isinstance(item, FlatLayer) else item.convolution
    layer = f"layer {section.index} [convolutional] (row {convolution.row})"
    return Stored(convolution, layer, item.permutation if isinstance(item, FlatLayer) else None)


def read_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Class names, one a line (Darknet's `.names`); blank lines at the end don't count.

    Raises:
        ModelError: it can't be read, isn't text, is empty, or has a blank line, control characters or a name twice.
    """
    names = [line.strip() for line in read_text(path, "one class name a line").split("\n")]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise ModelError(f"{path}: empty, expected one class name a line")
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name.isprintable():
            raise ModelError(f"{path}:{number}: {shortened(name)!r} has control characters, expected a class name")
        if not name or name in seen:
            what = f"{shortened(name)!r} again (line {seen[name]})" if name else "a blank line"
            raise ModelError(f"{path}:{number}: {what}, expected a class name a line, each once")
        seen[name] = number
    return tuple(names)
