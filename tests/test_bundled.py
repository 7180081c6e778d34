"""What ships with the package: the bundled model, the sample photos, their origins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from conftest import ROOT, CliResult
from yolov3 import Detector
from yolov3.modelfile import Model
from yolov3.zoo import BUNDLED, COCO_NAMES, OFFICIAL_WEIGHTS, default_names, file_sha256, sample_photos

NOTICE = (ROOT / "NOTICE").read_text()


def test_the_bundled_model_is_made_by_convert(shared: Path, tmp_path: Path, cli: Callable[..., CliResult]) -> None:
    darknet = shared / "darknet"
    made = tmp_path / "yolov3-tiny.safetensors"
    result = cli("convert", darknet / "yolov3-tiny-mask123.cfg", darknet / "yolov3-tiny.weights", made, "--half")
    assert result.code == 0
    assert made.read_bytes() == BUNDLED["yolov3-tiny"].read_bytes()


def test_the_bundled_model_says_what_it_is() -> None:
    model = Model.load(BUNDLED["yolov3-tiny"])
    assert model.names == COCO_NAMES and model.size_wh == (416, 416)
    assert model.spec.anchors.masks == ((1, 2, 3), (3, 4, 5))
    official = next(known for known in OFFICIAL_WEIGHTS if known.name == "yolov3-tiny")
    assert model.source["files"][1]["sha256"] == official.sha256
    assert model.source["darknet"]["seen"] == 32_013_312


def test_notice_names_the_weights_and_every_photo() -> None:
    model = Model.load(BUNDLED["yolov3-tiny"])
    assert model.source["files"][1]["sha256"] in NOTICE
    assert file_sha256(BUNDLED["yolov3-tiny"]) in NOTICE
    lines = NOTICE.replace("\n  ", " ").splitlines()
    for photo in sample_photos():
        line = next(line for line in lines if line.startswith(f"- {photo.name}: "))
        assert "CC0 1.0" in line or "public domain" in line
    assert "puts itself in the public domain" in " ".join(NOTICE.split())


def test_the_model_shows_something_on_every_sample_photo() -> None:
    detector = Detector("yolov3-tiny")
    found = {path.stem: detector(path) for path in sample_photos()}
    assert len(found) >= 4
    assert all(len(detections) for detections in found.values()), found
    assert "cup" in found["cup"].summary() and found["cup"].scores[0] > 0.6


def test_default_names() -> None:
    assert default_names(80) == COCO_NAMES
    assert default_names(2) == ("class_0", "class_1")
    assert len(set(COCO_NAMES)) == 80 and np.all([name == name.strip() for name in COCO_NAMES])
