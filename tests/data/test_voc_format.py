"""Pascal VOC: pixels counted from 1, splits, hostile XML (FAULT 55)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yolov3.data import check_dataset, load_dataset
from yolov3.errors import DataError, Yolov3Error

from .makers import codes, found, voc, voc_object, voc_xml, write_picture

WHOLE = voc_object("cat", (1, 1, 200, 100))
DOG = voc_object("dog", (11, 21, 30, 40), difficult=1)


def test_pixels_count_from_one_and_corners_belong_to_the_box(tmp_path: Path) -> None:
    sample = load_dataset(voc(tmp_path, {"a": voc_xml(WHOLE, DOG)})).split()[0]
    np.testing.assert_array_equal(sample.boxes, [[0, 0, 200, 100], [10, 20, 30, 40]])
    assert sample.difficult.tolist() == [False, True]
    assert sample.labels.tolist() == [0, 1]
    assert sample.image_id == "a"
    assert sample.objects.rows.tolist() == [1, 2]


def test_files_that_count_from_zero_are_taken(tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": voc_xml(voc_object("cat", (0, 0, 199.5, 100)))})
    np.testing.assert_array_equal(load_dataset(root).split()[0].boxes, [[0, 0, 199.5, 100]])


def test_splits_are_the_lists(tmp_path: Path) -> None:
    annotations = {stem: voc_xml(WHOLE, DOG) for stem in "abcd"}
    root = voc(
        tmp_path, annotations, {"train": ["a", "b"], "val": ["c"], "trainval": ["a", "b", "c"], "cat_train": ["a"]}
    )
    dataset = load_dataset(root)
    assert {split: [sample.image_id for sample in members] for split, members in dataset.samples.items()} == {
        "train": ["a", "b"],
        "val": ["c"],
    }
    only = load_dataset(root, split="val")
    assert (list(only.samples), only.names) == (["val"], dataset.names)


def test_trainval_alone_is_for_training(tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": voc_xml(WHOLE), "b": voc_xml(WHOLE)}, {"trainval": ["a"], "test": ["b"]})
    assert list(load_dataset(root).samples) == ["train", "test"]


def test_names_are_those_that_occur_in_any_split(tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": voc_xml(DOG), "b": voc_xml(WHOLE)}, {"train": ["a"], "val": ["b"]})
    assert load_dataset(root, split="train").names == ("cat", "dog")


def test_classes_txt_fixes_the_names(tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": voc_xml(WHOLE, DOG)})
    (root / "classes.txt").write_text("dog\ncow\n")
    assert check_dataset(root).names == ("dog", "cow")
    assert found(root, "class-range") == ["Annotations/a.xml:4: class “cat”, expected one of classes.txt: correct it"]


def test_a_size_of_zero_is_read_from_the_picture(tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": voc_xml(WHOLE, size_wh=(0, 0)), "b": "<annotation><object/></annotation>"})
    dataset = load_dataset(root, bad_labels="skip-row")
    assert [sample.size_wh for sample in dataset.split()] == [(200, 100), (200, 100)]


def test_the_picture_may_have_any_suffix_or_be_named_inside(tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": voc_xml(WHOLE), "b": voc_xml(WHOLE, filename="photo.png")})
    (root / "JPEGImages" / "b.png").rename(root / "JPEGImages" / "photo.png")
    assert [sample.image.name for sample in load_dataset(root).split()] == ["a.png", "photo.png"]


def test_pictures_elsewhere(tmp_path: Path) -> None:
    root = voc(tmp_path / "set", {"a": voc_xml(WHOLE)})
    (root / "JPEGImages").rename(tmp_path / "photos")
    assert found(root, "picture-missing")[0].startswith("Annotations/a.xml: no picture “a” in ")
    assert load_dataset(root, images=tmp_path / "photos").split()[0].image == tmp_path / "photos" / "a.png"


def test_a_list_names_what_is_missing(tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": voc_xml(WHOLE)}, {"train": ["a", "gone"]})
    assert found(root, "picture-missing")[0].startswith("ImageSets/Main/train.txt:2: no picture “gone”")
    assert "Annotations/gone.xml: can't be read" in found(root, "label-unreadable")[0]


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        (voc_xml(voc_object("cat", (10, 10, 10, 20))), "zero-area", 8),
        (voc_xml(voc_object("cat", (10, 30, 20, 20))), "negative-size", 8),
        (voc_xml(voc_object("cat", (10, 10, 220, 20))), "outside", 8),
        (voc_xml(voc_object("cat", (10, 10, "nan", 20))), "box-format", 4),
        (voc_xml(voc_object("cat", (10, 10, "1_0", 20))), "box-format", 4),
        (voc_xml(voc_object("cat", (10, 10, "٣", 20))), "box-format", 4),
        (voc_xml(voc_object("cat", (10, 10, "1e400", 20))), "box-format", 4),
        (voc_xml("<object><name>cat</name></object>"), "box-format", 4),
        (voc_xml(WHOLE.replace("cat", "")), "class-range", 4),
        (voc_xml("<object>\n"), "xml", 5),
        ("<html></html>", "xml", 1),
        ("", "xml", 1),
        ("{}", "xml", 1),
        (voc_xml("&nbsp;"), "xml", 4),
        ("<a>" * 10_000, "xml", 1),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "xml", 1),
    ],
)
def test_what_can_be_wrong_with_an_annotation(tmp_path: Path, text: str, code: str, line: int) -> None:
    root = voc(tmp_path, {"a": text, "b": voc_xml(WHOLE)})
    assert found(root, code)[0].startswith(f"Annotations/a.xml:{line}: ")
    assert codes(check_dataset(root)) == [code]
    with pytest.raises(DataError, match=rf"a\.xml:{line}: "):
        load_dataset(root)


LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))


@pytest.mark.parametrize(
    "prologue",
    [
        pytest.param(f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]>', id="entity bomb"),
        pytest.param(f'<!DOCTYPE a [<!ENTITY l1 "{"x" * 10_000}">]>', id="quadratic"),
        pytest.param('<!DOCTYPE a [<!ENTITY l1 SYSTEM "file:///etc/passwd">]>', id="external entity"),
        pytest.param('<!DOCTYPE a [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>', id="parameter entity"),
        pytest.param('<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd">', id="external DTD"),
        pytest.param("<!DOCTYPE annotation>", id="mere DTD"),
    ],
)
def test_fault_55_entities_and_dtds_are_refused(tmp_path: Path, prologue: str) -> None:
    root = voc(tmp_path, {"a": prologue + voc_xml(voc_object("&l1;" if "l1" in prologue else "cat", (1, 1, 9, 9)))})
    assert found(root, "xml") == [
        "Annotations/a.xml:1: a document type or entity declaration, expected none: write the file anew"
    ]


def test_real_bccd_has_exactly_two_boxes_without_area(shared: Path) -> None:
    report = check_dataset(shared / "bccd")
    assert sum(found.pictures for found in report.splits.values()) == 364
    assert sum(found.boxes for found in report.splits.values()) == 4888
    assert [found.pictures for found in report.splits.values()] == [205, 87, 72]
    errors = [problem for problem in report.problems if problem.severity == "error"]
    assert [(problem.code, problem.file.stem) for problem in errors] == [
        ("zero-area", "BloodImage_00343"),
        ("zero-area", "BloodImage_00338"),
    ]
    # The two photographs show one field of cells at two focal planes, one in train, one in val.
    leaks = [problem for problem in report.problems if problem.severity == "warning"]
    assert [(problem.code, problem.file.stem) for problem in leaks] == [("leak-near", "BloodImage_00037")]
    assert report.exit_code == 3


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_mutated_annotation_never_crashes_the_check(tmp_path: Path, data: st.DataObject) -> None:
    text = voc_xml(WHOLE, DOG).encode()
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(start + 30, len(text))))
    mutated = text[:start] + data.draw(st.binary(max_size=12)) + text[stop:]
    root = voc(tmp_path, {"b": voc_xml(WHOLE)})
    write_picture(root / "JPEGImages" / "a.png", seed=1)
    (root / "Annotations" / "a.xml").write_bytes(mutated)
    report = check_dataset(root, labels_only=True)
    json.dumps(report.to_dict(), allow_nan=False)
    assert all("\n" not in str(problem) for problem in report.problems)
    try:
        dataset = load_dataset(root, bad_labels="skip-row")
    except Yolov3Error:
        return
    for sample in dataset.split():
        assert (sample.boxes[:, 2:] > sample.boxes[:, :2]).all()
