"""Repaired copies: what is sound stays byte for byte, and the ledger tells the rest."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from yolov3.data import Repaired, check_dataset, fix_dataset, load_dataset
from yolov3.errors import DataError, UsageError

from .makers import ROW, coco, coco_document, codes, fingerprint, voc, voc_object, voc_xml, write_picture, yolo


def ledger(repaired: Repaired) -> list[tuple[Any, ...]]:
    """(file's name, line, action) of each entry, from ledger.json; ledger.csv must tell the same."""
    entries = json.loads((repaired.path / "ledger.json").read_text())
    with (repaired.path / "ledger.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["action"] for row in rows] == [entry["action"] for entry in entries]
    assert [row["file"] for row in rows] == [entry["file"] for entry in entries]
    return [(Path(entry["file"]).name, entry["line"], entry["action"]) for entry in entries]


def test_yolo_rows_are_clipped_swapped_boxed_dropped(tmp_path: Path) -> None:
    rows = [
        "1 0.50000 .5 0.25 0.5",  # sound: stays as it is written
        "0 0.9 0.5 0.4 0.2",  # clip
        "0 1.5 0.5 0.4 0.2",  # nothing left: drop
        "0 0.5 0.5 -0.2 0.1",  # swap corners
        "2 0.1 0.1 0.3 0.1 0.3 0.4",  # box of segment
        "2.0 0.2 0.8 0.1 0.1",  # rewrite class
        "1 0.5 0.5 0.25 0.5",  # dedupe
        "1 nan 0.5 0.1 0.1",  # drop
        "0 0.5 0.5 0 0.1",  # drop
        "9 nan 0.5 0.1 0.1",  # two problems, one entry
    ]
    data = yolo(tmp_path / "set", {"a": "\r\n".join(rows) + "\r\n", "b": b"\xef\xbb\xbf" + ROW.encode(), "c": ""})
    before = fingerprint(tmp_path / "set")
    repaired = fix_dataset(data, tmp_path / "fixed")
    assert fingerprint(tmp_path / "set") == before
    actions = ["clip", "drop", "swap corners", "box of segment", "rewrite class", "dedupe", "drop", "drop", "drop"]
    assert sorted(ledger(repaired), key=lambda entry: entry[1]) == [
        ("a.txt", line, action) for line, action in enumerate(actions, 2)
    ]
    labels = repaired.path / "labels" / "train"
    assert (labels / "a.txt").read_bytes().startswith(b"1 0.50000 .5 0.25 0.5\r\n0 0.85")
    assert (labels / "b.txt").read_bytes() == b"\xef\xbb\xbf" + ROW.encode()
    assert (labels / "c.txt").read_bytes() == b""
    assert codes(repaired.remaining) == codes(repaired.remaining, "warning") == []
    sample = load_dataset(repaired.path).samples["train"][0]
    assert sample.labels.tolist() == [1, 0, 0, 2, 2]
    np.testing.assert_allclose(
        sample.boxes, [[75, 25, 125, 75], [140, 40, 200, 60], [80, 45, 120, 55], [20, 10, 60, 40], [30, 75, 50, 85]]
    )


def test_the_ledger_tells_before_and_after(tmp_path: Path) -> None:
    data = yolo(tmp_path / "set", {"a": f"{ROW}\n0 0.9 0.5 0.4 0.2\n"})
    repaired = fix_dataset(data, tmp_path / "fixed")
    (entry,) = json.loads((repaired.path / "ledger.json").read_text())
    assert entry.pop("before") == pytest.approx([0.7, 0.4, 1.1, 0.6])
    assert entry.pop("after") == pytest.approx([0.7, 0.4, 1.0, 0.6])
    assert entry.pop("found").startswith("the box (0.7, 0.4, 1.1, 0.6) reaches out of the picture")
    assert entry == {
        "file": str(tmp_path / "set" / "labels" / "train" / "a.txt"),
        "line": 2,
        "row": 2,
        "split": "train",
        "picture": str(tmp_path / "set" / "images" / "train" / "a.png"),
        "code": "outside",
        "action": "clip",
        "label": 0,
        "unit": "parts",
    }
    assert repaired.actions() == {"clip": 1}


def test_bad_pictures_are_left_out_with_their_labels(tmp_path: Path) -> None:
    data = yolo(tmp_path / "set", {"a": ROW, "b": f"{ROW}\n{ROW}", "c": "\0", "d": None})
    (tmp_path / "set" / "images" / "train" / "b.png").write_bytes(b"no picture")
    repaired = fix_dataset(data, tmp_path / "fixed")
    assert sorted(ledger(repaired)) == [("b.png", None, "leave out picture"), ("c.txt", None, "leave out picture")]
    assert sorted(path.name for path in (repaired.path / "images" / "train").iterdir()) == ["a.png", "d.png"]
    assert sorted(path.name for path in (repaired.path / "labels" / "train").iterdir()) == ["a.txt"]


def test_a_sound_dataset_has_an_empty_ledger(tmp_path: Path) -> None:
    repaired = fix_dataset(yolo(tmp_path / "set", {"a": ROW}), tmp_path / "fixed")
    assert ledger(repaired) == []
    assert repaired.remaining.exit_code == 0


def test_class_maps_stay(tmp_path: Path) -> None:
    data = yolo(tmp_path / "set", {"a": f"{ROW}\n2 0.5 0.5 0.1 0.1\n0 0.9 0.5 0.4 0.2"})
    data.write_text(data.read_text() + "classes: {dog: pet, cat: pet, bird: ~}\n")
    fixed = load_dataset(fix_dataset(data, tmp_path / "fixed").path)
    assert fixed.names == ("pet",)
    assert fixed.samples["train"][0].labels.tolist() == [0, 0]


def test_what_only_the_owner_can_settle_is_refused(tmp_path: Path) -> None:
    data = yolo(tmp_path / "set", {"a": ROW})
    data.write_text(data.read_text() + "nc: 7\n")
    with pytest.raises(DataError, match="nc: 7, but names has 3"):
        fix_dataset(data, tmp_path / "fixed")
    assert not (tmp_path / "fixed").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    data = yolo(tmp_path / "set", {"a": ROW})
    (tmp_path / "out").mkdir()
    fix_dataset(data, tmp_path / "out")
    with pytest.raises(UsageError, match="is there already"):
        fix_dataset(data, tmp_path / "out")
    with pytest.raises(UsageError, match="is there already"):
        fix_dataset(data, data)
    with pytest.raises(UsageError, match="is there already"):
        fix_dataset(data, tmp_path / "set")


def test_voc_objects_are_changed_in_place(tmp_path: Path) -> None:
    sound = voc_xml(voc_object("cat", (5, 5, 50, 50))).replace("\n", "\r\n")
    bad = voc_xml(
        voc_object("dog", (150, 20, 250, 60)),
        voc_object("cat", (9, 9, 9, 9)),
        voc_object("cat", (80, 30, 20, 60)),
        voc_object("cat", (1, 1, 200, 100), difficult=1),
        voc_object("cat", (200, 1, 260, 50)),
    )
    root = voc(tmp_path / "set", {"a": sound, "b": bad}, {"train": ["a"], "val": ["b"]})
    before = fingerprint(root)
    repaired = fix_dataset(root, tmp_path / "fixed")
    assert fingerprint(root) == before
    assert [action for _, _, action in ledger(repaired)] == ["clip", "drop", "swap corners", "drop"]
    assert (repaired.path / "Annotations" / "a.xml").read_bytes() == (root / "Annotations" / "a.xml").read_bytes()
    dataset = load_dataset(repaired.path)
    np.testing.assert_array_equal(
        dataset.split("val")[0].boxes, [[149, 19, 200, 60], [19, 29, 80, 60], [0, 0, 200, 100]]
    )
    assert dataset.split("val")[0].difficult.tolist() == [False, False, True]
    assert "<pose>Left</pose>" in (repaired.path / "Annotations" / "b.xml").read_text()
    assert [sample.image_id for sample in dataset.samples["train"]] == ["a"]


def test_coco_keeps_every_other_key(tmp_path: Path) -> None:
    document = coco_document()
    document["annotations"] += [
        {"id": 11, "image_id": 7, "category_id": 3, "bbox": [180, 50, 40, 10], "segmentation": [[1, 2, 3, 4, 5, 6]]},
        {"id": 12, "image_id": 7, "category_id": 3, "bbox": [10, 50, 0, 10]},
        {"id": 12, "image_id": 7, "category_id": 3, "bbox": [10, 50, 5, 10]},
        {"id": 13, "image_id": 7, "category_id": 3, "bbox": [100, 50, 20, 10]},
        {"id": 14, "image_id": 99, "category_id": 3, "bbox": [1, 1, 5, 5]},
        {"image_id": 7, "category_id": 3, "bbox": ["1", 1, 5, 5]},
        "words",
    ]
    document["images"] += [
        {"id": 42, "file_name": "twice.png"},
        {"id": 50, "file_name": "gone.png"},
        {"file_name": "x"},
    ]
    document["categories"].append({"id": 5})
    file = coco(tmp_path / "set", document)
    write_picture(tmp_path / "set" / "images" / "c.png", seed=3)
    repaired = fix_dataset(file, tmp_path / "fixed")
    assert repaired.actions() == {"drop": 7, "renumber": 1, "leave out picture": 1, "clip": 1, "dedupe": 1}
    fixed = json.loads((repaired.path / "annotations" / "instances_val.json").read_text())
    assert fixed["info"] == {"year": 2020}
    assert fixed["images"] == document["images"][:2]
    assert fixed["categories"] == document["categories"][:2]
    assert fixed["annotations"] == [
        *document["annotations"][:3],
        {**document["annotations"][3], "bbox": [180, 50, 20, 10]},
        {**document["annotations"][5], "id": 15},
    ]
    assert repaired.remaining.exit_code == 0


def test_darknet_becomes_yolo(tmp_path: Path) -> None:
    write_picture(tmp_path / "set" / "images" / "a.jpg")
    (tmp_path / "set" / "images" / "a.txt").write_text(f"{ROW}\n{ROW}\n")
    (tmp_path / "set" / "train.txt").write_text("images/a.jpg\n")
    (tmp_path / "set" / "x.names").write_text("cat\ndog\n")
    (tmp_path / "set" / "x.data").write_text("train = train.txt\nnames = x.names\n")
    repaired = fix_dataset(tmp_path / "set" / "x.data", tmp_path / "fixed")
    dataset = load_dataset(repaired.path)
    assert (dataset.kind, dataset.names) == ("yolo", ("cat", "dog"))
    assert dataset.split()[0].labels.tolist() == [1]


def test_pictures_can_be_linked(tmp_path: Path) -> None:
    data = yolo(tmp_path / "set", {"a": ROW})
    repaired = fix_dataset(data, tmp_path / "fixed", pictures="link")
    picture = repaired.path / "images" / "train" / "a.png"
    assert picture.is_symlink()
    assert picture.resolve() == (tmp_path / "set" / "images" / "train" / "a.png").resolve()


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = yolo(tmp_path / "set", {"a": ROW})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("yolov3.data.output.shutil.copyfile", full)
    with pytest.raises(Exception, match="could not be written \\(No space left on device\\)"):
        fix_dataset(data, tmp_path / "fixed")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


SIDE = st.sampled_from([-20, 0, 0.5, 1, 2, 30, 99.5, 150, 199, 200, 201, 300, 1e30])
BOX = st.tuples(SIDE, SIDE, SIDE, SIDE)
LABEL = st.sampled_from(["cat", "dog"])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(LABEL, BOX), max_size=6))
@example([("cat", (-20, 201, 99.5, 2))])
def test_a_repaired_copy_is_always_sound(
    tmp_path_factory: pytest.TempPathFactory, objects: list[tuple[str, tuple[float, ...]]]
) -> None:
    """Whatever the boxes, in every kind: the copy's labels have no fault."""
    root = tmp_path_factory.mktemp("any")
    sound = voc_object("cat", (1, 1, 9, 9)) + voc_object("dog", (1, 1, 9, 9))
    rows = [f"{int(name == 'dog')} {' '.join(f'{value / 200:f}' for value in box)}\n" for name, box in objects]
    document = coco_document()
    for number, (name, box) in enumerate(objects, 100):
        category = 90 if name == "dog" else 3
        document["annotations"].append({"id": number, "image_id": 7, "category_id": category, "bbox": list(box)})
    for source in (
        yolo(root / "yolo", {"a": "".join(rows), "b": ROW}),
        voc(root / "voc", {"a": voc_xml(*(voc_object(*entry) for entry in objects)), "b": voc_xml(sound)}),
        coco(root / "coco", document),
    ):
        first = fix_dataset(source, root / f"{source.parent.name}-{source.stem}-1", pictures="link")
        assert codes(first.remaining) == []
        second = fix_dataset(first.path, first.path.with_suffix(".2"), pictures="link")
        assert second.actions().keys() <= {"dedupe"}  # a clipped box may equal another


def test_real_bccd_is_repaired(shared: Path, tmp_path: Path) -> None:
    repaired = fix_dataset(shared / "bccd", tmp_path / "fixed", pictures="link")
    assert sorted(ledger(repaired)) == [("BloodImage_00338.xml", 163, "drop"), ("BloodImage_00343.xml", 55, "drop")]
    report = check_dataset(repaired.path, labels_only=True)
    assert sum(found.boxes for found in report.splits.values()) == 4886
    assert codes(report) == []
