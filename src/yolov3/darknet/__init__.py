"""Darknet's cfg and weight files."""

from .backbone import read_backbone, weight_order
from .dialects import DIALECTS
from .importing import DarknetNetwork, import_cfg, load_cfg, read_names
from .weights import Header
from .writing import DarknetFiles, darknet_paths, save_darknet, to_darknet

__all__ = [
    "DIALECTS",
    "DarknetFiles",
    "DarknetNetwork",
    "Header",
    "darknet_paths",
    "import_cfg",
    "load_cfg",
    "read_backbone",
    "read_names",
    "save_darknet",
    "to_darknet",
    "weight_order",
]
