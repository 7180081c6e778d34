"""Draw the same boxes with supervision's annotators and with this package: docs/images/drawing.jpg and timings.

Run from the project's root, in an environment that has both:

    pip install . supervision
    python benchmarks/drawing.py docs/images/drawing.jpg
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray

from yolov3.annotate import draw
from yolov3.detections import Detections

Picture = NDArray[np.uint8]
PHOTOS = Path(__file__).parents[1] / "src" / "yolov3" / "zoo" / "photos"
NAMES = {
    0: "person",
    1: "bicycle",
    2: "car",
    7: "truck",
    14: "bird",
    16: "dog",
    27: "tie",
    41: "cup",
    58: "pottedplant",
}
CELL_WIDTH = 480

# What the official YOLOv3-tiny weights find in the sample photos at 416 pixels: label, score, box.
FOUND = {
    "photographer.jpg": [(0, 0.92, (18, 1, 247, 333))],
    "cup.jpg": [(41, 0.60, (150, 24, 427, 307))],
}
# Invented: boxes that start together, one at the edge, small ones side by side.
CROWD = [
    (14, 0.83, (309, 51, 588, 400)),
    (16, 0.61, (311, 55, 578, 400)),
    (0, 0.55, (312, 47, 438, 328)),
    (58, 0.52, (0, 0, 148, 102)),
    (14, 0.34, (50, 134, 282, 390)),
    (27, 0.31, (52, 141, 156, 258)),
    (2, 0.30, (539, 4, 600, 47)),
    (7, 0.29, (438, 9, 500, 41)),
    (1, 0.28, (469, 16, 539, 45)),
]


def case(
    photo: str, width: int, boxes: list[tuple[int, float, tuple[int, int, int, int]]]
) -> tuple[Picture, Detections]:
    """A sample photo as RGB at `width` pixels with its boxes."""
    image = cv2.cvtColor(cv2.imread(str(PHOTOS / photo)), cv2.COLOR_BGR2RGB)
    scale = width / image.shape[1]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=how), np.uint8)
    return image, Detections(
        np.array([box for _, _, box in boxes], np.float32) * scale,
        np.array([score for _, score, _ in boxes], np.float32),
        np.array([label for label, _, _ in boxes], np.int64),
        tuple(NAMES.get(label, "") for label in range(80)),
        (image.shape[1], image.shape[0]),
    )


def supervision_draw(
    image: Picture, detections: Detections, boxes: sv.BoxAnnotator, labels: sv.LabelAnnotator
) -> Picture:
    theirs = sv.Detections(detections.boxes, confidence=detections.scores, class_id=detections.labels)
    texts = [f"{name} {score:.2f}" for _, score, name in detections]
    scene = np.ascontiguousarray(image[..., ::-1])
    drawn = labels.annotate(boxes.annotate(scene, theirs), theirs, texts)
    return np.ascontiguousarray(drawn[..., ::-1])


def by_default(image: Picture, detections: Detections) -> Picture:
    return supervision_draw(image, detections, sv.BoxAnnotator(), sv.LabelAnnotator())


def by_its_helpers(image: Picture, detections: Detections) -> Picture:
    """Sizes from supervision's own helpers, labels moved off each other."""
    thickness = sv.calculate_optimal_line_thickness(detections.image_wh)
    labels = sv.LabelAnnotator(
        text_scale=sv.calculate_optimal_text_scale(detections.image_wh),
        text_thickness=thickness,
        smart_position=True,
    )
    return supervision_draw(image, detections, sv.BoxAnnotator(thickness=thickness), labels)


WAYS: dict[str, Callable[[Picture, Detections], Picture]] = {
    "supervision, defaults": by_default,
    "supervision, sized by its helpers": by_its_helpers,
    "yolov3": draw,
}


def titled(image: Picture, title: str) -> Picture:
    height = round(image.shape[0] * CELL_WIDTH / image.shape[1])
    how = cv2.INTER_AREA if image.shape[1] > CELL_WIDTH else cv2.INTER_CUBIC
    cell = np.full((height + 26, CELL_WIDTH + 8, 3), 255, np.uint8)
    cell[26:, :CELL_WIDTH] = cv2.resize(image, (CELL_WIDTH, height), interpolation=how)
    cv2.putText(cell, title, (2, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return cell


def sheet() -> Picture:
    """One row a picture size, one column a way of drawing, all shown at the same width; a cut-out of the largest."""
    rows = [
        ("320 px", case("photographer.jpg", 320, FOUND["photographer.jpg"]), 1.0),
        ("600 px", case("cup.jpg", 600, FOUND["cup.jpg"]), 1.0),
        ("600 px, crowded", case("cup.jpg", 600, CROWD), 1.0),
        ("4000 px, upper left", case("cup.jpg", 4000, FOUND["cup.jpg"]), 0.45),
    ]
    sheet_rows = []
    for title, (image, detections), part in rows:
        height, width = round(image.shape[0] * part), round(image.shape[1] * part)
        cells = [titled(way(image, detections)[:height, :width], f"{name}, {title}") for name, way in WAYS.items()]
        sheet_rows.append(np.hstack(cells))
    return np.vstack(sheet_rows)


def milliseconds(way: Callable[[Picture, Detections], Picture], image: Picture, detections: Detections) -> float:
    """The median of 15 drawings after 3 to warm up."""
    times = []
    for _ in range(18):
        start = time.perf_counter()
        way(image, detections)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[3:])


def print_timings() -> None:
    rng = np.random.default_rng(0)
    for width, height, count in ((640, 480, 10), (1920, 1080, 10), (1920, 1080, 300)):
        centers, halves = rng.random((count, 2)) * (width, height), rng.random((count, 2)) * (width / 8, height / 8)
        boxes = np.concatenate([centers - halves, centers + halves], axis=1).clip(0, (width, height) * 2)
        detections = Detections(
            boxes.astype(np.float32),
            rng.random(count).astype(np.float32),
            rng.integers(0, 80, count),
            tuple(f"class name {i}" for i in range(80)),
            (width, height),
        )
        image = rng.integers(0, 255, (height, width, 3), np.uint8)
        for name, way in WAYS.items():
            print(f"{width}×{height}, {count} boxes: {milliseconds(way, image, detections):7.1f} ms  {name}")


if __name__ == "__main__":
    picture = sheet()
    cv2.imwrite(sys.argv[1], picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 76, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    print_timings()
