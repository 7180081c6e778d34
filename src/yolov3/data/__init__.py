"""Datasets: YOLO, COCO, Pascal VOC and Darknet files read into one form, checked, repaired, converted, shown."""

from __future__ import annotations

from .check import Report, check_dataset
from .convert import Conversion, convert_dataset
from .dataset import Dataset, Sample, remap
from .distributions import distribution_figure
from .figures import contact_sheet
from .fix import Repaired, fix_dataset
from .load import BadLabels, load_dataset
from .problems import CHECKS, Problem

__all__ = [
    "CHECKS",
    "BadLabels",
    "Conversion",
    "Dataset",
    "Problem",
    "Repaired",
    "Report",
    "Sample",
    "check_dataset",
    "contact_sheet",
    "convert_dataset",
    "distribution_figure",
    "fix_dataset",
    "load_dataset",
    "remap",
]
