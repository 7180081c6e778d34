"""A small world to learn: bright squares and dark discs on grey noise, as a YOLO dataset; a network for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from yolov3.data import load_dataset
from yolov3.spec import Spec, read_spec
from yolov3.training.augment import PRESETS
from yolov3.training.interrupt import Interrupts
from yolov3.training.loop import Report, Training
from yolov3.training.processes import Processes
from yolov3.training.progress import Progress
from yolov3.training.run import RunFolder
from yolov3.training.session import Prepared, Source, prepare
from yolov3.training.settings import Settings

NAMES = ("square", "disc")

TINY = """
nc: 2
anchors:
  - [8,8, 16,16]
  - [24,24, 40,40]
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Bottleneck, [16]]
  - [-1, 1, Conv, [24, 3, 2]]
head:
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [16, 1, 1]]
  - [-1, 1, nn.Upsample, [None, 2, 'nearest']]
  - [[-1, 3], 1, Concat, [1]]
  - [-1, 1, Conv, [32, 3, 1]]
  - [[8, 4], 1, Detect, [nc, anchors]]
"""


def tiny_spec() -> Spec:
    """Strides 8 and 16, some 20,000 parameters."""
    return read_spec(TINY, "tiny.yaml")


def make_world(root: Path, *, train: int = 12, val: int = 4, side: int = 64, seed: int = 0) -> Path:
    """Write the pictures and labels; gives the data.yaml."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("val", val)):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            picture, rows = _scene(rng, side)
            cv2.imwrite(str(root / "images" / split / f"{number:03}.png"), picture)
            (root / "labels" / split / f"{number:03}.txt").write_text(rows)
    data = root / "data.yaml"
    splits = "train: images/train\n" + ("val: images/val\n" if val else "")
    data.write_text(f"{splits}names: [{', '.join(NAMES)}]\n")
    return data


def _scene(rng: np.random.Generator, side: int) -> tuple[np.ndarray, str]:
    picture = rng.normal(110, 15, (side, side, 3)).clip(0, 255).astype(np.uint8)
    rows = []
    for _ in range(rng.integers(1, 4)):
        label, width = int(rng.integers(2)), int(rng.integers(side // 6, side // 2))
        x, y = (int(value) for value in rng.integers(0, side - width, 2))
        if label == 0:
            cv2.rectangle(picture, (x, y), (x + width - 1, y + width - 1), (240, 220, 200), -1)
        else:
            cv2.circle(picture, (x + width // 2, y + width // 2), width // 2, (20, 30, 60), -1)
        centre = ((x + width / 2) / side, (y + width / 2) / side)
        rows.append(f"{label} {centre[0]:.6f} {centre[1]:.6f} {width / side:.6f} {width / side:.6f}\n")
    return picture, "".join(rows)


def settings(**changes: Any) -> Settings:
    """Quick ones."""
    usual = {"epochs": 2, "batch": 4, "size_wh": (64, 64), "workers": 0, "augment": PRESETS["none"], "warm_up": 0.0}
    return Settings(**(usual | changes))


def open_world(data: Path, chosen: Settings, **options: Any) -> Prepared:
    """A tiny network with random weights, ready to learn the world."""
    return prepare(Source(load_dataset(data), data), tiny_spec(), chosen, anchors="keep", **options)


class Silent(Report):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.rows: list[dict[str, Any]] = []
        self.steps = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, progress: Progress, steps: int, pictures: int) -> None:
        self.steps += 1

    def epoch(self, row: dict[str, Any], progress: Progress, epochs: int) -> None:
        self.rows.append(row)


def make_training(
    prepared: Prepared, chosen: Settings, run: RunFolder | None = None, report: Report | None = None
) -> Training:
    """A training on the CPU by itself."""
    import torch

    processes = Processes(0, 1, torch.device("cpu"))
    return Training(prepared.network, prepared.task, chosen, run, processes, Interrupts(), report or Silent())
