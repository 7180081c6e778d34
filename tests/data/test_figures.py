"""Pictures of a dataset: the contact sheet and the distributions."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from yolov3.annotate import class_color
from yolov3.data import contact_sheet, distribution_figure, load_dataset
from yolov3.errors import UsageError

from .makers import ROW, coco, yolo


def test_a_sheet_shows_boxes_in_their_colours(tmp_path: Path) -> None:
    dataset = load_dataset(yolo(tmp_path, {"a": ROW, "b": "", "c": "0 0.5 0.5 0.9 0.9"}))
    sheet = contact_sheet(dataset, 3, tile=200)
    assert sheet.shape == (2 * 228 + 8, 2 * 208 + 8, 3)
    assert sheet.dtype == np.uint8
    colours = {tuple(pixel) for pixel in sheet[8:208, 8:208].reshape(-1, 3).tolist()}
    assert class_color(1) in colours
    assert class_color(0) not in colours


def test_the_boxes_are_where_they_belong(tmp_path: Path) -> None:
    """A picture of 200×100 in a tile of 200 begins at row 50; its box 75, 25, 125, 75."""
    sheet = contact_sheet(load_dataset(yolo(tmp_path, {"a": ROW})), 1, tile=200)
    tile = sheet[8:208, 8:208].astype(int)
    rows, columns = np.nonzero((tile == class_color(1)).all(axis=-1))
    inside = rows > 80  # the label stands above the box
    assert abs(columns[inside].min() - 75) <= 1
    assert abs(columns[inside].max() - 125) <= 1
    assert abs(rows[inside].max() - 125) <= 1


def test_pictures_with_boxes_come_first_and_the_seed_decides(tmp_path: Path) -> None:
    labels = {f"{number:02}": (ROW if number % 2 else "") for number in range(20)}
    dataset = load_dataset(yolo(tmp_path, labels))
    first, again, other = (contact_sheet(dataset, 4, seed=seed, tile=64) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert contact_sheet(dataset, 100, tile=64).shape == (4 * 92 + 8, 5 * 72 + 8, 3)


def test_a_picture_that_cannot_be_read_gets_an_empty_tile(tmp_path: Path) -> None:
    dataset = load_dataset(yolo(tmp_path, {"a": ROW}))
    dataset.split()[0].image.write_bytes(b"no picture")
    sheet = contact_sheet(dataset, 1, tile=64)
    assert (sheet[8:72, 8:72] == 127).all()
    assert (sheet[72:92] < 100).any()


def test_sheets_that_cannot_be(tmp_path: Path) -> None:
    dataset = load_dataset(yolo(tmp_path, {"a": ROW}))
    with pytest.raises(UsageError, match="0 pictures"):
        contact_sheet(dataset, 0)
    with pytest.raises(UsageError, match="no split test"):
        contact_sheet(dataset, split="test")


def texts(figure: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(figure).iter() if element.tag.endswith("text")]


def test_the_figure_tells_numbers_and_names(tmp_path: Path) -> None:
    names = ("cat", "<b>dog</b>", "bird")
    yolo(tmp_path, {"a": f"{ROW}\n0 0.5 0.5 0.9 0.9", "b": ""}, names=names)
    data = yolo(tmp_path, {"c": ROW}, split="val", names=names)
    words = texts(distribution_figure(load_dataset(data)))
    assert words[0] == "3 pictures, 3 boxes, 3 classes"
    assert "train: 2 pictures" in words
    assert [word for word in words if word in names] == ["<b>dog</b>", "cat", "bird"]
    assert {"Boxes of each class", "Boxes a picture"} <= set(words)


def test_many_classes_share_the_last_bar(tmp_path: Path) -> None:
    names = tuple(f"class {index}" for index in range(100))
    rows = "".join(f"{index} 0.5 0.5 {0.2 + index / 200} 0.5\n" for index in range(100))
    words = texts(distribution_figure(load_dataset(yolo(tmp_path, {"a": rows}, names=names))))
    assert "71 others" in words


@pytest.mark.parametrize("fresh", [True, False])
def test_the_figure_has_no_script_and_nothing_from_outside(tmp_path: Path, fresh: bool) -> None:
    figure = distribution_figure(load_dataset(coco(tmp_path) if fresh else yolo(tmp_path, {"a": ROW})))
    assert "script" not in figure
    assert figure.count("http") == figure.count("http://www.w3.org/2000/svg") == 1


def test_real_data_makes_figures(shared: Path) -> None:
    dataset = load_dataset(shared / "coco128" / "instances.json")
    assert texts(distribution_figure(dataset))[0] == "128 pictures, 939 boxes, 80 classes"
    assert contact_sheet(dataset, 4, tile=128).std() > 20
