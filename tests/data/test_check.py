"""The checker as a whole: the report, leakage, orientation, and that it changes nothing."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from yolov3.data import CHECKS, Problem, check_dataset, load_dataset
from yolov3.data.looks import NEAR_BITS, difference_hash
from yolov3.errors import DataError, UsageError

from .makers import ROW, coco, codes, fingerprint, found, voc, voc_object, voc_xml, write_picture, yolo


def test_the_report_of_a_sound_dataset(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"a": f"{ROW}\n0 0.5 0.5 0.1 0.2\n", "b": "2 0.5 0.5 1 1\n"})
    report = check_dataset(data)
    assert report.exit_code == 0
    assert report.to_dict() == {
        "path": str(data),
        "kind": "yolo",
        "names": ["cat", "dog", "bird"],
        "labels_only": False,
        "ok": True,
        "counts": {"errors": 0, "warnings": 0, "notes": 0},
        "splits": {
            "train": {
                "pictures": 2,
                "boxes": 3,
                "unusable": 0,
                "background": 0,
                "unlabelled": 0,
                "classes": {"cat": 1, "dog": 1, "bird": 1},
                "sizes": {"small": 1, "medium": 1, "large": 1},
                "side_percentiles": report.to_dict()["splits"]["train"]["side_percentiles"],
            }
        },
        "problems": [],
    }
    assert report.to_dict()["splits"]["train"]["side_percentiles"]["50"] == pytest.approx(0.125**0.5, abs=1e-6)
    assert report.summary_rows()[1] == ("train", "2", "3", "0", "0", "3", "1", "1", "1")
    assert report.class_rows() == [("class", "train"), ("cat", "1"), ("dog", "1"), ("bird", "1")]


def test_a_problem_says_where_what_and_how_bad(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"a": f"{ROW}\n0 0.5 0.5 0 0\n"})
    report = check_dataset(data)
    assert report.exit_code == 3
    assert report.to_dict()["problems"][0] == {
        "file": f"{tmp_path}/labels/train/a.txt",
        "line": 2,
        "code": "zero-area",
        "severity": "error",
        "split": "train",
        "message": "the box is 0×0, expected sides above 0: draw it again or take it out",
    }
    assert report.summary_rows()[1][2:4] == ("2", "1")


def test_fault_51_all_problems_in_one_pass(tmp_path: Path) -> None:
    rows = "0 nan 0.5 0.1 0.1\n9 0.5 0.5 0.1 0.1\n0 0.5 0.5 0 0\n0 0.5\n"
    data = yolo(tmp_path, {"a": rows, "b": rows, "c": "\0", "d": ROW})
    data.write_text(data.read_text() + "nc: 5\nval: nowhere\n")
    (tmp_path / "images" / "train" / "d.png").write_bytes(b"no picture")
    report = check_dataset(data)
    assert codes(report) == [
        "names",
        "not-finite",
        "class-range",
        "zero-area",
        "columns",
        "not-finite",
        "class-range",
        "zero-area",
        "columns",
        "label-encoding",
        "split-missing",
        "picture-bad",
    ]
    assert json.loads(json.dumps(report.to_dict()))["counts"]["errors"] == 12


def test_fault_52_nothing_of_the_users_is_changed(tmp_path: Path) -> None:
    bad = f"{ROW}\n{ROW}\n0 0.99 0.5 0.5 0.5\n0 nan 0 0 0\n"
    sets = [
        yolo(tmp_path / "yolo", {"a": bad, "b": None, "c": "\0"}),
        coco(tmp_path / "coco"),
        voc(
            tmp_path / "voc",
            {"a": voc_xml(voc_object("cat", (9, 9, 9, 9))), "b": voc_xml(voc_object("cat", (1, 1, 9, 9)))},
        ),
    ]
    write_picture(tmp_path / "yolo" / "images" / "train" / "turned.jpg", orientation=6)
    (tmp_path / "yolo" / "images" / "train" / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    before = fingerprint(tmp_path)
    for data in sets:
        check_dataset(data)
        check_dataset(data, labels_only=True)
        load_dataset(data, bad_labels="skip-image")
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"\xff\xd8\xff\xe0", "cut"], ids=["empty", "web page", "four bytes", "truncated"]
)
def test_pictures_that_cannot_be_decoded_are_named(tmp_path: Path, content: bytes | str) -> None:
    data = yolo(tmp_path, {"a": ROW, "b": ROW})
    picture = tmp_path / "images" / "train" / "a.png"
    whole = picture.read_bytes()
    picture.write_bytes(whole[: len(whole) // 2] if content == "cut" else content)  # type: ignore[arg-type]
    assert len(found(data, "picture-bad")) == 1
    assert found(data, "picture-bad")[0].startswith("images/train/a.png: ")
    assert found(data, "picture-bad", labels_only=True) == []


def test_fault_53_no_cache_is_left_beside_the_labels_or_read_from_there(tmp_path: Path) -> None:
    """Labels are read anew each time: a file that another tool left as its cache is neither used nor touched."""
    data = yolo(tmp_path, {"a": ROW})
    cache = tmp_path / "labels" / "train.cache"
    cache.write_bytes(b"\x80\x04stale")
    before = set(tmp_path.rglob("*"))
    assert check_dataset(data).splits["train"].boxes == 1
    (tmp_path / "labels" / "train" / "a.txt").write_text(f"{ROW}\n2 0.5 0.5 0.2 0.2\n")
    assert check_dataset(data).splits["train"].boxes == 2
    assert set(tmp_path.rglob("*")) == before
    assert cache.read_bytes() == b"\x80\x04stale"


@pytest.mark.parametrize("name", ["data.zip", "data.tar", "data.tar.gz", "data.yaml.zip"])
def test_fault_54_archives_are_refused_and_never_unpacked(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("../data.yaml", "train: images\nnames: [cat]\n")
    with pytest.raises(DataError, match="no dataset, expected"):
        check_dataset(tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == [name]


def test_turned_pictures_are_noted_and_boxes_taken_as_displayed(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"a": ROW})
    write_picture(tmp_path / "images" / "train" / "b.jpg", (100, 200), seed=1, orientation=6)
    (tmp_path / "labels" / "train" / "b.txt").write_text(ROW)
    report = check_dataset(data)
    assert report.exit_code == 0
    assert "EXIF orientation 6" in found(data, "exif")[0]
    np.testing.assert_allclose(load_dataset(data).split("train")[1].boxes, [[75, 25, 125, 75]])


def test_an_annotation_made_before_turning_is_an_error(tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": voc_xml(voc_object("cat", (1, 1, 9, 9)), size_wh=(100, 200))})
    write_picture(root / "JPEGImages" / "a.jpg", (100, 200), orientation=8)
    (root / "JPEGImages" / "a.png").unlink()
    assert "before its EXIF orientation was obeyed?" in found(root, "picture-size")[0]


def test_equal_pictures_in_two_splits_and_in_one(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"a": ROW, "b": ROW})
    yolo(tmp_path, {"c": ROW, "d": ROW}, split="val")
    images = tmp_path / "images"
    (images / "val" / "c.png").write_bytes((images / "train" / "a.png").read_bytes())
    (images / "train" / "b.png").write_bytes((images / "train" / "a.png").read_bytes())
    twin = images / "train" / "a.png"
    assert found(data, "leak-exact") == [
        f"images/val/c.png: the same picture as {twin} in train, expected once: take one out"
    ]
    assert found(data, "repeated-picture") == [
        f"images/train/b.png: the same picture as {twin}, expected once: take one out"
    ]
    assert check_dataset(data).exit_code == 3


def altered(image: Image.Image, how: str) -> Image.Image:
    if how == "recompressed":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=30)
        return Image.open(buffer)
    if how == "halved":
        return image.resize((image.width // 2, image.height // 2))
    if how == "brighter":
        return image.point(lambda value: min(value * 1.15 + 8, 255))
    return image.filter(ImageFilter.GaussianBlur(1.5))


@pytest.mark.parametrize("how", ["recompressed", "halved", "brighter", "blurred"])
def test_nearly_equal_pictures_in_two_splits(tmp_path: Path, how: str) -> None:
    data = yolo(tmp_path, {"a": ROW, "b": ROW})
    yolo(tmp_path, {"c": ROW, "d": ROW}, split="val")
    images = tmp_path / "images"
    altered(Image.open(images / "train" / "b.png"), how).save(images / "val" / "d.png")
    lines = found(data, "leak-near")
    assert len(lines) == 1
    assert lines[0].startswith(f"images/val/d.png: nearly the same picture as {images}/train/b.png in train")


def test_different_photographs_are_not_near(shared: Path) -> None:
    """The nearest two of 133 photographs stay far above the limit."""
    pictures = [*(shared / "coco128" / "images").iterdir(), *(shared / "photos").glob("*.jpg")]
    hashes = [difference_hash(np.asarray(Image.open(picture).convert("RGB"))) for picture in pictures]
    bits = np.unpackbits(np.stack(hashes), axis=1).astype(np.int32)
    distances = (bits[:, None] != bits[None]).sum(axis=-1) + 999 * np.eye(len(bits), dtype=np.int32)
    assert distances.min() > 1.5 * NEAR_BITS


def test_a_class_that_is_scored_but_never_trained(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"a": ROW})
    yolo(tmp_path, {"b": f"{ROW}\n2 0.5 0.5 0.2 0.2"}, split="val")
    assert found(data, "class-unseen") == [
        "data.yaml: class 2, bird, occurs in val but not in train, expected some there"
    ]
    assert found(data, "class-absent") == ["data.yaml: no box of class 0, cat"]


def test_labels_only_needs_no_pictures(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"a": ROW, "b": "0 0.5 0.5 0 0", "c": ""})
    for picture in (tmp_path / "images" / "train").iterdir():
        picture.unlink()
    report = check_dataset(data, labels_only=True)
    assert codes(report) == ["zero-area"]
    summary = report.splits["train"]
    assert (summary.pictures, summary.boxes, summary.background) == (3, 2, 2)
    assert summary.sizes is None
    (tmp_path / "images" / "train").rmdir()
    (tmp_path / "images").rmdir()
    assert codes(check_dataset(data, labels_only=True)) == ["zero-area"]
    assert codes(check_dataset(data)) == ["split-missing"]


def test_a_split_that_is_empty(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"a": ROW})
    (tmp_path / "images" / "val").mkdir()
    data.write_text("train: images/train\nval: images/val\nnames: [cat, dog, bird]\n")
    assert found(data, "no-pictures") == [
        f"data.yaml:2: val: no picture in “{tmp_path}/images/val”, expected some: correct the path"
    ]


def test_a_split_without_boxes(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"a": ROW})
    yolo(tmp_path, {"b": ""}, split="val")
    assert codes(check_dataset(data), "warning") == ["split-without-boxes"]


def test_no_such_split(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no split test"):
        check_dataset(yolo(tmp_path, {"a": ROW}), split="test")


def test_hostile_file_names_stay_on_one_line(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"a\n\x1b[31mb": "x"})
    for problem in check_dataset(data).problems:
        assert str(problem).isprintable()
        assert problem.to_dict()["file"].isprintable()


def test_every_check_is_described_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    missing = [
        code for code, check in CHECKS.items() if f"| `{code}` | {check.severity} | {check.meaning} |" not in text
    ]
    assert not missing


def test_problems_know_their_severity() -> None:
    assert Problem("duplicate", Path("x"), "words").severity == "warning"
    assert str(Problem("duplicate", Path("x"), "words", 3)) == "x:3: words"
    assert str(Problem("duplicate", Path("x"), "words")) == "x: words"


def test_reading_datasets_imports_no_engine() -> None:
    code = "import sys, yolov3.data; print(*(name for name in ('torch', 'ncnn', 'onnx') if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


@pytest.mark.slow
def test_a_hundred_thousand_label_files(tmp_path: Path) -> None:
    """Finds the one bad row among 800,000. (Measured: 6 s on 2 cores; docs/datasets.md.)"""
    (tmp_path / "labels").mkdir()
    for number in range(100_000):
        rows = "".join(f"{row} 0.{row + 1}{number:05d} 0.5 0.1 0.1\n" for row in range(8))
        (tmp_path / "labels" / f"{number}.txt").write_text(rows if number != 77_777 else rows + "0 0.5 0.5 0 0\n")
    (tmp_path / "data.yaml").write_text(f"train: images\nnames: [{', '.join('abcdefgh')}]\n")
    report = check_dataset(tmp_path, labels_only=True)
    assert str(report.problems[0]).startswith(f"{tmp_path}/labels/77777.txt:9: ")
    assert report.splits["train"].boxes == 800_001
