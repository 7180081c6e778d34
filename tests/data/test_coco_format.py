"""COCO files: ids kept, every bad entry named (FAULT 56)."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yolov3.data import check_dataset, load_dataset
from yolov3.errors import DataError, UsageError, Yolov3Error

from .makers import coco, coco_document, codes, found, write_picture


def test_ids_are_kept_and_labels_count_categories(tmp_path: Path) -> None:
    dataset = load_dataset(coco(tmp_path))
    assert dataset.names == ("cat", "dog")
    assert dataset.category_ids == (3, 90)
    first, second = dataset.samples["val"]
    assert (first.image_id, second.image_id) == (42, 7)
    assert first.labels.tolist() == [1, 0]
    assert first.crowd.tolist() == [False, True]
    np.testing.assert_array_equal(first.boxes, [[10.5, 20.25, 40.5, 60.25], [0, 0, 200, 100]])
    assert first.areas.tolist() == [600.5, 9000]
    assert second.areas.tolist() == [200]
    assert first.objects.rows.tolist() == [5, 9]
    assert first.place(0).endswith("instances_val.json: 5")


def test_a_single_file_is_one_split_whatever_its_name(tmp_path: Path) -> None:
    file = coco(tmp_path, name="annotations.json")
    assert list(load_dataset(file).samples) == ["all"]
    assert len(load_dataset(file, split="val").split("all")) == 2


def test_a_folder_holds_a_split_a_file(tmp_path: Path) -> None:
    """The official layout, with its other annotation files beside."""
    (tmp_path / "annotations").mkdir()
    coco(tmp_path, name="annotations/instances_val2017.json")
    coco(tmp_path, name="annotations/instances_train2017.json")
    (tmp_path / "annotations" / "captions_val2017.json").write_text("{}")
    dataset = load_dataset(tmp_path)
    assert list(dataset.samples) == ["train", "val"]
    assert list(load_dataset(tmp_path, split="val").samples) == ["val"]
    coco(tmp_path, name="annotations/instances_val.json")
    with pytest.raises(DataError, match="one file a split"):
        load_dataset(tmp_path)


def test_the_official_folders_are_found(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    file = coco(tmp_path, name="annotations/instances_val2017.json")
    (tmp_path / "images").rename(tmp_path / "val2017")
    assert load_dataset(file).samples["val"][0].image == tmp_path / "val2017" / "a.png"


def test_pictures_beside_the_folder_of_annotations_have_short_names_and_links_are_followed(tmp_path: Path) -> None:
    coco(tmp_path / "annotations")
    (tmp_path / "annotations" / "images").rename(tmp_path / "images")
    (picture,) = (sample.image for sample in load_dataset(tmp_path).samples["val"][:1])
    assert picture.parent == tmp_path / "images"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to(tmp_path / "annotations")
    (file,) = (tmp_path / "elsewhere" / "link").glob("*.json")
    assert load_dataset(file).samples["val"][0].image.samefile(picture)  # ".." of the link's target, not of the link


def test_the_pictures_folder_can_be_named(tmp_path: Path) -> None:
    file = coco(tmp_path)
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    assert len(found(file, "picture-missing")) == 2
    assert len(load_dataset(file, images=tmp_path / "elsewhere")) == 2
    with pytest.raises(UsageError, match="no such folder"):
        load_dataset(file, images=tmp_path / "nowhere")


def test_a_size_that_is_not_there_is_read_from_the_picture(tmp_path: Path) -> None:
    document = coco_document()
    for image in document["images"]:
        image["width"] = 0
        del image["height"]
    assert load_dataset(coco(tmp_path, document)).samples["val"][0].size_wh == (200, 100)


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """The usual document with one entry changed, or without it where `to` is ..."""
    document = coco_document()
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    if to is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return document


@pytest.mark.parametrize(
    ("document", "code", "words"),
    [
        (changed("images", to=...), "description", "no list `images`"),
        (changed("annotations", to={}), "description", "no list `annotations`"),
        ([], "description", "detection results?"),
        ("words", "description", "no JSON object"),
        (changed("images", 0, "id", to=...), "entry", "images[0]: no id"),
        (changed("images", 0, "id", to=True), "entry", "images[0]: no id"),
        (changed("images", 0, "file_name", to=3), "entry", "images[0]: file_name “3”"),
        (changed("images", 0, "width", to="200"), "entry", 'images[0]: width “"200"”'),
        (changed("images", 0, "height", to=-1), "entry", "height “-1”"),
        (changed("images", 1, "id", to=42), "duplicate-id", "images[1]: the id “42” for the second time"),
        (changed("categories", 0, "name", to=None), "entry", "categories[0]: name “null”"),
        (changed("categories", 0, "id", to="90"), "entry", "categories[0]: no id"),
        (changed("categories", 1, "id", to=90), "duplicate-id", "categories[1]: the id “90”"),
        (changed("categories", 1, "name", to="dog"), "names", "“dog” is category 3 and 90"),
        (changed("annotations", 0, to=7), "entry", "annotations[0]: “7”"),
        (changed("annotations", 2, "id", to=5), "duplicate-id", "annotations[2]: the id “5”"),
        (changed("annotations", 0, "image_id", to=1), "image-unknown", "annotation 5: image_id “1”"),
        (changed("annotations", 0, "image_id", to=[]), "image-unknown", "annotation 5"),
        (changed("annotations", 0, "category_id", to=1), "class-range", "annotation 5: category_id “1”"),
        (changed("annotations", 0, "bbox", to=...), "box-format", "annotation 5: no bbox"),
        (changed("annotations", 0, "bbox", to=["1", "2", "3", "4"]), "box-format", '“["1", "2", "3", "4"]”'),
        (changed("annotations", 0, "bbox", to=[1, 2, 3]), "box-format", "expected [x, y, width, height]"),
        (changed("annotations", 0, "bbox", to=[1, 2, True, 4]), "box-format", "true"),
        (changed("annotations", 0, "bbox", to=[10, 20, -30, 40]), "negative-size", "-30×40 pixels"),
        (changed("annotations", 0, "bbox", to=[10, 20, 0, 40]), "zero-area", "0×40 pixels"),
        (changed("annotations", 0, "bbox", to=[180, 20, 30, 40]), "outside", "0 to 200 and 0 to 100 pixels"),
        (changed("annotations", 0, "bbox", to=[1e400, 20, 30, 40]), "description", "not valid JSON"),
    ],
)
def test_fault_56_what_can_be_wrong_with_a_coco_file(tmp_path: Path, document: Any, code: str, words: str) -> None:
    file = coco(tmp_path, document)
    lines = found(file, code)
    assert words in lines[0]
    assert lines[0].startswith("instances_val.json: ")
    with pytest.raises(DataError, match=r"instances_val\.json: "):
        load_dataset(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "instances_val.json:1: not valid JSON"),
        ('{\n"images": [\n', "instances_val.json:3: not valid JSON"),
        ('{"images": [NaN]}', "NaN is no JSON number"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 10_000, "not valid JSON"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"\xe9", "not UTF-8"),
    ],
)
def test_fault_56_what_is_no_json(tmp_path: Path, text: str | bytes, words: str) -> None:
    file = coco(tmp_path)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert words in found(file, "description")[0]


def test_fault_56_a_file_of_two_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    file = coco(tmp_path)
    with file.open("wb") as stream:
        stream.truncate(2 << 30)
    assert "2,147,483,648 bytes, expected at most" in found(file, "description")[0]


def test_fault_56_the_size_is_not_the_pictures(tmp_path: Path) -> None:
    file = coco(tmp_path)
    write_picture(tmp_path / "images" / "b.png", (100, 200), seed=1)
    line = found(file, "picture-size")[0]
    assert line.startswith(
        "images/b.png: the picture is 100×200 pixels as displayed, its annotation says 200×100 (was it"
    )
    sample = load_dataset(file).samples["val"][1]
    with pytest.raises(DataError, match="annotate it anew"):
        sample.boxes_for((100, 200))


def test_a_repeated_box_is_reported_but_kept(tmp_path: Path) -> None:
    """So that scores equal those of other tools, which know the annotations by their ids."""
    document = coco_document()
    document["annotations"].append({**document["annotations"][0], "id": 77})
    file = coco(tmp_path, document)
    assert found(file, "duplicate") == [
        "instances_val.json: annotation 77: the same box as annotation 5, expected once: take it out"
    ]
    assert len(load_dataset(file).samples["val"][0].boxes) == 3
    assert check_dataset(file).splits["val"].boxes == 4


def test_annotations_without_ids(tmp_path: Path) -> None:
    document = coco_document()
    for annotation in document["annotations"]:
        del annotation["id"]
    assert load_dataset(coco(tmp_path, document)).samples["val"][0].objects.rows.tolist() == ["[0]", "[1]"]


def test_a_box_a_little_outside_is_kept_to_the_digit(tmp_path: Path) -> None:
    file = coco(tmp_path, changed("annotations", 0, "bbox", to=[-0.5, 0, 200.75, 100]))
    np.testing.assert_array_equal(load_dataset(file).samples["val"][0].boxes[0], [-0.5, 0, 200.25, 100])


def test_labels_only_asks_for_no_picture(tmp_path: Path) -> None:
    file = coco(tmp_path)
    for picture in (tmp_path / "images").iterdir():
        picture.unlink()
    assert codes(check_dataset(file, labels_only=True)) == []


def test_boxes_alone_need_no_pictures(tmp_path: Path) -> None:
    file = coco(tmp_path)
    boxes = load_dataset(file).samples["val"][0].boxes
    for picture in (tmp_path / "images").iterdir():
        picture.unlink()
    with pytest.raises(DataError, match="isn't there, expected a picture"):
        load_dataset(file)
    sample = load_dataset(file, need_pictures=False, bad_labels="skip-image").samples["val"][0]
    np.testing.assert_array_equal(sample.boxes, boxes)
    coco(tmp_path, changed("images", 0, "width", to=0))
    for picture in (tmp_path / "images").iterdir():
        picture.unlink()
    with pytest.raises(DataError, match="can't be read"):
        _ = load_dataset(file, need_pictures=False).samples["val"][0].size_wh


def test_real_coco128(shared: Path) -> None:
    file = shared / "coco128" / "instances.json"
    report = check_dataset(file)
    summary = report.splits["all"]
    assert (summary.pictures, summary.boxes, summary.unusable, len(report.names)) == (128, 939, 0, 80)
    assert report.exit_code == 0
    dataset = load_dataset(file)
    assert sum(int(sample.crowd.sum()) for sample in dataset.split()) == 10
    assert dataset.category_ids is not None
    assert dataset.category_ids[-1] == 90


def test_real_coco128_txt_and_json_agree(shared: Path, tmp_path: Path) -> None:
    annotated = load_dataset(shared / "coco128" / "instances.json")
    data = tmp_path / "data.yaml"
    data.write_text(f"val: {shared}/coco128/images\nnames: {json.dumps(list(annotated.names))}\n")
    for sample, twin in zip(annotated.split(), load_dataset(data).split(), strict=True):
        assert sample.image == twin.image
        np.testing.assert_array_equal(sample.labels[~sample.crowd], twin.labels)
        np.testing.assert_allclose(sample.boxes[~sample.crowd], twin.boxes, atol=1e-3)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 300),
    st.just(10**400),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    st.sampled_from(["\ud800", "a\nb", "../x"]),
    st.just([]),
    st.just({}),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    keys = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
    return [path] * bool(path) + [inner for key in keys for inner in places(value[key], (*path, key))]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_mutated_file_never_crashes_the_check(tmp_path: Path, data: st.DataObject) -> None:
    document = copy.deepcopy(coco_document())
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(document)))
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        if data.draw(st.booleans()):
            place[path[-1]] = data.draw(VALUES)
        else:
            del place[path[-1]]
    file = coco(tmp_path, document)
    report = check_dataset(file, labels_only=True)
    json.dumps(report.to_dict(), allow_nan=False)
    assert all("\n" not in str(problem) for problem in report.problems)
    try:
        dataset = load_dataset(file, bad_labels="skip-row")
    except Yolov3Error:
        return
    for sample in dataset.split("val"):
        assert np.isfinite(sample.boxes).all()
        assert (sample.boxes[:, 2:] > sample.boxes[:, :2]).all()
        assert (sample.labels < len(dataset.names)).all()
