"""Networks as data: rows, the family's YAML files, shape inference."""

from .primitives import Network
from .reading import FAMILY, load_spec, read_spec, row_text, write_spec
from .rows import Anchors, Head, Row, Spec
from .shapes import Layer, Summary, check_size, parse_size, summarise

__all__ = [
    "FAMILY",
    "Anchors",
    "Head",
    "Layer",
    "Network",
    "Row",
    "Spec",
    "Summary",
    "check_size",
    "load_spec",
    "parse_size",
    "read_spec",
    "row_text",
    "summarise",
    "write_spec",
]
