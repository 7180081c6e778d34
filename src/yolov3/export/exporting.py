"""From a model to a proven file: what each kind can do, writing, proving, and only then putting it into place."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..data import Dataset
from ..errors import DataError, ModelError, UsageError, Yolov3Error
from ..files import staged
from ..graph import lower
from ..graph.onnx import emit_onnx
from ..graph.signature import MAX_BATCH, MAX_DETECTIONS, Signature
from ..modelfile import Model
from ..postprocess import Thresholds
from ..runtime.detector import Detector
from ..runtime.engines import DEFAULT_ENGINE
from ..runtime.exported import KINDS, companions, load_exported
from .calibration import calibration_inputs, divide
from .proof import Figures, Tolerance, compare
from .quantise import quantise
from .writers import MnnWriter, NcnnWriter, OnnxWriter, OpenvinoWriter, Writer

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ability:
    """What a kind of file can do; the first of each is the default.

    Attributes:
        name: for messages.
        outputs, precisions: see `Signature`.
        uint8, fixed: whether it can take pictures as they are, and one size only.
    """

    name: str
    outputs: tuple[str, ...]
    precisions: tuple[str, ...]
    uint8: bool = True
    fixed: bool = True


_ALL = ("boxes", "raw", "detections"), ("fp32", "fp16", "int8")
ABILITIES = {
    "onnx": Ability("ONNX", *_ALL),
    "openvino": Ability("OpenVINO", *_ALL),
    "ncnn": Ability("ncnn", ("raw",), ("fp32", "fp16"), uint8=False, fixed=False),
    "mnn": Ability("MNN", ("boxes", "raw"), ("fp32", "fp16")),
}

_EXACT = Tolerance(AP=0.001, raw=1e-3, box=0.05, score=1e-4)
_HALF = Tolerance(AP=0.005, raw=0.25, box=5.0, score=0.02)
TOLERANCES = {
    ("model", "fp32"): _EXACT,  # our own file, and Darknet's
    ("model", "fp16"): _HALF,
    ("onnx", "fp32"): _EXACT,
    ("onnx", "fp16"): _HALF,
    ("openvino", "fp32"): _EXACT,
    ("openvino", "fp16"): _HALF,
    ("ncnn", "fp32"): _EXACT,
    ("ncnn", "fp16"): _HALF,
    ("mnn", "fp32"): Tolerance(AP=0.002, raw=0.05, box=0.5, score=2e-3),
    ("mnn", "fp16"): _HALF,
    # 8 bits move single boxes; what counts is AP, on pictures that did not calibrate.
    ("onnx", "int8"): Tolerance(AP=0.02),
    ("openvino", "int8"): Tolerance(AP=0.02),
}


@dataclass(frozen=True, slots=True)
class Written:
    """An exported and proven file.

    Attributes:
        path: the file.
        signature: what it takes and gives.
        reference: the engine that ran the source.
        figures: the largest differences.
        tolerance: what they were allowed to be.
        AP: the source's and the file's, where a dataset was given.
        scored: on how many pictures.
        calibrated: with how many pictures.
        kept: layers of an 8-bit network that stay in float.
    """

    path: Path
    signature: Signature
    reference: str
    figures: Figures
    tolerance: Tolerance
    AP: tuple[float, float] | None = None
    scored: int = 0
    calibrated: int = 0
    kept: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """The proof, JSON-ready."""
        values: dict[str, Any] = {
            "reference": self.reference,
            **asdict(self.figures),
            "allowed": self.tolerance.to_dict(),
        }
        if self.AP is not None:
            values |= {"AP": {"source": self.AP[0], "file": self.AP[1], "pictures": self.scored}}
        if self.calibrated:
            values["calibration"] = {"pictures": self.calibrated}
        return values


def signature_for(
    path: str | os.PathLike[str],
    model: Model,
    *,
    outputs: str | None = None,
    precision: str = "fp32",
    uint8: bool = False,
    batch: int | None = None,
    fixed: bool = False,
    conf: float = 0.25,
    iou: float = 0.45,
    max_det: int = 300,
) -> Signature:
    """The signature of an export, refused by name where its kind can't do it.

    Args:
        path: ends in the kind's suffix.
        model: gives the size of a fixed input.
        outputs, precision, uint8, batch, conf, iou, max_det: see `Signature`; by default the kind's own outputs.
        fixed: take the model's size and `batch` (1) only.

    Raises:
        UsageError: an option that the kind doesn't know, or a number that can't be meant.
    """
    ability = ABILITIES[KINDS[Path(path).suffix.lower()]]
    chosen = outputs or ability.outputs[0]
    for given, known, word in ((chosen, ability.outputs, "outputs"), (precision, ability.precisions, "precision")):
        if given not in known:
            raise UsageError(f"{path}: {word} {given} isn't offered for {ability.name}, expected {' or '.join(known)}")
    if uint8 and not ability.uint8:
        raise UsageError(f"{path}: {ability.name} files take float pictures; leave out uint8")
    if (fixed or batch is not None) and not ability.fixed:
        raise UsageError(f"{path}: {ability.name} files take any size and batch; leave out static and batch")
    for word, value in (("conf", conf), ("iou", iou)):
        if not 0 <= value <= 1:  # NaN isn't either
            raise UsageError(f"{path}: {word} {value:g}, expected a number from 0 to 1")
    for word, count, most in (("max-det", max_det, MAX_DETECTIONS), ("batch", batch or 1, MAX_BATCH)):
        if not 1 <= count <= most:
            raise UsageError(f"{path}: {word} {count}, expected 1 to {most}")
    return Signature(
        chosen,
        uint8,
        precision,
        batch or 1 if fixed else batch,
        model.size_wh if fixed else None,
        conf,
        iou,
        max_det,
    )


def export_model(
    model: Model,
    path: str | os.PathLike[str],
    signature: Signature,
    *,
    dataset: Dataset | None = None,
    split: str | None = None,
    progress: Progress | None = None,
) -> Written:
    """Write a model in another software's format, prove the written file against the model, and put it into place.

    Args:
        model: what to write.
        path: ends in .onnx, .xml, .param or .mnn; the files that belong to it are written beside it.
        signature: from `signature_for`.
        dataset: to compare the AP on; for "int8" its pictures also calibrate.
        split: which of its splits is scored; see `divide`.
        progress: is told what is going on.

    Raises:
        UsageError: "int8" without a dataset, or a file in the way that belongs to something else.
        ModelError: the file differs from the model by more than its kind's tolerance; nothing is left of it.
        DataError: too few pictures to calibrate with, or the model's AP on them is too small to judge "int8" by.
        Yolov3Error: a package that this takes isn't installed, or the disk is full.
    """
    path = Path(path)
    kind = KINDS[path.suffix.lower()]
    beside = companions(path)
    check_companions(path, beside)
    if signature.precision == "int8" and dataset is None:
        raise UsageError(f"{path}: int8 needs a dataset, with pictures to calibrate with and others to score on")
    tell = progress or (lambda message: None)
    _require(path, kind)
    reference = _reference(kind)
    source = Detector(model, engine=reference)
    calibration, scored = divide(dataset, split) if dataset and signature.precision == "int8" else ([], dataset)
    inputs = calibration_inputs(
        source, calibration, None if signature.uint8 else model.preprocess.scale, signature.batch or 1
    )
    with staged(path, beside) as target:
        tell(f"writing {path.name}")
        writer, kept = write_network(model, target, signature, inputs)
        tell("comparing it with the model")
        proven = load_exported(target)
        written = prove(
            source,
            Detector(proven),
            signature,
            TOLERANCES[kind, signature.precision],
            path,
            scored,
            None if calibration else split,
        )
        written = replace(written, calibrated=len(calibration), kept=kept)
        writer.save(target, _describer(model, signature, kept, written))
    return written


def check_companions(path: Path, beside: Iterable[Path]) -> None:
    """Refuse to write over a file that nobody named, unless it belongs to the one that is replaced.

    Raises:
        UsageError: naming it.
    """
    for other in beside:
        if other.exists() and not path.exists():
            raise UsageError(f"{other}: is here already and would be written over by {path.name}; choose another name")


# kind → the packages that writing and proving it takes, and the extra that brings them all
_PACKAGES = {
    "onnx": (("onnx", "onnxruntime"), "onnx"),
    "openvino": (("onnx", "openvino"), "convert"),
    "ncnn": ((), ""),
    "mnn": (("onnx", "MNN"), "mnn"),
}


def _require(path: Path, kind: str) -> None:
    """Say at once what isn't installed.

    Raises:
        Yolov3Error: naming the packages and the extra.
    """
    packages, extra = _PACKAGES[kind]
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        verb = "are" if len(missing) > 1 else "is"
        raise Yolov3Error(f"{path}: {' and '.join(missing)} {verb} not installed; pip install 'yolov3[{extra}]'")


def _reference(kind: str) -> str:
    """The engine that runs the source: another than the file's own, where one is installed."""
    if kind == "ncnn" and find_spec("onnxruntime") and find_spec("onnx"):
        return "onnxruntime"
    return DEFAULT_ENGINE


def write_network(
    model: Model, path: Path, signature: Signature, inputs: Iterable[Any] = ()
) -> tuple[Writer, tuple[str, ...]]:
    """Write an exported network without proving it; `export_model` is what others want.

    Args:
        model, path, signature: as in `export_model`.
        inputs: for "int8": what calibrates, from `calibration_inputs`.

    Returns:
        What writes it again with more to say, and the layers that an 8-bit network keeps in float.
    """
    writer, kept = _writer(KINDS[path.suffix.lower()], model, signature, inputs)
    writer.save(path, _describer(model, signature, kept, None))
    return writer, kept


def _writer(kind: str, model: Model, signature: Signature, inputs: Iterable[Any]) -> tuple[Writer, tuple[str, ...]]:
    """What writes the network, and the layers that an 8-bit one keeps in float."""
    graph = lower(model)
    half = signature.precision == "fp16"
    if kind == "ncnn":
        return NcnnWriter(graph, half), ()
    if kind == "mnn":
        return MnnWriter(graph, signature), ()
    if signature.precision == "int8":
        network = quantise(emit_onnx(graph, None, replace(signature, precision="fp32")), graph.outputs, inputs)
        kept = graph.outputs
    else:
        # OpenVINO makes its own float16 of float32.
        network = emit_onnx(graph, None, replace(signature, precision="fp32") if kind == "openvino" else signature)
        kept = ()
    return (OnnxWriter(network) if kind == "onnx" else OpenvinoWriter(network, half)), kept


def _describer(
    model: Model, signature: Signature, kept: tuple[str, ...], written: Written | None
) -> Callable[[dict[str, str]], str]:
    """The metadata's text: what a model file says, and under "export" what this file is."""

    def describe(digests: dict[str, str]) -> str:
        about = signature.to_dict(model.spec.network, model.preprocess.scale)
        if digests:
            about["sha256"] = digests
        if kept:
            about["kept_in_float"] = list(kept)
        if written is not None:
            about["proof"] = written.to_dict()
        return json.dumps(model.metadata() | {"export": about}, sort_keys=True, ensure_ascii=False)

    return describe


def prove(
    source: Detector,
    written: Detector,
    signature: Signature,
    tolerance: Tolerance,
    path: Path,
    dataset: Dataset | None,
    split: str | None,
) -> Written:
    """Compare a written file with its source.

    Args:
        source, written: the model and the file, ready to run.
        signature: of the file.
        tolerance: how much they may differ.
        path: where the file is going to be.
        dataset, split: to compare the AP on.

    Raises:
        ModelError: they differ by more.
        DataError: AP alone judges, and the model has none on this dataset.
    """
    figures = compare(source, written, signature)
    excess = tolerance.excess(figures)
    if excess is not None:
        raise ModelError(f"{path}: failed its proof on {figures.pictures} pictures: {excess}; no file was written")
    proven = Written(path, signature, source.engine, figures, tolerance)
    if dataset is None:
        return proven
    both = compare_ap(source, written, signature, dataset, split)
    if tolerance.box is None and not both[0] > tolerance.AP:
        raise DataError(
            f"{dataset.path}: the model's AP there is {both[0]:.4f}, too little to judge {signature.precision} by; "
            "expected pictures and classes that it was trained for"
        )
    if both[0] - both[1] > tolerance.AP:
        raise ModelError(
            f"{path}: failed its proof: AP {both[1]:.4f} instead of {both[0]:.4f}, a loss of at most {tolerance.AP:g} "
            "expected; no file was written"
        )
    return replace(proven, AP=both, scored=len(dataset.split(split)))


def compare_ap(
    source: Detector, written: Detector, signature: Signature, dataset: Dataset, split: str | None
) -> tuple[float, float]:
    """The AP of a model and of what was made of it; where the graph has thresholds of its own, with these for both.

    Both detectors get these thresholds.
    """
    from ..evaluate import SCORING, evaluate_detector

    options = dict(SCORING)
    if signature.outputs == "detections":
        options |= {"conf": signature.conf, "iou": signature.iou, "multi_label": False}
    scores = []
    for detector in (source, written):
        detector.thresholds = Thresholds(**options)
        scores.append(evaluate_detector(detector, dataset, split, resamples=0).metrics["AP"] or 0.0)
    return scores[0], scores[1]
