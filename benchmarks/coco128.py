"""AP of a model on a COCO-format dataset by pycocotools, for each engine.

    python benchmarks/coco128.py ../shared/data/coco128/instances.json ../shared/data/coco128/images \
        [--model x.cfg --weights x.weights]

With the official yolov3-tiny weights at 416 (masks 1,2,3) OpenCV's importer gives AP 0.2130, AP50 0.4328 on coco128.

`--enlarge 4` makes the pictures four times as wide and high (JPEG, quality 95) and scores them twice: decoded as
far as needed, and all pixels (`exact`).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from pathlib import Path

import cv2
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import yolov3
from yolov3.images import write_image
from yolov3.runtime import ENGINES
from yolov3.zoo.coco import COCO_ALIASES


def score(detector: yolov3.Detector, truth: COCO, folder: Path) -> tuple[float, float]:
    """AP and AP50, scored as COCO does: conf 0.001, 100 boxes, every class of a box."""
    by_name = {category["name"]: category["id"] for category in truth.dataset["categories"]}
    category_ids = [by_name[COCO_ALIASES.get(name, name)] for name in detector.names]
    results = []
    for image in truth.dataset["images"]:
        results += detector(folder / Path(image["file_name"]).name).to_coco(image["id"], category_ids)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def enlarged(folder: Path, factor: int, into: Path) -> Path:
    """The folder's pictures, enlarged."""
    for path in sorted(folder.glob("*.jpg")):
        picture = yolov3.read_image(path)
        size_wh = (picture.shape[1] * factor, picture.shape[0] * factor)
        write_image(into / path.name, cv2.resize(picture, size_wh, interpolation=cv2.INTER_CUBIC))
    return into


def scaled(truth: COCO, factor: int) -> COCO:
    """The ground truth of enlarged pictures. Areas stay, so that the same boxes count as small."""
    for annotation in truth.dataset["annotations"]:
        annotation["bbox"] = [value * factor for value in annotation["bbox"]]
    return truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", default="yolov3-tiny")
    parser.add_argument("--weights")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--enlarge", type=int, default=1)
    options = parser.parse_args()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(options.annotations)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.images
        if options.enlarge > 1:
            folder, truth = enlarged(folder, options.enlarge, Path(temporary)), scaled(truth, options.enlarge)
        for engine in options.engines.split(","):
            for exact in (False, True) if options.enlarge > 1 else (False,):
                detector = yolov3.Detector(
                    options.model,
                    weights=options.weights,
                    engine=engine,
                    conf=0.001,
                    max_det=100,
                    multi_label=True,
                    exact=exact,
                )
                ap, ap50 = score(detector, truth, folder)
                print(f"{options.model:<24} {engine:<12} exact={exact} AP {ap:.4f}  AP50 {ap50:.4f}", flush=True)


if __name__ == "__main__":
    main()
