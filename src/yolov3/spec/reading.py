"""Spec files: YAML in the `[from, number, module, args]` form, read and written without evaluating anything."""

from __future__ import annotations

import difflib
import math
import os
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

from ..errors import ModelError, shown
from ..files import open_regular
from ..safeyaml import YamlDocument, parse_yaml
from .modules import ACTIVATIONS, activation_name
from .rows import Anchors, Row, Spec, WidthHeight

# The networks that ship with the package, and the side of the square input that each is usually run at.
FAMILY = {"yolov3": 416, "yolov3-spp": 608, "yolov3-tiny": 416}
MAX_CLASSES = 65_536
MAX_ANCHORS = 1_000
MAX_NUMBER = 1_000
MAX_BYTES = 1 << 20
MAX_ROWS = 10_000
MAX_ANCHOR = 65_536  # pixels
_KEYS = ("nc", "activation", "depth_multiple", "width_multiple", "anchors", "backbone", "head")
# Words that stand for values in a row's args.
_WORDS = {"None": None, "True": True, "False": False}
# Words that are written without quotes: nothing in YAML takes them for something else.
_BARE = {"nc", "anchors", "exp", "square", *ACTIVATIONS.values()}


def load_spec(name: str | os.PathLike[str]) -> Spec:
    """Read a Spec from a file, or one of the family by its name (`yolov3`, `yolov3-spp`, `yolov3-tiny`).

    Raises:
        ModelError: the file can't be read, or says something that a Spec can't.
    """
    bare = str(name).removesuffix(".yaml")
    if bare in FAMILY and not Path(name).is_file():
        return family_spec(bare)
    try:
        with open_regular(name) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{name}: can't be read ({error.strerror})") from None
    try:
        return read_spec(data.decode("utf-8-sig"), str(name))
    except UnicodeDecodeError:
        raise ModelError(f"{name}: not a text file, expected a YAML description of a network") from None


@cache
def family_spec(name: str) -> Spec:
    """One of `FAMILY` as it ships with the package, whatever lies in the working folder."""
    return read_spec((Path(__file__).parent / "family" / f"{name}.yaml").read_text("utf-8"), f"{name}.yaml")


def read_spec(text: str, origin: str) -> Spec:
    """Parse YAML text into a Spec and check it down to channels and strides.

    Args:
        text: top-level keys `anchors`, `backbone`, `head`, and optionally `nc` (80), `activation` (LeakyReLU 0.1),
            `depth_multiple`, `width_multiple` (1.0). `anchors` is a list of `w,h, w,h, …` for each of Detect's
            inputs, or `{pool: [w,h, …], masks: [[…], …]}` where heads share shapes.
        origin: what messages call the file.

    Raises:
        ModelError: naming file, line and row, and what was expected.
    """
    document = parse_yaml(text, origin, ModelError, max_bytes=MAX_BYTES)
    spec = _Reader(document, origin).spec()
    _ = spec.network  # every row is checked now, not when it is first used
    return spec


class _Reader:
    def __init__(self, document: YamlDocument, origin: str) -> None:
        self.document = document
        self.origin = origin

    def error(self, message: str, *path: str | int) -> ModelError:
        return ModelError(f"{self.origin}:{self.document.line(*path)}: {message}")

    def spec(self) -> Spec:
        values = self.document.value
        if not isinstance(values, dict):
            raise self.error(f"expected the keys {', '.join(_KEYS)}")
        for key in values:
            if key not in _KEYS:
                near = difflib.get_close_matches(shown(key).strip("'"), _KEYS, 1)
                hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(_KEYS)}"
                raise self.error(f"unknown key {shown(key)}, {hint}", key)
        for key in ("anchors", "backbone", "head"):
            if key not in values:
                raise self.error(f"the key {key} is missing")
        nc = values.get("nc", 80)
        if not _is_integer(nc) or not 1 <= nc <= MAX_CLASSES:
            raise self.error(f"nc is {shown(nc)}, expected the number of classes, 1 to {MAX_CLASSES:,}", "nc")
        activation = activation_name(values.get("activation", "leaky"))
        if activation is None:
            known = ", ".join(sorted(set(ACTIVATIONS.values())))
            raise self.error(f"unknown activation {shown(values['activation'])}, expected one of {known}", "activation")
        backbone = self.rows("backbone", 0)
        return Spec(
            backbone,
            self.rows("head", len(backbone)),
            nc,
            self.anchors(values["anchors"]),
            activation,
            self.multiple("depth_multiple"),
            self.multiple("width_multiple"),
            self.origin,
        )

    def multiple(self, key: str) -> float:
        value = self.document.value.get(key, 1.0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 16:
            raise self.error(f"{key} is {shown(value)}, expected a number above 0 and up to 16", key)
        return float(value)

    def rows(self, part: str, start: int) -> tuple[Row, ...]:
        given = self.document.value[part]
        if not isinstance(given, list):
            raise self.error(f"{part} must be a list of rows", part)
        return tuple(self.row(value, part, place, start + place) for place, value in enumerate(given))

    def row(self, value: Any, part: str, place: int, index: int) -> Row:
        def fail(message: str) -> ModelError:
            return self.error(f"row {index}: {message}", part, place)

        if not isinstance(value, list) or len(value) != 4:
            raise fail(f"{shown(value)}, expected [from, number, module, args]")
        from_, number, module, args = value
        sources = from_ if isinstance(from_, list) else [from_]
        if not sources or not all(_is_integer(source) and abs(source) <= MAX_ROWS for source in sources):
            raise fail(f"from is {shown(from_)}, expected a row number or a list of them")
        if not _is_integer(number) or not 1 <= number <= MAX_NUMBER:
            raise fail(f"number is {shown(number)}, expected 1 to {MAX_NUMBER:,}")
        if not isinstance(module, str) or not module.isprintable() or len(module) > 60:
            raise fail(f"module is {shown(module)}, expected a name such as Conv")
        if not isinstance(args, list):
            raise fail(f"args are {shown(args)}, expected a list")
        return Row(
            index,
            tuple(sources) if isinstance(from_, list) else from_,
            number,
            module,
            tuple(_WORDS.get(arg, arg) if isinstance(arg, str) else arg for arg in args),
            self.document.line(part, place),
        )

    def anchors(self, value: Any) -> Anchors:
        if isinstance(value, dict):
            if set(value) != {"pool", "masks"}:
                raise self.error("anchors as a mapping must have the keys pool and masks", "anchors")
            pool = self.shapes(value["pool"], "anchors", "pool")
            masks = value["masks"]
            if not isinstance(masks, list) or not masks:
                raise self.error("masks must be a list of lists of indices", "anchors", "masks")
            return Anchors(pool, tuple(self.mask(mask, len(pool), place) for place, mask in enumerate(masks)))
        if not isinstance(value, list) or not value:
            raise self.error(f"anchors are {shown(value)}, expected a list of w,h, w,h, … for each scale", "anchors")
        return Anchors.per_head(tuple(self.shapes(head, "anchors", place) for place, head in enumerate(value)))

    def mask(self, value: Any, count: int, place: int) -> tuple[int, ...]:
        fits = isinstance(value, list) and all(_is_integer(index) and 0 <= index < count for index in value)
        if not value or not fits:
            raise self.error(f"mask {shown(value)}, expected indices from 0 to {count - 1}", "anchors", "masks", place)
        return tuple(value)

    def shapes(self, value: Any, *path: str | int) -> tuple[WidthHeight, ...]:
        numbers = isinstance(value, list) and all(
            isinstance(side, (int, float)) and not isinstance(side, bool) and 0 < side <= MAX_ANCHOR for side in value
        )
        if not value or not numbers or len(value) % 2 or len(value) > 2 * MAX_ANCHORS:
            expected = f"up to {MAX_ANCHORS:,} pairs w,h of numbers above 0 and up to {MAX_ANCHOR:,}"
            raise self.error(f"anchors {shown(value)}, expected {expected}", *path)
        return tuple(zip(value[::2], value[1::2], strict=True))


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def write_spec(spec: Spec) -> str:
    """YAML text of a Spec; `read_spec` gives an equal Spec back."""
    lines = [f"nc: {spec.nc}"]
    if spec.activation != "leaky":
        lines.append(f"activation: {spec.activation}")
    lines += [
        f"{key}: {_value(value)}"
        for key, value in (("depth_multiple", spec.depth_multiple), ("width_multiple", spec.width_multiple))
        if value != 1
    ]
    lines += _anchor_lines(spec.anchors)
    for part, rows in (("backbone", spec.backbone), ("head", spec.head)):
        lines += [f"{part}:" if rows else f"{part}: []", *(f"  - {row_text(row)}" for row in rows)]
    return "\n".join(lines) + "\n"


def _anchor_lines(anchors: Anchors) -> list[str]:
    def text(shapes: tuple[WidthHeight, ...]) -> str:
        return "[" + ", ".join(f"{_value(width)},{_value(height)}" for width, height in shapes) + "]"

    if anchors.is_per_head:
        return ["anchors:", *(f"  - {text(anchors.of_head(head))}" for head in range(len(anchors.masks)))]
    masks = ", ".join(_value(list(mask)) for mask in anchors.masks)
    return ["anchors:", f"  pool: {text(anchors.pool)}", f"  masks: [{masks}]"]


def row_text(row: Row) -> str:
    """A row as it stands in a YAML file: `[-1, 1, Conv, [32, 3, 1]]`."""
    from_ = _value(list(row.from_)) if isinstance(row.from_, tuple) else str(row.from_)
    return f"[{from_}, {row.number}, {row.module}, {_value(list(row.args))}]"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_value(item)}" for key, item in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        if math.isinf(value):
            return "-.inf" if value < 0 else ".inf"
        text = str(int(value)) if value.is_integer() else repr(value)
        return text if "." in text else text.replace("e", ".0e")  # YAML 1.1 takes 1e-05 for a word
    if isinstance(value, str):
        return value if value in _BARE else "'" + value.replace("'", "''") + "'"
    return str(value)
