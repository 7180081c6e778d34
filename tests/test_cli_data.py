"""`yolov3 data …` and `yolov3 anchors`, `yolov3 evaluate` on datasets, end to end."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import yolov3
from conftest import CliResult

Cli = Callable[..., CliResult]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Six pictures in two splits with sound YOLO labels."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for part in ("images", "labels"):
            (tmp_path / "set" / part / split).mkdir(parents=True)
        for index in range(count):
            picture = rng.integers(0, 256, (96, 128, 3), np.uint8)
            cv2.imwrite(str(tmp_path / f"set/images/{split}/{index}.png"), picture)
            label = f"{index % 2} 0.5 0.5 0.{index + 2} 0.25\n1 0.25 0.25 0.1 0.2\n"
            (tmp_path / f"set/labels/{split}/{index}.txt").write_text(label)
    path = tmp_path / "set" / "data.yaml"
    path.write_text("path: .\ntrain: images/train\nval: images/val\nnames: [cup, dog]\n")
    return path


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_sound_dataset(cli: Cli, dataset: Path) -> None:
    run = cli("data", "check", dataset)
    assert run.code == 0, run.out
    assert "train" in run.out and "0 errors, 0 warnings" in run.out


def test_what_is_wrong_is_listed_and_nothing_is_changed(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    (dataset.parent / "labels/train/0.txt").write_text("0 0.5 0.5 0.2 0.2\n7 0.5 0.5 0.2 0.2\n0 nan 0.5 0.2 0.2\n")
    before = fingerprint(dataset.parent)
    run = cli("data", "check", dataset, "--fix-to", tmp_path / "fixed", "--picture", tmp_path / "data.svg")
    assert run.code == 3
    assert "0.txt:2: " in run.out and "0.txt:3: " in run.out and "2 errors" in run.out
    assert fingerprint(dataset.parent) == before
    assert (tmp_path / "data.svg").read_text().startswith("<svg") and (tmp_path / "fixed/ledger.csv").is_file()
    assert cli("data", "check", tmp_path / "fixed").code == 0


def test_the_report_as_json(cli: Cli, dataset: Path) -> None:
    (dataset.parent / "labels/train/0.txt").write_text("0 0.5 0.5 0 0.2\n")
    run = cli("data", "check", dataset, "--json")
    report = json.loads(run.out)
    assert run.code == 3 and report["ok"] is False and report["splits"]["train"]["pictures"] == 4
    assert report["problems"][0]["line"] == 1


def test_a_contact_sheet(cli: Cli, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("data", "show", dataset, "--count", "4").out.startswith("runs/data/exp/sheet.jpg")
    sheet = yolov3.read_image(tmp_path / "runs/data/exp/sheet.jpg")
    assert sheet.shape[0] > 500 and len(np.unique(sheet)) > 20


def test_a_sheet_of_what_training_sees(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    from yolov3.data import load_dataset
    from yolov3.training.augment import AugmentSettings
    from yolov3.training.sheet import augmented_sheet

    options = ["--augmented", "--augment", "none", "--set", "mosaic=1", "--set", "saturation=[0.5, 2]"]
    options += ["--count", "3", "--size", "64", "--seed", "5", "--epoch", "2"]
    assert cli("data", "show", dataset, *options, "--output", tmp_path / "sheet.png").code == 0
    settings = AugmentSettings(mosaic=1.0, saturation=(0.5, 2.0))
    expected = augmented_sheet(load_dataset(dataset), settings, seed=5, size=64, n=3, epoch=1)
    np.testing.assert_array_equal(yolov3.read_image(tmp_path / "sheet.png"), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "mosaic=1"], "--set: only with --augmented"),
        (["--epoch", "2"], "--epoch: only with --augmented"),
        (["--augmented", "--augment", "much"], "--augment much: expected one of none, darknet, modern"),
        (["--augmented", "--set", "mosaic=2"], "mosaic is 2, expected 0 to 1"),
    ],
)
def test_a_sheet_that_can_not_be_meant(options: list[str], message: str, cli: Cli, dataset: Path) -> None:
    run = cli("data", "show", dataset, *options)
    assert run.code == 2 and message in run.err


@pytest.mark.parametrize("kind", ["yolo", "coco", "voc"])
def test_converting_there_and_back(kind: str, cli: Cli, dataset: Path, tmp_path: Path) -> None:
    from yolov3.data import load_dataset

    assert cli("data", "convert", dataset, tmp_path / "there", "--to", kind).code == 0
    run = cli("data", "convert", tmp_path / "there", tmp_path / "back", "--to", "yolo", "--json")
    assert run.code == 0 and json.loads(run.out)["boxes"] == 12
    original, again = load_dataset(dataset), load_dataset(tmp_path / "back")
    tolerance = 0.51 if kind == "voc" else 1e-3  # VOC holds whole pixels
    for split in ("train", "val"):
        for one, other in zip(original.samples[split], again.samples[split], strict=True):
            np.testing.assert_allclose(np.sort(one.boxes, 0), np.sort(other.boxes, 0), atol=tolerance)


def test_the_checker_names_exactly_the_two_boxes_of_bccd(shared: Path, cli: Cli) -> None:
    run = cli("data", "check", shared / "bccd", "--json")
    report = json.loads(run.out)
    errors = [Path(problem["file"]).stem for problem in report["problems"] if problem["severity"] == "error"]
    assert sorted(errors) == ["BloodImage_00338", "BloodImage_00343"]
    splits = report["splits"].values()
    assert sum(split["pictures"] for split in splits) == 364 and sum(split["boxes"] for split in splits) == 4888


def test_anchors_of_a_dataset_with_bad_rows_elsewhere_and_here(cli: Cli, dataset: Path) -> None:
    labels = dataset.parent / "labels"
    (labels / "val/0.txt").write_text("rubbish\n")
    asked = ("anchors", dataset, "--model", "yolov3-tiny", "--clusters", "2", "--scales", "2")
    assert cli(*asked).err == ""
    with (labels / "train/0.txt").open("a") as file:
        file.write("0 0.5 0.5 0 0\n")
    run = cli(*asked)
    assert run.code == 0 and "1 labels can't be used and are left out" in run.err
    assert cli(*asked, "--bad-labels", "error").code == 3


def test_anchors(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    own, picture = tmp_path / "own.yaml", tmp_path / "anchors.svg"
    run = cli(
        *("anchors", dataset, "--model", "yolov3-tiny", "--clusters", "4", "--scales", "2", "--size", "416"),
        *("--seed", "1", "--write", own, "--picture", picture, "--json"),
    )
    assert run.code == 0, run.err
    report = json.loads(run.out)
    assert len(report["anchors"]) == 4 and {"mean_iou", "recall", "baseline"} <= set(report)
    assert picture.read_text().startswith("<svg")
    assert cli("show", own).code == 0


def test_results_and_anchors_need_no_pictures(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("faster_coco_eval")
    assert cli("data", "convert", dataset, tmp_path / "out", "--to", "coco", "--split", "val").code == 0
    (truth,) = (tmp_path / "out" / "annotations").iterdir()
    shutil.rmtree(tmp_path / "out" / "images")
    entries = [
        {**{key: annotation[key] for key in ("image_id", "category_id", "bbox")}, "score": 0.9}
        for annotation in json.loads(truth.read_text())["annotations"]
    ]
    (tmp_path / "results.json").write_text(json.dumps(entries))
    run = cli("evaluate", truth, "--from-predictions", tmp_path / "results.json", "--json", "--no-save")
    assert run.code == 0, run.err
    assert json.loads(run.out)["metrics"]["AP"] == 1
    assert cli("evaluate", truth, "--no-save").code == 3
    fitted = cli("anchors", truth, "--model", "yolov3-tiny", "--clusters", "2")
    assert fitted.code == 0, fitted.err


def test_evaluate(cli: Cli, dataset: Path, tmp_path: Path, photo: Path) -> None:
    pytest.importorskip("faster_coco_eval")
    names = tmp_path / "set" / "coco.yaml"
    folder = tmp_path / "set/images/val"
    for path in folder.iterdir():
        path.unlink()
    (folder / "cup.jpg").write_bytes(photo.read_bytes())
    width, height = 600, 400
    x1, y1, x2, y2 = yolov3.Detector(threads=1)(photo).boxes[0]
    values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    (tmp_path / "set/labels/val/cup.txt").write_text("0 " + " ".join(f"{value:.6f}" for value in values) + "\n")
    for index in (0, 1):
        (tmp_path / f"set/labels/val/{index}.txt").unlink()
    classes = ["cup", *(name for name in yolov3.zoo.COCO_NAMES if name != "cup")]
    names.write_text(f"path: .\ntrain: images/train\nval: images/val\nnames: {json.dumps(classes)}\n")
    run = cli("evaluate", names, "--output", tmp_path / "card", "--json", "--resamples", "10", "--threads", "1")
    assert run.code == 0, run.err
    result = json.loads(run.out)
    assert result["metrics"]["AP50"] == pytest.approx(1.0)
    assert {"metrics", "per_class", "interval", "speed"} <= set(result)
    assert (tmp_path / "card/metrics.json").is_file() and (tmp_path / "card/card.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["data", "check", "none.yaml"], 3),
        (["evaluate", "none.yaml"], 3),
        (["anchors", "none.yaml"], 3),
        (["data", "fly"], 2),
        (["data", "convert", "a", "b"], 2),
        (["data", "check", "none.yaml", "--picture", "x.png"], 2),
    ],
)
def test_errors(arguments: list[str], code: int, cli: Cli) -> None:
    run = cli(*arguments)
    assert run.code == code and run.err.count("\n") == 1
