"""Label files of YOLO and Darknet: every bad row named, every good one kept (FAULTS 41 to 51)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from yolov3.data import Problem, check_dataset, load_dataset
from yolov3.data.formats.label_bulk import read_plain
from yolov3.data.formats.label_text import read_label_file
from yolov3.errors import DataError, UsageError

from .makers import NAMES, ROW, codes, found, write_picture, yolo

GOOD = "0 0.25 0.5 0.1 0.2\n"


def one(root: Path, content: str | bytes) -> Path:
    """A dataset whose picture a has this label file; b is sound."""
    return yolo(root, {"a": content, "b": ROW})


def test_boxes_are_pixels_of_the_displayed_picture(tmp_path: Path) -> None:
    sample = load_dataset(one(tmp_path, f"{ROW}\n{GOOD}")).split("train")[0]
    assert sample.size_wh == (200, 100)
    np.testing.assert_allclose(sample.boxes, [[75, 25, 125, 75], [40, 40, 60, 60]])
    assert sample.boxes.dtype == np.float64
    assert sample.labels.tolist() == [1, 0]
    assert sample.labels.dtype == np.int64
    assert not sample.crowd.any()
    assert not sample.difficult.any()
    assert sample.objects.rows.tolist() == [1, 2]
    np.testing.assert_allclose(sample.areas, [2500, 400])
    assert sample.place(1).endswith("labels/train/a.txt:2")


def test_a_decoded_picture_gives_its_own_size(tmp_path: Path) -> None:
    sample = load_dataset(one(tmp_path, ROW)).split("train")[0]
    sample.image.unlink()
    np.testing.assert_allclose(sample.boxes_for((20, 10)), [[7.5, 2.5, 12.5, 7.5]])


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        pytest.param("0 nan 0.5 0.1 0.1", "not-finite", "“nan”", id="41"),
        pytest.param("0 0.5 0.5 inf 0.1", "not-finite", "“inf”", id="41 inf"),
        pytest.param("0 0.5 0.5 -Infinity 0.1", "not-finite", "“-Infinity”", id="41 minus"),
        pytest.param("0 1e30 0.5 0.1 0.1", "outside", "pixels?", id="41 huge"),
        pytest.param("0 1e999 0.5 0.1 0.1", "not-finite", "finite", id="41 overflow"),
        pytest.param("0 0.5 0.5 1e999 1e999", "not-finite", "finite", id="41 overflow twice"),
        pytest.param("0 0.5 0.5 -0.1 0.1", "negative-size", "-0.1×0.1", id="42 negative"),
        pytest.param("0 0.5 0.5 0 0", "zero-area", "0×0", id="42 zero"),
        pytest.param("0 0.5 0.5 0.1 0.0", "zero-area", "0.1×0", id="42 flat"),
        pytest.param("0 0.99 0.5 0.1 0.1", "outside", "reaches out", id="42 right"),
        pytest.param("0 0.5 0.01 0.1 0.1", "outside", "reaches out", id="42 top"),
        pytest.param("0 320 240 64 48", "outside", "are these pixels?", id="42 pixels"),
        pytest.param("-1 0.5 0.5 0.1 0.1", "class-format", "“-1”, expected a whole number from 0 to 2", id="43 minus"),
        pytest.param("1.5 0.5 0.5 0.1 0.1", "class-format", "“1.5”", id="43 fraction"),
        pytest.param("1e0 0.5 0.5 0.1 0.1", "class-format", "“1e0”", id="43 exponent"),
        pytest.param("cat 0.5 0.5 0.1 0.1", "class-format", "“cat”", id="43 word"),
        pytest.param("3 0.5 0.5 0.1 0.1", "class-range", "class 3, expected a whole number from 0 to 2", id="43 range"),
        pytest.param("9223372036854775808 0.5 0.5 0.1 0.1", "class-range", "“9223372036854775808”", id="43 2^63"),
        pytest.param("0 0.5 0.5 0.1", "columns", "4 columns, expected 5", id="44 four"),
        pytest.param("0 0.5 0.5 0.1 0.1 0.9", "columns", "take the score out", id="44 six"),
        pytest.param("0", "columns", "1 column,", id="44 one"),
        pytest.param("0 0.1 0.1 0.2 0.1 0.2 0.2", "segment", "a polygon of 3 points", id="44 segment"),
        pytest.param("0 0.5 0.5 0.1 0.1 # a cat", "columns", "8 columns", id="44 garbage"),
        pytest.param("0 0.5 0.5 0.1 0.1x", "number", "“0.1x”", id="44 stuck garbage"),
        pytest.param("0,0.5,0.5,0.1,0.1", "columns", "1 column", id="44 commas"),
        pytest.param("0 0.5 0.5 0,1 0.1", "number", "“0,1”", id="44 decimal comma"),
        pytest.param("0 1_0 0.5 0.1 0.1", "number", "“1_0”", id="45 underscore"),
        pytest.param("1_0 0.5 0.5 0.1 0.1", "class-format", "“1_0”", id="45 class"),
        pytest.param("0 ０.５ 0.5 0.1 0.1", "number", "“０.５”", id="45 fullwidth"),
        pytest.param("0 ٠.٥ 0.5 0.1 0.1", "number", "“٠.٥”", id="45 arabic"),
        pytest.param("0 0x1p-1 0.5 0.1 0.1", "number", "“0x1p-1”", id="45 hexadecimal"),
        pytest.param("0 0.5\xa00.5 0.1 0.1", "columns", "4 columns", id="45 no-break space"),
    ],
)
def test_fault_41_to_45_bad_rows_are_named_with_their_line(tmp_path: Path, row: str, code: str, words: str) -> None:
    data = one(tmp_path, f"{GOOD}\n{row}\n{ROW}\n")
    lines = found(data, code)
    assert lines[0].startswith("labels/train/a.txt:3: ")
    assert words in lines[0]
    assert set(codes(check_dataset(data))) - {"class-format"} == {code} - {"class-format"}
    with pytest.raises(DataError, match=r"labels/train/a\.txt:3: "):
        load_dataset(data)
    kept = load_dataset(data, bad_labels="skip-row")
    assert kept.samples["train"][0].labels.tolist() == [0, 1]


def test_all_that_is_wrong_with_a_row_is_said(tmp_path: Path) -> None:
    assert codes(check_dataset(one(tmp_path, "7 nan ٠ 0.1 0.1"))) == ["class-range", "not-finite", "number"]
    assert codes(check_dataset(one(tmp_path / "2", "7 0.9 0.5 0.5 0.1"))) == ["class-range", "outside"]


def test_fault_42_a_box_just_outside_is_clipped(tmp_path: Path) -> None:
    data = one(tmp_path, "0 0.5 0.5 1.001 1.0005")
    assert codes(check_dataset(data)) == []
    np.testing.assert_array_equal(load_dataset(data).samples["train"][0].boxes, [[0, 0, 200, 100]])


def test_fault_42_a_box_all_within_the_tolerance_outside_is_refused(tmp_path: Path) -> None:
    assert codes(check_dataset(one(tmp_path, "0 1.0004 0.5 0.0005 0.1"))) == ["outside"]


def test_fault_44_a_nul_byte(tmp_path: Path) -> None:
    assert found(one(tmp_path, f"{GOOD}0 0.5 \0 0.1 0.1"), "label-encoding") == [
        "labels/train/a.txt: a NUL byte in row 2, expected plain text: write the file anew"
    ]


def test_fault_46_duplicate_rows_are_kept_out_and_counted(tmp_path: Path) -> None:
    data = one(tmp_path, f"{ROW}\n{GOOD}1 0.50 .5 2.5e-1 0.5\n{ROW}\n")
    assert found(data, "duplicate") == [
        f"labels/train/a.txt:{line}: the same box as line 1, expected once: take it out" for line in (3, 4)
    ]
    dataset = load_dataset(data)
    assert dataset.samples["train"][0].labels.tolist() == [1, 0]
    assert len(dataset.problems) == 2
    report = check_dataset(data)
    assert (report.splits["train"].boxes, report.splits["train"].unusable) == (5, 2)
    assert report.exit_code == 3


def test_fault_47_an_empty_file_is_background_a_missing_one_is_reported(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"a": "", "b": None, "c": ROW, "d": "\n \r\n"})
    report = check_dataset(data)
    summary = report.splits["train"]
    assert (summary.pictures, summary.background, summary.unlabelled) == (4, 3, 1)
    assert found(data, "missing-label")[0].startswith("images/train/b.png: no label file, taken as background")
    assert report.exit_code == 0
    assert [len(sample.labels) for sample in load_dataset(data).samples["train"]] == [0, 0, 1, 0]


def test_fault_47_a_set_without_any_box_is_an_error(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"a": "", "b": ""})
    assert codes(check_dataset(data)) == ["no-boxes"]
    with pytest.raises(DataError, match="no usable box in 2 pictures"):
        load_dataset(data)


def test_fault_47_no_label_file_at_all_is_an_error(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"a": None, "b": None})
    assert "none of the 2 pictures of train has a label file" in found(data, "no-labels")[0]
    with pytest.raises(DataError, match="none of the 2 pictures"):
        load_dataset(data)


def test_fault_48_byte_order_mark_and_carriage_returns_are_harmless(tmp_path: Path) -> None:
    text = (GOOD + ROW + "\n").encode()
    data = yolo(tmp_path, {"a": b"\xef\xbb\xbf" + text, "b": text.replace(b"\n", b"\r\n"), "c": text})
    samples = load_dataset(data).samples["train"]
    assert len({sample.objects.boxes.tobytes() for sample in samples}) == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_fault_48_utf_16_is_refused(tmp_path: Path, encoding: str) -> None:
    data = one(tmp_path, ROW.encode(encoding))
    assert len(found(data, "label-encoding")) == 1


def test_fault_48_a_label_file_of_a_gigabyte_is_refused_unread(tmp_path: Path) -> None:
    data = one(tmp_path, ROW)
    with (tmp_path / "labels" / "train" / "a.txt").open("wb") as file:
        file.truncate(1 << 30)
    assert "1,073,741,824 bytes, expected at most" in found(data, "label-unreadable")[0]


def test_fault_48_a_row_of_a_megabyte_is_refused(tmp_path: Path) -> None:
    data = one(tmp_path, "0 " + "1" * (1 << 20) + "\n" + ROW)
    assert found(data, "columns")[0].startswith("labels/train/a.txt:1: a row of 1,048,578 bytes")


def test_fault_49_a_label_without_a_picture(tmp_path: Path) -> None:
    data = one(tmp_path, ROW)
    (tmp_path / "labels" / "train" / "lost.txt").write_text(ROW)
    (tmp_path / "labels" / "train" / "classes.txt").write_text("cat\n")
    assert found(data, "label-without-picture") == [
        "labels/train/lost.txt: a label file without a picture, expected one of the same name: add it or take this away"
    ]
    assert len(load_dataset(data)) == 2


def test_fault_49_suffixes_in_capitals(tmp_path: Path) -> None:
    data = one(tmp_path, ROW)
    (tmp_path / "labels" / "train" / "a.txt").rename(tmp_path / "labels" / "train" / "a.TXT")
    (tmp_path / "images" / "train" / "b.png").rename(tmp_path / "images" / "train" / "b.PNG")
    assert found(data, "label-suffix") == ["labels/train/a.TXT: suffix .TXT, expected .txt in small letters: rename it"]
    assert len(found(data, "missing-label")) == 1
    assert [len(sample.labels) for sample in load_dataset(data).samples["train"]] == [0, 1]


def test_fault_49_two_pictures_share_a_label_file(tmp_path: Path) -> None:
    data = one(tmp_path, ROW)
    write_picture(tmp_path / "images" / "train" / "a.jpg", seed=9)
    assert found(data, "shared-label") == [
        "images/train/a.png: shares its label file with a.jpg, expected one picture a label: rename one"
    ]
    with pytest.raises(DataError, match="shares its label file"):
        load_dataset(data, bad_labels="skip-row")
    assert len(load_dataset(data, bad_labels="skip-image")) == 2


@pytest.mark.skipif(os.name != "posix", reason="links and pipes by name are POSIX's")
def test_fault_50_links_folders_and_pipes_do_not_hang(tmp_path: Path) -> None:
    data = one(tmp_path, ROW)
    images, labels = tmp_path / "images" / "train", tmp_path / "labels" / "train"
    (images / "round").symlink_to(images)
    (images / "folder.jpg").mkdir()
    os.mkfifo(images / "pipe.jpg")
    (images / "dangling.jpg").symlink_to(images / "nowhere.jpg")
    (images / "itself.jpg").symlink_to(images / "itself.jpg")
    write_picture(images / "c.png", seed=5)
    os.mkfifo(labels / "c.txt")
    report = check_dataset(data)
    assert sorted(codes(report)) == ["label-unreadable", *["not-a-file"] * 2, *["picture-missing"] * 2]
    assert codes(report, "warning") == ["symlink-loop"]
    assert report.splits["train"].pictures == 3


@pytest.mark.skipif(os.name != "posix", reason="links are POSIX's")
def test_fault_50_a_linked_folder_is_followed(tmp_path: Path) -> None:
    one(tmp_path / "real", ROW)
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "images" / "train").symlink_to(tmp_path / "real" / "images" / "train")
    (tmp_path / "labels" / "train").symlink_to(tmp_path / "real" / "labels" / "train")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat, dog, bird]\n")
    assert [sample.labels.tolist() for sample in load_dataset(tmp_path).samples["train"]] == [[1], [1]]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_fault_50_files_that_cannot_be_read(tmp_path: Path) -> None:
    data = one(tmp_path, ROW)
    (tmp_path / "labels" / "train" / "a.txt").chmod(0)
    assert "can't be read" in found(data, "label-unreadable")[0]


def test_fault_51_bad_labels_policy(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"a": f"{GOOD}0 nan 0 0 0\n9 {ROW[2:]}\n", "b": ROW, "c": "\0", "d": "0 1 1 1"})
    with pytest.raises(DataError) as error:
        load_dataset(data)
    words = r"\(`--bad-labels skip-row` leaves it out; 3 more are wrong: `yolov3 data check` lists all\)$"
    assert re.search(rf"a\.txt:2: .*{words}", str(error.value))
    with pytest.raises(DataError, match=r"NUL byte.*`--bad-labels skip-image` leaves the picture out"):
        load_dataset(data, bad_labels="skip-row")
    dataset = load_dataset(data, bad_labels="skip-image")
    assert [sample.image.stem for sample in dataset.samples["train"]] == ["b"]
    assert sum(problem.severity == "error" for problem in dataset.problems) == 4
    (tmp_path / "labels" / "train" / "c.txt").write_text("")
    dataset = load_dataset(data, bad_labels="skip-row")
    assert [len(sample.labels) for sample in dataset.samples["train"]] == [1, 1, 0, 0]
    with pytest.raises(UsageError, match="expected one of error, skip-row, skip-image"):
        load_dataset(data, bad_labels="ignore")  # type: ignore[arg-type]


def test_only_the_split_that_is_asked_for_must_be_sound(tmp_path: Path) -> None:
    yolo(tmp_path, {"a": "0 nan 0 0 0\n"}, split="train")
    data = yolo(tmp_path, {"b": ROW}, split="val")
    assert list(load_dataset(data, split=("val", "test")).samples) == ["val"]
    with pytest.raises(DataError, match="nan"):
        load_dataset(data, split=("test", "train"))
    with pytest.raises(DataError, match="nan"):
        load_dataset(data, split=("test",))  # it has none of these: all
    with pytest.raises(UsageError, match="no split test"):
        load_dataset(data, split="test")


def test_labels_beside_the_pictures(tmp_path: Path) -> None:
    """As AlexeyAB's Darknet examples have them, in a folder called obj, or even images."""
    for folder in ("obj", "images"):
        write_picture(tmp_path / folder / "a.png")
        (tmp_path / folder / "a.txt").write_text(ROW)
        (tmp_path / folder / "classes.txt").write_text("cat\ndog\n")
        (tmp_path / "data.yaml").write_text(f"train: {folder}\nnames: [cat, dog]\n")
        report = check_dataset(tmp_path)
        assert report.splits["train"].boxes == 1
        assert report.exit_code == 0


def test_only_the_last_images_in_a_path_becomes_labels(tmp_path: Path) -> None:
    root = tmp_path / "images" / "set"
    assert load_dataset(yolo(root, {"a": ROW})).split("train")[0].label_file == root / "labels" / "train" / "a.txt"


# ------------------------------------------------------------------------------------ two readers, one meaning


def read_slowly(file: Path) -> tuple[list[object], list[Problem]]:
    problems: list[Problem] = []
    objects = read_label_file(file, Path("x.jpg"), "train", NAMES, problems)
    return [objects.boxes.tolist(), objects.labels.tolist(), objects.rows.tolist()], problems


TOKENS = st.sampled_from(
    [
        "0",
        "1",
        "2",
        "3",
        "00",
        "0.5",
        ".25",
        "0.1",
        "1",
        "1.0",
        "5e-1",
        "1e-05",
        "0.",
        "+0.5",
        "-1",
        "nan",
        "1_0",
        "x",
        "٣",
    ]
)
ROWS = st.one_of(
    st.lists(TOKENS, min_size=0, max_size=7).map(" ".join),
    st.sampled_from([ROW, "0 .5 .5 .1 .1", "2  0.5\t0.5 0.2 0.3 ", "1 0.999 0.5 0.1 0.1", "1 0.5 0.5 0.0 0.1"]),
)
TEXTS = st.builds(
    lambda rows, end, last: end.join(rows) + (end if last else ""),
    st.lists(ROWS, max_size=5),
    st.sampled_from(["\n", "\r\n", "\n\n", "\r"]),
    st.booleans(),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(TEXTS.map(str.encode), st.binary(max_size=40)), min_size=1, max_size=6))
@example([b"", ROW.encode(), b"\n", b"0 0.5 0.5 1 1\n0 0.5 0.5 1 1\n"])
def test_reading_many_files_equals_reading_each(tmp_path: Path, contents: list[bytes]) -> None:
    """Neither reader ever crashes, and the fast one gives exactly what the careful one gives, or leaves it to it."""
    files = []
    for number, content in enumerate(contents):
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_bytes(content)
    for file, fast in zip(files, read_plain([str(file) for file in files], len(NAMES)), strict=True):
        slow, problems = read_slowly(file)
        assert all("\n" not in str(problem) for problem in problems)
        if isinstance(fast, bytes):
            assert fast == file.read_bytes()
        else:
            assert fast is not None
            assert not problems
            assert [fast.boxes.tolist(), fast.labels.tolist(), fast.rows.tolist()] == slow


def test_ordinary_files_take_the_fast_way(tmp_path: Path) -> None:
    texts = ["", ROW, ROW + "\n", f"{GOOD}{ROW}", f"{GOOD}{ROW}\n".replace("\n", "\r\n"), "2 0.5 0.5 1e-02 1.000000 \n"]
    files = []
    for number, text in enumerate(texts):
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_bytes(text.encode())
    assert not any(isinstance(fast, bytes) for fast in read_plain([str(file) for file in files], 3))


@pytest.mark.parametrize(
    "text", ["1" * 99_000, "0 " + "1." * 40_000, "0 0.5" * 15_000, "0 0.5 0.5 0.5 0.5\n" * 20_000 + "x"]
)
def test_hostile_rows_take_no_time(tmp_path: Path, text: str) -> None:
    """The patterns must not try many ways to read a long row; the suite's time limit would show it."""
    (tmp_path / "a.txt").write_text(text)
    list(read_plain([str(tmp_path / "a.txt")], 3))
    assert read_slowly(tmp_path / "a.txt")[1]
