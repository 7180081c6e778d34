"""Darknet's cfg and weight files."""

from .importing import DarknetNetwork, import_cfg, load_cfg, read_names
from .weights import Header

__all__ = ["DarknetNetwork", "Header", "import_cfg", "load_cfg", "read_names"]
