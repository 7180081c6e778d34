"""The parity matrix: networks × kinds of file × precisions, each written file against the model that it was made of.

    python benchmarks/parity.py ../shared/data/coco128/instances.json ../shared/data/coco128/images

prints a Markdown table (docs/exports.md keeps one). Every fourth picture calibrates "int8", AP is on the others. The
weights of a name that was neither bundled nor pulled are random: their heads are compared, but have no AP.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from yolov3 import Detector, Model, Spec
from yolov3.data import Dataset, load_dataset
from yolov3.evaluate import SCORING, evaluate_detector
from yolov3.export import ABILITIES, compare, save_model, signature_for, write_network
from yolov3.export.calibration import calibration_inputs, divide
from yolov3.export.proof import Figures
from yolov3.postprocess import Thresholds
from yolov3.runtime.engines import DEFAULT_ENGINE, FILE_ENGINES
from yolov3.runtime.exported import companions, load_exported
from yolov3.spec.reading import family_spec
from yolov3.zoo import COCO_NAMES, find_model

NETWORKS = ("yolov3-tiny", "yolov3", "yolov3-spp")
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "ncnn": ".param", "mnn": ".mnn"}
PACKAGES = ("ncnn", "onnx", "onnxruntime", "openvino", "mnn", "numpy", "opencv-python-headless")
NO_AP = "–"


def random_model(spec: Spec) -> Model:
    """Weights that keep activations of the order of 1 and logits of that of trained ones, the same in every run."""
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in spec.network.tensor_shapes().items():
        if len(shape) == 4:
            gain = 8 if ".heads." in name else 1
            array = gain * rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        elif name.endswith("bn.weight"):
            array = rng.uniform(0.1, 0.3, shape) if ".cv2." in name else rng.uniform(0.7, 1, shape)  # sums grow slowly
        elif name.endswith("running_var"):
            array = rng.uniform(0.8, 1.2, shape)
        else:
            array = rng.normal(0, 0.3, shape)
        tensors[name] = array.astype(np.float32)
    return Model(spec, tensors, COCO_NAMES, (416, 416), origin="random weights")


class Row:
    """One network, its model in its own engine, and the pictures."""

    def __init__(self, name: str, dataset: Dataset, folder: Path) -> None:
        found = find_model(name)
        self.trained = found is not None
        self.label = f"{name}" if self.trained else f"{name} (random weights)"
        self.model = replace(Model.load(found) if found else random_model(family_spec(name)), size_wh=(416, 416))
        self.calibration, self.scored = divide(dataset)
        self.folder = folder
        self.source = Detector(self.model)
        self.ap = self.score(self.source)

    def score(self, detector: Detector) -> float | None:
        if not self.trained:
            return None
        detector.thresholds = Thresholds(**SCORING)
        return evaluate_detector(detector, self.scored, resamples=0).metrics["AP"]

    def lines(self) -> Iterator[str]:
        """The table's lines."""
        for precision in ("fp32", "fp16"):
            path = self.folder / "own.safetensors"
            written, _ = save_model(self.model, path, half=precision == "fp16")
            yield self.line("model file", precision, DEFAULT_ENGINE, path, Detector(Model.load(path)), written.figures)
        path = self.folder / "own.cfg"
        written, _ = save_model(self.model, path)
        weights = path.with_suffix(".weights")
        again = Detector(path, weights=weights, names=path.with_suffix(".names"))
        yield self.line("Darknet", "fp32", DEFAULT_ENGINE, weights, again, written.figures)
        for kind, ability in ABILITIES.items():
            for precision in ability.precisions:
                yield from self.exported(kind, precision)

    def exported(self, kind: str, precision: str) -> Iterator[str]:
        path = self.folder / f"{precision}{SUFFIXES[kind]}"
        signature = signature_for(path, self.model, outputs="raw", precision=precision)
        inputs = calibration_inputs(self.source, self.calibration, self.model.preprocess.scale, 1)
        write_network(self.model, path, signature, inputs)
        for engine in FILE_ENGINES[kind]:
            detector = Detector(load_exported(path), engine=engine)
            figures = compare(self.source, detector, signature)
            yield self.line(ABILITIES[kind].name, precision, engine, path, detector, figures)

    def line(self, kind: str, precision: str, engine: str, path: Path, detector: Detector, figures: Figures) -> str:
        """One line, with the size of what was written."""
        size = sum(file.stat().st_size for file in (path, *companions(path))) / 1e6
        cells = [self.label, kind, precision, engine, f"{size:.1f}", f"{figures.peak:.0f}"]
        cells += [
            f"{float(f'{value:.1g}'):g}" for value in (figures.raw, figures.box, figures.score) if value is not None
        ]
        ap = self.score(detector)
        cells += [NO_AP] * 2 if ap is None or self.ap is None else [f"{ap:.4f}", f"{ap - self.ap:+.4f}"]
        return f"| {' | '.join(cells)} |"


def installed(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} is not installed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    options = parser.parse_args()
    dataset = load_dataset(options.annotations, images=options.images)
    print(f"{date.today()}, {platform.machine()}, {', '.join(map(installed, PACKAGES))}\n")
    titles = [
        "network",
        "kind",
        "precision",
        "run by",
        "MB",
        "largest logit",
        "raw",
        "box (px)",
        "score",
        "AP",
        "change",
    ]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for name in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            for line in Row(name, dataset, Path(folder)).lines():
                print(line, flush=True)


if __name__ == "__main__":
    main()
