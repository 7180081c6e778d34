"""Every command sees the same pixels of a picture: detect, evaluate, train and the API (FAULTS 61, 62, 68)."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import yolov3
from conftest import ROOT, CliResult
from yolov3 import Detector
from yolov3.data import Sample
from yolov3.data.rows import NO_OBJECTS
from yolov3.evaluation.running import Stopwatch, run_detector
from yolov3.training.pictures import TrainingPictures

TURNS = {  # EXIF orientation: how to store a picture so that it is displayed upright
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[274] = orientation
    return block


def save_as(kind: str, cup: Image.Image, folder: Path) -> Path:
    """The cup as a file of an unusual kind."""
    path = folder / f"cup.{kind.split()[0]}"
    if kind == "jpg CMYK":
        cup.convert("CMYK").save(path)
    elif kind == "png 16 bits":
        Image.fromarray(np.asarray(cup.convert("L")).astype(np.uint16) * 257).save(path)
    elif kind == "gif animated":
        cup.convert("P").save(path, save_all=True, append_images=[cup.rotate(180).convert("P")])
    elif kind == "webp transparent":
        see_through = cup.copy()
        see_through.putalpha(Image.linear_gradient("L").resize(cup.size))
        see_through.save(path)
    elif kind == "tif black and white":
        cup.convert("1").save(path)
    elif kind == "jpg turned":
        cup.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif(6))
    else:
        cup.convert("L" if "grey" in kind else "RGB").save(path)
    return path


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(threads=1, conf=0.01, max_det=20)


@pytest.fixture(scope="module")
def cup(photo: Path) -> Image.Image:
    with Image.open(photo) as picture:
        return picture.resize((300, 200))


@pytest.mark.parametrize(
    "kind",
    ["jpg grey", "jpg CMYK", "jpg turned", "png 16 bits", "gif animated", "webp transparent", "bmp plain",
     "tif black and white"],
)  # fmt: skip
def test_fault_62_every_command_sees_the_same(
    kind: str,
    detector: Detector,
    cup: Image.Image,
    cli: Callable[..., CliResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save_as(kind, cup, tmp_path)
    pixels = yolov3.read_image(path)
    assert pixels.shape == (200, 300, 3)
    by_array, by_path = detector(pixels), detector(path)
    sample = Sample(path, 1, None, NO_OBJECTS)
    ((_, by_evaluate),) = run_detector(detector, [sample], Stopwatch())
    assert len(by_array) > 0
    for other in (by_path, by_evaluate):
        np.testing.assert_array_equal(other.boxes, by_array.boxes)
        np.testing.assert_array_equal(other.scores, by_array.scores)
    options = ("--conf", "0.01", "--max-det", "20", "--threads", "1", "--no-save")
    ran = cli("detect", path, "--json", "r.jsonl", *options)
    (record,) = [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]
    assert ran.code == 0 and record["detections"] == by_array.to_dicts()
    assert ("the first of 2 frames" in ran.err) == ("animated" in kind)
    np.testing.assert_array_equal(TrainingPictures([sample], (416, 416))[0].image, pixels)


def test_fault_62_pictures_are_decoded_in_one_room_only() -> None:
    """What else could open a picture is called nowhere outside `images`, but in others' ways that are timed."""
    decoders = {"imread", "imdecode", "imreadmulti", "imdecodemulti"}
    for path in sorted((ROOT / "src/yolov3").rglob("*.py")):
        if "images" in path.parts or path.name == "contenders.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                opens = isinstance(node.value, ast.Name) and node.value.id == "Image" and node.attr == "open"
                assert node.attr not in decoders and not opens, f"{path}:{node.lineno}"


@pytest.mark.parametrize("orientation", TURNS)
def test_fault_61_boxes_are_in_the_picture_as_displayed(
    orientation: int, detector: Detector, cup: Image.Image, tmp_path: Path
) -> None:
    turn = TURNS[orientation]
    stored = cup if turn is None else cup.transpose(turn)
    stored.save(tmp_path / "cup.png", exif=exif(orientation))
    found, upright = detector(tmp_path / "cup.png"), detector(np.asarray(cup))
    assert found.image_wh == (300, 200) and len(found) > 0
    np.testing.assert_array_equal(found.boxes, upright.boxes)


@pytest.mark.parametrize("size_wh", [(1, 1), (10, 4000), (4000, 1)])
@pytest.mark.parametrize("rect", [False, True])
def test_fault_68_tiny_and_thin_pictures(size_wh: tuple[int, int], rect: bool, tmp_path: Path) -> None:
    Image.new("RGB", size_wh, (200, 100, 50)).save(tmp_path / "thin.png")
    for tile in (None, 640):
        found = Detector(threads=1, conf=0.001, rect=rect, tile=tile)(tmp_path / "thin.png")
        assert found.image_wh == size_wh
        assert np.isfinite(found.boxes).all() and (found.boxes >= 0).all()
        assert (found.boxes <= [*size_wh, *size_wh]).all()
