"""Seconds of scoring very many detections: python benchmarks/evaluation.py [--pictures 5000] [--each 100]

Makes a COCO file (about 7 objects a picture, 80 classes) and results that find most of them a little off, then times
the parts in this process, and `yolov3 evaluate --from-predictions` as a whole in new ones, without and with the
interval. With --oracle pycocotools scores the same results (a minute or two), and the largest difference is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from yolov3.data import load_dataset
from yolov3.evaluate import ground_truth, read_results
from yolov3.evaluation.bootstrap import bootstrap_interval
from yolov3.evaluation.coco import coco_scores
from yolov3.evaluation.matching import match

CLASSES, WIDTH, HEIGHT = 80, 640, 480


def invent(pictures: int, each: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A COCO file's content and results of `each` detections a picture."""
    rng = np.random.default_rng(0)
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id in range(1, pictures + 1):
        count = min(int(rng.poisson(7)), each)
        sides = np.exp(rng.normal(4, 0.8, (each, 2))).clip(8, 300)
        corners = rng.uniform(0, 1, (each, 2)) * ((WIDTH, HEIGHT) - sides)
        labels = rng.integers(0, CLASSES, each) + 1
        boxes = np.concatenate([corners, sides], axis=1)
        off = boxes * (1 + rng.normal(0, 0.05, boxes.shape))
        scores = np.where(np.arange(each) < count, rng.beta(4, 2, each), rng.beta(1, 8, each))
        for place, (box, label, found, score) in enumerate(
            zip(boxes.tolist(), labels.tolist(), off.tolist(), scores.tolist(), strict=True)
        ):
            shared = {"image_id": image_id, "category_id": label}
            if place < count:
                area = box[2] * box[3]
                annotations.append({"id": len(annotations) + 1, **shared, "bbox": box, "area": area, "iscrowd": 0})
            results.append({**shared, "bbox": found, "score": score})
    images = [
        {"id": image_id, "file_name": f"{image_id}.jpg", "width": WIDTH, "height": HEIGHT}
        for image_id in range(1, pictures + 1)
    ]
    categories = [{"id": number, "name": f"class{number}"} for number in range(1, CLASSES + 1)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def timed(name: str, work: Callable[[], Any]) -> Any:
    """Run, print the seconds, return what it gives."""
    start = time.perf_counter()
    result = work()
    print(f"{name:<44} {time.perf_counter() - start:6.1f} s", flush=True)
    return result


def oracle(truth: Path, results: Path) -> list[float]:
    """pycocotools' twelve numbers."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(truth)
        evaluation = COCOeval(known, known.loadRes(str(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--oracle", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth_file, result_file = folder / "truth.json", folder / "results.json"
        document, entries = invent(options.pictures, options.each)
        truth_file.write_text(json.dumps(document))
        result_file.write_text(json.dumps(entries))
        print(f"{options.pictures:,} pictures, {len(document['annotations']):,} objects, {len(entries):,} detections")
        del document, entries
        dataset = timed("reading the truth", lambda: load_dataset(truth_file, need_pictures=False))
        truth = ground_truth(dataset)
        predictions = timed("reading and checking the results", lambda: read_results(result_file, truth))
        scores = timed("COCO's numbers (faster-coco-eval)", lambda: coco_scores(truth, predictions))
        matches = timed("matches for curves, confusion, interval", lambda: match(truth, predictions))
        timed("interval, 1,000 draws", lambda: bootstrap_interval(truth, matches))
        command = [sys.executable, "-m", "yolov3", "evaluate", str(truth_file), "--no-save", "--json"]
        command += ["--from-predictions", str(result_file)]
        for words, more in (("without an interval", ["--resamples", "0"]), ("with its interval", [])):
            run = partial(subprocess.run, [*command, *more], capture_output=True, text=True, check=False)
            done = timed(f"yolov3 evaluate, whole process, {words}", run)
            assert done.returncode == 0, done.stderr
        if options.oracle:
            theirs = timed("pycocotools", lambda: oracle(truth_file, result_file))
            apart = max(abs(a - b) for a, b in zip(theirs, scores.metrics().values(), strict=True))
            print(f"largest difference from pycocotools among the twelve numbers: {apart:.1e}")


if __name__ == "__main__":
    main()
