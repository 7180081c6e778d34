"""Anchors: seconds and memory for a million boxes, and how well they fit: python benchmarks/anchors.py [DATA …]

For each dataset the mean best IoU of nine anchors at 416 as `yolov3 anchors` finds them (30 runs), of the model's own,
and of 100 runs each of two plain forms of k-means with 1 − IoU, written here independently: centres that are means (the
textbook's) and centres that are medians, each run from random boxes and judged by its best round.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from numpy.typing import NDArray

from yolov3.anchors import box_shapes, fit_anchors, measure_anchors, suggest_anchors
from yolov3.data import load_dataset
from yolov3.spec import load_spec

Float64 = NDArray[np.float64]
SIZE = (416, 416)


def plain_k_means(shapes: Float64, clusters: int, centre: str, restarts: int = 100) -> float:
    """The best mean IoU of any round of any run."""
    rng = np.random.default_rng(1)
    best = 0.0
    for _ in range(restarts):
        centres = shapes[rng.choice(len(shapes), clusters, replace=False)]
        before = None
        for _ in range(100):
            shared = np.minimum(shapes[:, None], centres[None]).prod(axis=2)
            iou = shared / (shapes.prod(axis=1)[:, None] + centres.prod(axis=1)[None] - shared)
            nearest = iou.argmax(axis=1)
            best = max(best, float(iou.max(axis=1).mean()))
            if before is not None and (nearest == before).all():
                break
            before = nearest
            move = np.mean if centre == "means" else np.median
            groups = [shapes[nearest == index] for index in range(clusters)]
            centres = np.array([move(g, axis=0) if len(g) else old for g, old in zip(groups, centres, strict=True)])
    return best


def many_boxes(count: int) -> Float64:
    """Shapes spread as those of everyday photos: small ones are the most."""
    rng = np.random.default_rng(0)
    sides = np.exp(rng.normal(3.6, 1.0, (count, 1)) + rng.normal(0, 0.35, (count, 2)))
    return np.clip(sides, 1, 416)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", help="datasets to compare on")
    parser.add_argument("--boxes", type=int, default=1_000_000)
    options = parser.parse_args()
    shapes = many_boxes(options.boxes)
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    found = measure_anchors(shapes, fit_anchors(shapes, 9))
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{options.boxes:,} boxes, 9 clusters: {seconds:.1f} s ({cpu:.1f} s of CPU), process at most "
        f"{after.ru_maxrss / 1024:.0f} MiB, mean best IoU {found.mean_iou:.4f}"
    )
    for data in options.data:
        dataset = load_dataset(data, bad_labels="skip-row")
        shapes = box_shapes((sample for members in dataset.samples.values() for sample in members), SIZE)
        for model in ("yolov3", "yolov3-tiny"):
            report = suggest_anchors(shapes, load_spec(model), SIZE)
            present, own = report.baseline.mean_iou, report.mean_iou
            words = f"{data}, {len(shapes):,} boxes, {len(report.anchors)} of {model}"
            print(f"{words}: present {present:.3f}, own {own:.3f}, gain {own - present:+.3f}")
        means, medians = (plain_k_means(shapes, 9, centre) for centre in ("means", "medians"))
        ours = measure_anchors(shapes, fit_anchors(shapes, 9)).mean_iou
        print(f"{data}, nine anchors: means {means:.4f}, medians {medians:.4f}, ours {ours:.4f}")


if __name__ == "__main__":
    main()
