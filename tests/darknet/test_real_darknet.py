"""Files of ours in pjreddie's Darknet itself, where it is installed (Debian has it as the package `darknet`)."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models import random_model, small_spec
from yolov3 import Detector
from yolov3.darknet import save_darknet
from yolov3.modelfile import BatchNorm, Model

from .engines import load, random_image
from .family import family_text
from .test_custom import CASES
from .writer import cfg_text, weight_bytes

pytestmark = pytest.mark.skipif(shutil.which("darknet") is None, reason="no program called darknet is installed")

PICTURES = 4  # Darknet's validation reads that many at once
CHOSEN = ("three scales", "five heads", "own padding", "residual blocks", "shortcut with activation", "pyramid 13 9 5",
          "pyramid of two, mixed", "max-pool 2/1", "max-pool 4/1", "max-pool 3/2", "max-pool without padding",
          "activation logistic", "activation tanh", "no batch normalisation")  # fmt: skip


def darknet_rows(model: Model, folder: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    """Class → rows of score, x1, y1, x2, y2 as `darknet detector valid` writes them, from a score of 0.005 on."""
    save_darknet(model, folder / "net.cfg", dialect="pjreddie")
    pictures = [folder / f"picture{place}.png" for place in range(PICTURES)]
    for picture in pictures:
        cv2.imwrite(str(picture), image[:, :, ::-1])
    (folder / "list.txt").write_text("".join(f"{picture}\n" for picture in pictures))
    (folder / "results").mkdir()
    data = {"classes": model.spec.nc, "valid": "list.txt", "names": "net.names", "results": "results", "eval": "voc"}
    (folder / "net.data").write_text("".join(f"{key}={value}\n" for key, value in data.items()))
    command = ["darknet", "detector", "valid", "net.data", "net.cfg", "net.weights"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=120)
    found = {}
    for name in model.names:
        rows = (folder / "results" / f"comp4_det_test_{name}.txt").read_text().splitlines()
        found[name] = np.array([row.split()[1:] for row in rows if row.startswith("picture0 ")], np.float64)
    return found


def assert_same_boxes(model: Model, folder: Path) -> None:
    """Every box of Darknet's is one of ours; before suppression, which between equal scores is chance."""
    model = replace(model, names=tuple(f"thing{index}" for index in range(model.spec.nc)))
    width, height = model.size_wh
    image = random_image(width, height)
    detections = Detector(model, conf=0.0049, iou=1.0, multi_label=True, max_det=100_000)(image)
    for label, (name, theirs) in enumerate(darknet_rows(model, folder, image).items()):
        chosen = detections.labels == label
        boxes = np.clip(detections.boxes[chosen] + 1, [1, 1, 1, 1], [width, height, width, height])
        ours = np.column_stack([detections.scores[chosen] * 100, boxes])  # Darknet counts pixels from 1
        assert len(theirs) > 20, name
        for score, *box in theirs[:: len(theirs) // 100 + 1]:
            assert np.abs(ours - [score * 100, *box]).max(axis=1).min() < 2e-3, name


@pytest.mark.parametrize("case", CHOSEN)
def test_networks_read_from_darknet_and_written_anew(case: str, tmp_path: Path) -> None:
    model = load(tmp_path, cfg_text(CASES[case])).model
    assert_same_boxes(replace(model, source={}), tmp_path)


@pytest.mark.parametrize("batch_norm", [BatchNorm(), BatchNorm(1e-3, inside=True), BatchNorm(1e-4)], ids=str)
def test_models_of_ours(batch_norm: BatchNorm, tmp_path: Path) -> None:
    assert_same_boxes(random_model(small_spec(), batch_norm=batch_norm), tmp_path)


@pytest.mark.parametrize("name", ["yolov3", "yolov3-spp", "yolov3-tiny"])
def test_the_family(name: str, tmp_path: Path) -> None:
    text = family_text(name, classes=2, divide=16, width=96, height=96)
    model = load(tmp_path, text, weight_bytes(text, spread=0.5)).model
    assert_same_boxes(replace(model, source={}), tmp_path)
