"""A Darknet cfg and its weights → Spec and tensors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, UsageError
from ..spec import Spec, summarise
from ..spec.primitives import Convolution
from ..spec.shapes import MAX_SIDE
from .cfg import Section, parse_cfg, read_cfg
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
    return import_cfg(read_cfg(path), str(path), masks=masks)


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
    spec = lift(flat, origin)
    try:
        summarise(spec, size_wh)  # every shape is checked before anything is allocated
    except ModelError as error:
        raise _at_section(error, spec, flat) from None
    resize = "letterbox" if net.integer("letter_box", 1, 0, 1) else "stretch"
    notes = flat.notes + _resize_notes(sections, resize)
    return DarknetNetwork(spec, size_wh, resize, _weight_order(spec, flat), text, notes)


def _input_size(net: Section) -> tuple[int, int]:
    channels = net.integer("channels", 3, 1, 1_000_000)
    if channels != 3:
        raise net.error(f"channels={channels}, expected 3 (RGB pictures)", "channels")
    return net.integer("width", None, 1, MAX_SIDE), net.integer("height", None, 1, MAX_SIDE)


def _replace_masks(flat: FlatNetwork, masks: tuple[tuple[int, ...], ...], text: str) -> None:
    heads = flat.heads if len(masks) > 1 else flat.heads[-1:]
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


def _at_section(error: ModelError, spec: Spec, flat: FlatNetwork) -> ModelError:
    """The same error, naming the cfg's lines of the layer and of those that feed it."""
    for row in spec.rows[:-1]:
        if f": row {row.index} ({row.module}): " not in str(error):
            continue
        message = str(error).split(f" ({row.module}): ", 1)[1]
        layer = _flat_of_row(spec, flat, row.index)
        feeding = [flat.layers[source].section for source in layer.sources if source >= 0]
        names = " and ".join(f"layer {section.index} [{section.name}]" for section in feeding)
        return layer.section.error(f"{message} (fed by {names or 'the picture'})")
    return error


def _flat_of_row(spec: Spec, flat: FlatNetwork, row: int) -> FlatLayer:
    """The flat layer where a row starts, counted without `spec.network`, which may be what failed."""
    sizes = {"Bottleneck": 3, "SPP": 3}
    start = 0
    for earlier in spec.rows[:row]:
        size = sizes.get(earlier.module, 1)
        if earlier.module == "SPP":
            size += len(earlier.args[1])
        elif earlier.module == "Bottleneck" and False in earlier.args:
            size = 2
        start += size * earlier.number
    return flat.layers[min(start, len(flat.layers) - 1)]


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
        ModelError: it can't be read, isn't text, is empty, or has a blank line or a name twice.
    """
    try:
        lines = Path(path).read_bytes()[: 1 << 20].decode("utf-8-sig").splitlines()
    except OSError as error:
        raise ModelError(f"{path}: can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ModelError(f"{path}: not a text file, expected one class name a line") from None
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise ModelError(f"{path}: empty, expected one class name a line")
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name or name in seen:
            what = f"{name!r} again (line {seen[name]})" if name else "a blank line"
            raise ModelError(f"{path}:{number}: {what}, expected a class name a line, each once")
        seen[name] = number
    return tuple(names)
