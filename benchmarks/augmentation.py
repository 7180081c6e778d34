"""What augmentation makes of the sample photos, and what it costs.

Run from the project's root with the development environment; draws docs/images/augmentation.jpg, or takes the time that
each preset needs for the pictures of a dataset:

    python benchmarks/augmentation.py picture docs/images/augmentation.jpg
    python benchmarks/augmentation.py time DATA
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from yolov3.data import Dataset, load_dataset
from yolov3.images import read_header, write_image
from yolov3.training.augment import PRESETS, AugmentSettings, augment
from yolov3.training.pictures import CACHE_BYTES, TrainingPictures
from yolov3.training.sampling import random_stream
from yolov3.training.sheet import augmented_sheet
from yolov3.zoo import sample_photos

NAMES = ("cat", "cup", "person", "tie", "camera", "spoon")
BOXES = {  # drawn by hand: label, left, top, right, bottom
    "cat": [(0, 2, 0, 415, 225)],
    "cup": [(1, 172, 17, 410, 308), (5, 325, 66, 426, 328)],
    "officer": [(2, 10, 18, 287, 600), (3, 119, 409, 196, 552)],
    "photographer": [(2, 19, 2, 246, 333), (4, 205, 51, 306, 130)],
}
ROWS: tuple[tuple[AugmentSettings, int], ...] = (
    (PRESETS["none"], 0),
    (PRESETS["darknet"], 1),
    (PRESETS["modern"], 6),
    (replace(PRESETS["modern"], mosaic=0.0, rotate=15.0, shear=8.0, mixup=0.5), 3),
)
SIZE = 224


def sample_dataset(folder: Path) -> Dataset:
    """The sample photos with their boxes."""
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for photo in sample_photos():
        (folder / "images" / photo.name).write_bytes(photo.read_bytes())
        sides = np.array(read_header(photo).size_wh * 2)
        lines = []
        for label, *corners in BOXES[photo.stem]:
            x1, y1, x2, y2 = corners / sides
            lines.append(f"{label} {(x1 + x2) / 2:.5f} {(y1 + y2) / 2:.5f} {x2 - x1:.5f} {y2 - y1:.5f}\n")
        (folder / "labels" / f"{photo.stem}.txt").write_text("".join(lines))
    data = folder / "data.yaml"
    data.write_text(f"train: images\nnames: [{', '.join(NAMES)}]\n")
    return load_dataset(data)


def picture(path: Path) -> None:
    """A row for each of `ROWS`: four pictures as the network would see them."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = sample_dataset(Path(folder))
        rows = [augmented_sheet(dataset, settings, seed, SIZE, 4) for settings, seed in ROWS]
    step = SIZE + 8  # a sheet is two by two with paper of 8 pixels around each: lay its halves side by side
    strips = [np.hstack([sheet[:step], sheet[step : 2 * step, 8:]]) for sheet in rows]
    write_image(path, np.vstack([*strips, strips[0][:8]]))


def measure(data: str) -> None:
    """Milliseconds of processor time for a picture at 416 pixels, in one thread."""
    cv2.setNumThreads(1)
    samples = max(load_dataset(data, bad_labels="skip-row").samples.values(), key=len)
    for name, settings in PRESETS.items():
        for cache_bytes in (0, CACHE_BYTES):
            pictures = TrainingPictures(samples, (416, 416), cache_bytes=cache_bytes)
            for index in range(len(pictures) if cache_bytes else 0):
                pictures[index]
            count = max(len(samples), 200)
            start = time.process_time()
            for place in range(count):
                augment(pictures, place % len(samples), settings, (416, 416), random_stream(0, 0, place))
            spent = 1000 * (time.process_time() - start) / count
            print(f"{name:8} {'in memory' if cache_bytes else 'from disk':9} {spent:6.2f} ms a picture")


if __name__ == "__main__":
    what, argument = sys.argv[1:]
    picture(Path(argument)) if what == "picture" else measure(os.fspath(argument))
