"""Darknet's .data and .names files."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolov3.data import check_dataset, load_dataset
from yolov3.errors import DataError, UsageError

from .makers import ROW, codes, found, write_picture


def darknet(root: Path, data: str = "classes = 2\ntrain = data/train.txt\nvalid= data/val.txt # x\n") -> Path:
    """Darknet's own layout: cfg/pets.data beside data/."""
    for seed, (stem, split) in enumerate((("a", "train"), ("b", "val"))):
        picture = write_picture(root / "data" / "images" / f"{stem}.jpg", seed=seed)
        label = root / "data" / "labels" / f"{stem}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text(ROW)
        (root / "data" / f"{split}.txt").write_text(f"{picture}\n" if stem == "a" else "data/images/b.jpg\n")
    (root / "data" / "pets.names").write_text("cat\ndog\n")
    (root / "cfg").mkdir(exist_ok=True)
    file = root / "cfg" / "pets.data"
    file.write_text(data.replace(" # x", "") + "names = data/pets.names\nbackup = backup/\n")
    return file


def test_darknets_own_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = darknet(tmp_path)
    monkeypatch.chdir("/")
    dataset = load_dataset(file)
    assert (dataset.kind, dataset.names) == ("darknet", ("cat", "dog"))
    assert [sample.image_id for sample in dataset.split("val")] == ["b"]
    assert dataset.split("train")[0].boxes.tolist() == [[75, 25, 125, 75]]
    assert check_dataset(file).exit_code == 0


def test_voc_folders_as_darknet_labels_them(tmp_path: Path) -> None:
    """`voc_label.py` writes labels/ beside JPEGImages/."""
    file = darknet(tmp_path)
    (tmp_path / "data" / "images").rename(tmp_path / "data" / "JPEGImages")
    for split, stem in (("train", "a"), ("val", "b")):
        (tmp_path / "data" / f"{split}.txt").write_text(f"data/JPEGImages/{stem}.jpg\n")
    assert [len(sample.labels) for members in load_dataset(file).samples.values() for sample in members] == [1, 1]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("classes = 3\ntrain = data/train.txt\n", "names", "cfg/pets.data:1: classes: “3”, but pets.names has 2 names"),
        ("train = data/gone.txt\n", "split-missing", "cfg/pets.data:1: “data/gone.txt” isn't there"),
        ("classes = 2\n", "split-missing", "no `train` or `valid`"),
        ("# a comment\ntrain\n", "description", "cfg/pets.data:2: “train”, expected `key = value`"),
        ("train = data/train.txt\nspeed = 3\n", "extra-key", "cfg/pets.data:2: the key “speed”"),
    ],
)
def test_what_can_be_wrong_with_a_data_file(tmp_path: Path, text: str, code: str, words: str) -> None:
    lines = found(darknet(tmp_path, text), code)
    assert words in f"cfg/{lines[0]}"


def test_names_that_cannot_be(tmp_path: Path) -> None:
    file = darknet(tmp_path)
    (tmp_path / "data" / "pets.names").write_text("cat\n\ncat\n")
    assert codes(check_dataset(file))[:2] == ["names", "names"]
    file.write_text("train = data/train.txt\n")
    with pytest.raises(DataError, match="no `names`"):
        load_dataset(file)


def test_a_pictures_folder_is_not_for_darknet(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only be given for COCO and VOC"):
        load_dataset(darknet(tmp_path), images=tmp_path)
