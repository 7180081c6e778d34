"""Exports: a model as ONNX, OpenVINO IR, ncnn or MNN, each file proven before it is there."""

from .exporting import ABILITIES, TOLERANCES, Written, export_model, signature_for, write_network
from .own import save_model
from .proof import Figures, Tolerance, compare

__all__ = [
    "ABILITIES",
    "TOLERANCES",
    "Figures",
    "Tolerance",
    "Written",
    "compare",
    "export_model",
    "save_model",
    "signature_for",
    "write_network",
]
