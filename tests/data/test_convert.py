"""Conversions: round trips within a thousandth of a pixel, and an honest list of what is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yolov3.data import Dataset, convert_dataset, load_dataset
from yolov3.errors import DataError, UsageError

from .makers import ROW, coco, fingerprint, voc, voc_object, voc_xml, write_picture, yolo

SIDES = (641, 479)


def assert_equal(dataset: Dataset, other: Dataset, atol: float = 1e-3) -> None:
    """The same names, pictures and boxes, in any order of the pictures."""
    assert dataset.names == other.names
    for members, others in zip(dataset.samples.values(), other.samples.values(), strict=True):
        ordered = sorted(members, key=lambda sample: sample.image.name)
        for sample, twin in zip(ordered, sorted(others, key=lambda sample: sample.image.name), strict=True):
            assert sample.image.name == twin.image.name
            assert sample.image.read_bytes() == twin.image.read_bytes()
            np.testing.assert_array_equal(sample.labels, twin.labels)
            np.testing.assert_allclose(sample.boxes, twin.boxes, atol=atol, rtol=0)


def whole_boxes(rng: np.random.Generator, count: int) -> list[tuple[int, ...]]:
    """Distinct boxes on whole pixels of a picture of `SIDES`, at least two pixels wide and high."""
    boxes = {
        (int(x), int(y), int(rng.integers(x + 2, SIDES[0] + 1)), int(rng.integers(y + 2, SIDES[1] + 1)))
        for x, y in zip(rng.integers(0, SIDES[0] - 2, count), rng.integers(0, SIDES[1] - 2, count), strict=True)
    }
    return sorted(boxes)


@pytest.fixture
def source(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A VOC set with two splits, a background picture and a class that doesn't occur."""
    annotations = {
        stem: voc_xml(
            *(
                voc_object("dog", (x1 + 1, y1 + 1, x2, y2), difficult=int(x1 % 2))
                for x1, y1, x2, y2 in whole_boxes(rng, 6)
            ),
            size_wh=SIDES,
        )
        for stem in ("a", "b")
    }
    root = voc(tmp_path / "voc", {**annotations, "c": voc_xml(size_wh=SIDES)}, {"train": ["a", "c"], "val": ["b"]})
    for seed, stem in enumerate("abc"):
        write_picture(root / "JPEGImages" / f"{stem}.png", SIDES, seed=seed)
    (root / "classes.txt").write_text("dog\nzebra\n")
    return root


@pytest.mark.parametrize("first", ["yolo", "coco", "voc"])
@pytest.mark.parametrize("second", ["yolo", "coco", "voc"])
def test_round_trips_between_all_kinds(tmp_path: Path, source: Path, first: str, second: str) -> None:
    convert_dataset(source, tmp_path / "first", first)
    convert_dataset(tmp_path / "first", tmp_path / "second", second)
    result = convert_dataset(tmp_path / "second", tmp_path / "third", "voc")
    assert (result.pictures, result.boxes) == (3, 12)
    original = load_dataset(source)
    for step in ("first", "second", "third"):
        assert_equal(original, load_dataset(tmp_path / step))
    if "yolo" not in (first, second):
        again = load_dataset(tmp_path / "third")
        for split, members in original.samples.items():
            for sample, twin in zip(members, again.samples[split], strict=True):
                assert sample.difficult.tolist() == twin.difficult.tolist()


def test_what_yolo_cannot_hold_is_listed(tmp_path: Path, source: Path) -> None:
    difficult = sum(
        int(sample.difficult.sum()) for members in load_dataset(source).samples.values() for sample in members
    )
    result = convert_dataset(source, tmp_path / "out", "yolo")
    assert f"{difficult} difficult marks" in result.lost
    assert json.loads(json.dumps(result.to_dict()))["lost"] == list(result.lost)


def test_crowds_are_left_out_and_ids_kept(tmp_path: Path) -> None:
    file = coco(tmp_path / "set")
    for kind in ("yolo", "voc"):
        result = convert_dataset(file, tmp_path / kind, kind)
        assert result.boxes == 2
        assert "1 crowd regions" in result.lost
    result = convert_dataset(file, tmp_path / "coco", "coco")
    assert_equal(load_dataset(file), load_dataset(tmp_path / "coco"), atol=0)
    dataset = load_dataset(tmp_path / "coco")
    assert dataset.category_ids == (3, 90)
    first = dataset.split("val")[0]
    assert (first.image_id, first.crowd.tolist(), first.areas.tolist()) == (42, [False, True], [600.5, 9000])
    assert first.objects.rows.tolist() == [5, 9]


def test_new_coco_ids_count_from_one(tmp_path: Path) -> None:
    """Scorers take an annotation with id 0 for none."""
    convert_dataset(yolo(tmp_path / "set", {"a": f"{ROW}\n0 0.5 0.5 0.1 0.1", "b": ROW}), tmp_path / "out", "coco")
    document = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    assert [image["id"] for image in document["images"]] == [1, 2]
    assert [annotation["id"] for annotation in document["annotations"]] == [1, 2, 3]
    assert document["categories"][0] == {"id": 1, "name": "cat"}
    assert document["annotations"][0] == {
        "id": 1,
        "image_id": 1,
        "category_id": 2,
        "bbox": [75.0, 25.0, 50.0, 50.0],
        "area": 2500.0,
        "iscrowd": 0,
    }


def test_an_annotation_id_of_zero_is_renumbered(tmp_path: Path) -> None:
    document = json.loads(coco(tmp_path / "set").read_text())
    document["annotations"][0]["id"] = 0
    convert_dataset(coco(tmp_path / "set", document), tmp_path / "out", "coco")
    written = json.loads((tmp_path / "out" / "annotations" / "instances_val.json").read_text())
    assert [annotation["id"] for annotation in written["annotations"]] == [1, 2, 3]


def test_voc_rounds_and_says_so(tmp_path: Path) -> None:
    rows = "0 0.5 0.5 0.2521 0.5\n1 0.5 0.5 0.25 0.5\n2 0.999 0.5 0.001 0.01\n"
    result = convert_dataset(yolo(tmp_path / "set", {"a": rows}), tmp_path / "out", "voc")
    assert result.lost[0] == "2 fractions of a pixel"
    assert result.lost[1].startswith("edges moved by up to 1.")
    boxes = load_dataset(tmp_path / "out").split()[0].boxes
    np.testing.assert_array_equal(boxes, [[75, 25, 125, 75], [75, 25, 125, 75], [198, 50, 200, 52]])


def test_a_box_of_next_to_nothing_survives(tmp_path: Path) -> None:
    data = yolo(tmp_path / "set", {"a": "0 0.5 0.5 1e-9 0.5\n1 1e-9 0.5 1e-9 1e-9\n"})
    convert_dataset(data, tmp_path / "out", "yolo")
    assert_equal(load_dataset(data), load_dataset(tmp_path / "out"))


def test_names_of_any_kind_survive(tmp_path: Path) -> None:
    names = ("no", "größe <&> \"'", "3", "a: b", "# x")
    rows = "".join(f"{label} 0.{label + 1} 0.5 0.1 0.5\n" for label in range(5))
    data = yolo(tmp_path / "set", {"a": rows}, names=names)
    for kind in ("yolo", "coco", "voc"):
        convert_dataset(data, tmp_path / kind, kind)
        assert load_dataset(tmp_path / kind).names == names


def test_pictures_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder, label in (("one", 0), ("two", 1), ("three", 2)):
        write_picture(tmp_path / "images" / folder / "a.png", seed=label)
        (tmp_path / "labels" / folder).mkdir(parents=True)
        (tmp_path / "labels" / folder / "a.txt").write_text(f"{label} 0.5 0.5 0.1 0.1")
    (tmp_path / "data.yaml").write_text("train: [images/one, images/two]\nval: images/three\nnames: [a, b, c]\n")
    for kind in ("yolo", "coco", "voc"):
        convert_dataset(tmp_path, tmp_path / kind, kind)
        dataset = load_dataset(tmp_path / kind)
        found = [
            (split, s.image.read_bytes(), s.labels.tolist())
            for split, members in dataset.samples.items()
            for s in members
        ]
        assert sorted(found, key=lambda entry: entry[2]) == [
            (split, (tmp_path / "images" / folder / "a.png").read_bytes(), [label])
            for split, folder, label in (("train", "one", 0), ("train", "two", 1), ("val", "three", 2))
        ]


@pytest.mark.skipif(os.name != "posix", reason="such names are POSIX's")
@pytest.mark.parametrize("stem", [b"new\nline", b"caf\xe9", b" blank ", b"\x1b[31m", b"-rf", b"a<&>b"])
def test_pictures_of_any_name_are_written(tmp_path: Path, stem: bytes) -> None:
    data = yolo(tmp_path / "set", {os.fsdecode(stem): ROW})
    for kind in ("yolo", "coco", "voc"):
        convert_dataset(data, tmp_path / kind, kind)
        (sample,) = load_dataset(tmp_path / kind).split("train")
        assert sample.labels.tolist() == [1]
        assert sample.image.name.isprintable()


def test_turned_pictures_keep_their_boxes_in_the_displayed_frame(tmp_path: Path) -> None:
    data = yolo(tmp_path / "set", {"a": ROW})
    (tmp_path / "set" / "images" / "train" / "a.png").unlink()
    write_picture(tmp_path / "set" / "images" / "train" / "a.jpg", (100, 200), orientation=6)
    for kind in ("coco", "voc"):
        convert_dataset(data, tmp_path / kind, kind)
        sample = load_dataset(tmp_path / kind).split("train")[0]
        assert (sample.size_wh, sample.boxes.tolist()) == ((200, 100), [[75, 25, 125, 75]])


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    file = coco(tmp_path / "set")
    write_picture(tmp_path / "set" / "images" / "a.png", (100, 100))
    with pytest.raises(DataError, match="its annotation says 200×100"):
        convert_dataset(file, tmp_path / "out", "yolo")
    assert not (tmp_path / "out").exists()


def test_the_source_is_not_changed_and_bad_rows_obey_the_policy(tmp_path: Path) -> None:
    data = yolo(tmp_path / "set", {"a": f"{ROW}\n0 nan 0 0 0", "b": ROW})
    before = fingerprint(tmp_path / "set")
    with pytest.raises(DataError, match=r"a\.txt:2"):
        convert_dataset(data, tmp_path / "out", "coco")
    assert convert_dataset(data, tmp_path / "rows", "coco", bad_labels="skip-row").boxes == 2
    assert convert_dataset(data, tmp_path / "images", "coco", bad_labels="skip-image").pictures == 1
    assert fingerprint(tmp_path / "set") == before


def test_kinds_that_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--to darknet: expected one of yolo, coco, voc"):
        convert_dataset(yolo(tmp_path / "set", {"a": ROW}), tmp_path / "out", "darknet")


@pytest.mark.parametrize("kind", ["yolo", "coco", "voc"])
def test_real_coco128_survives(shared: Path, tmp_path: Path, kind: str) -> None:
    source = shared / "coco128" / "instances.json"
    result = convert_dataset(source, tmp_path / kind, kind, pictures="link")
    assert (result.pictures, result.boxes) == (128, 939 if kind == "coco" else 929)
    for sample, twin in zip(load_dataset(source).split(), load_dataset(tmp_path / kind).split(), strict=True):
        kept = ~sample.crowd if kind != "coco" else np.ones(len(sample.labels), bool)
        np.testing.assert_array_equal(sample.labels[kept], twin.labels)
        np.testing.assert_allclose(sample.boxes[kept], twin.boxes, atol=1.0 if kind == "voc" else 1e-3, rtol=0)


EDGES = st.floats(0, 1, width=32)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(EDGES, EDGES, EDGES, EDGES), min_size=1, max_size=5, unique=True),
    st.sampled_from([(1, 1), (7, 3000), (64, 48), (333, 501), (4000, 3)]),
    st.sampled_from(["yolo", "coco"]),
)
def test_any_box_survives_a_round_trip(
    tmp_path_factory: pytest.TempPathFactory, edges: list[tuple[float, ...]], size_wh: tuple[int, int], kind: str
) -> None:
    root = tmp_path_factory.mktemp("trip")
    boxes = [
        (min(x1, x2) * size_wh[0], min(y1, y2) * size_wh[1], abs(x2 - x1) * size_wh[0], abs(y2 - y1) * size_wh[1])
        for x1, y1, x2, y2 in edges
    ]
    boxes = [box for box in boxes if min(box[2:]) > 1e-2]
    if not boxes:
        return
    write_picture(root / "images" / "a.png", size_wh)
    file = root / "instances_val.json"
    annotations = [{"id": i, "image_id": 1, "category_id": 1, "bbox": box} for i, box in enumerate(boxes, 1)]
    images = [{"id": 1, "file_name": "a.png", "width": size_wh[0], "height": size_wh[1]}]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}))
    convert_dataset(file, root / "out", kind)
    convert_dataset(root / "out", root / "back", "coco")
    original, back = load_dataset(file).split()[0], load_dataset(root / "back").split()[0]
    np.testing.assert_allclose(original.boxes, back.boxes, atol=1e-3, rtol=0)
