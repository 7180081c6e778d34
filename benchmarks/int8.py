"""What each choice of the 8-bit export is worth: AP of yolov3-tiny, quantised in other ways, in both engines.

    python benchmarks/int8.py ../shared/data/coco128/instances.json ../shared/data/coco128/images

Every fourth picture calibrates, AP is on the others.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from yolov3 import Detector, Model
from yolov3.data import Dataset, load_dataset
from yolov3.evaluate import SCORING, evaluate_detector
from yolov3.export.calibration import calibration_inputs, divide
from yolov3.export.quantise import quantise
from yolov3.export.writers import OnnxWriter
from yolov3.graph import lower
from yolov3.graph.onnx import emit_onnx
from yolov3.graph.signature import Signature
from yolov3.postprocess import Thresholds
from yolov3.runtime.engines import FILE_ENGINES
from yolov3.runtime.exported import load_exported
from yolov3.zoo import find_model

CHOICES = {
    "as exported": {},
    "weights of 8 bits": {"narrow": False},
    "ranges from smallest to largest": {"averaged": False},
    "heads in 8 bits too": {"heads": False},
}


def score(detector: Detector, dataset: Dataset) -> float:
    detector.thresholds = Thresholds(**SCORING)
    return evaluate_detector(detector, dataset, resamples=0).metrics["AP"] or 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    options = parser.parse_args()
    calibration, scored = divide(load_dataset(options.annotations, images=options.images))
    found = find_model("yolov3-tiny")
    assert found is not None
    model = Model.load(found)
    source, graph = Detector(model), lower(model)
    print(f"{'float32':<34} AP {score(source, scored):.4f}", flush=True)
    signature = Signature("boxes", precision="int8")
    about = model.metadata() | {"export": signature.to_dict(model.spec.network, model.preprocess.scale)}
    for words, choice in CHOICES.items():
        heads = graph.outputs if choice.get("heads", True) else ()
        how = {name: value for name, value in choice.items() if name != "heads"}
        inputs = calibration_inputs(source, calibration, model.preprocess.scale, 1)
        network = quantise(emit_onnx(graph, None, replace(signature, precision="fp32")), heads, inputs, **how)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "int8.onnx")
            OnnxWriter(network).save(path, lambda digests: json.dumps(about))
            for engine in FILE_ENGINES["onnx"]:
                print(f"{words:<34} AP {score(Detector(load_exported(path), engine=engine), scored):.4f} {engine}")


if __name__ == "__main__":
    main()
