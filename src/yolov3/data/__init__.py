"""Datasets: YOLO, COCO, Pascal VOC and Darknet files read into one form, checked, repaired, converted, shown."""

from __future__ import annotations

from .dataset import Dataset, Sample, remap
from .load import BadLabels, load_dataset
from .problems import CHECKS, Problem

__all__ = [
    "CHECKS",
    "BadLabels",
    "Dataset",
    "Problem",
    "Sample",
    "load_dataset",
    "remap",
]
