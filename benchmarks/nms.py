"""Suppression of many candidates of 80 classes: ours beside OpenCV's: python benchmarks/nms.py [--rounds 15]

10,647 candidates are all that yolov3 has at 416, 22,743 all at 608. "scattered" boxes lie anywhere, as when every cell
says something; "clustered" ones crowd around 40 objects, as real candidates do. Both ways must keep the same boxes, but
for one in a thousand (IoU in float32).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from yolov3.benchmark.machine import describe_machine, machine_line
from yolov3.postprocess import nms

CLASSES, IOU, SIDE = 80, 0.45, 608.0
Boxes = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


def candidates(kind: str, count: int) -> Boxes:
    """xyxy boxes, scores, labels."""
    rng = np.random.default_rng(0)
    if kind == "scattered":
        centre, size = rng.uniform(0, SIDE, (count, 2)), rng.uniform(8, 120, (count, 2))
        labels = rng.integers(0, CLASSES, count)
    else:
        of = rng.integers(0, 40, count)
        centre = rng.uniform(60, SIDE - 60, (40, 2))[of] + rng.normal(0, 6, (count, 2))
        size = rng.uniform(30, 120, (40, 2))[of] * rng.uniform(0.8, 1.25, (count, 2))
        labels = rng.integers(0, CLASSES, 40)[of]
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1).astype(np.float32)
    scores = rng.permutation(np.linspace(0.05, 0.95, count)).astype(np.float32)
    return boxes, scores, labels.astype(np.int64)


def ours(found: Boxes) -> set[int]:
    """`postprocess.nms`, all boxes that it would keep."""
    boxes, scores, labels = found
    return set(nms(boxes, scores, labels, IOU, len(boxes)).tolist())


def opencv(found: Boxes) -> set[int]:
    """`cv2.dnn.NMSBoxesBatched`; it takes corner and size."""
    boxes, scores, labels = found
    corner_size = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return set(np.asarray(cv2.dnn.NMSBoxesBatched(corner_size, scores, labels.astype(np.int32), 0.0, IOU)).tolist())


def milliseconds(way: Callable[[Boxes], set[int]], found: Boxes) -> float:
    start = time.perf_counter()
    way(found)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(f"{options.rounds} rounds in turn\n{machine_line(describe_machine())}\n")
    print("| candidates | kept | ours ms | OpenCV ms | times as fast as it (rounds from – to) |\n|---|---|---|---|---|")
    for kind in ("clustered", "scattered"):
        for count in (10_647, 22_743):
            found = candidates(kind, count)
            kept, theirs = ours(found), opencv(found)
            different = len(kept ^ theirs)
            assert different <= len(kept) // 1000, f"{kind}, {count}: {different} boxes differ"
            times = [(milliseconds(ours, found), milliseconds(opencv, found)) for _ in range(options.rounds)]
            ratios = [slow / fast for fast, slow in times]
            mine, other = (statistics.median(column) for column in zip(*times, strict=True))
            spread = f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} – {max(ratios):.2f})"
            print(f"| {count:,} {kind} | {len(kept):,} | {mine:.1f} | {other:.1f} | {spread} |")


if __name__ == "__main__":
    main()
