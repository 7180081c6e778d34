"""data.yaml: names, splits, paths, class maps, and what it must never do (FAULTS 33 to 40)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yolov3.data import check_dataset, load_dataset
from yolov3.errors import DataError, UsageError

from .makers import NAMES, ROW, codes, found, write_picture, yolo


def with_yaml(root: Path, text: str) -> Path:
    """A dataset of one picture whose data.yaml is `text`."""
    data = yolo(root, {"a": ROW})
    data.write_text(text)
    return data


HEAD = "train: images/train\n"
USUAL = HEAD + "names: [cat, dog, bird]\n"


def test_names_as_a_list_or_a_mapping(tmp_path: Path) -> None:
    assert load_dataset(with_yaml(tmp_path, USUAL)).names == NAMES
    mapping = HEAD + "names:\n  1: dog\n  0: cat\n  2: bird\nnc: 3\n"
    assert load_dataset(with_yaml(tmp_path, mapping)).names == NAMES


def test_a_folder_stands_for_its_data_yaml(tmp_path: Path) -> None:
    yolo(tmp_path, {"a": ROW})
    assert load_dataset(tmp_path).kind == "yolo"


@pytest.mark.parametrize("path", ["nowhere", "notes.txt", "."])
def test_what_is_no_dataset_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"expected a data\.yaml"):
        load_dataset(tmp_path / path)


def test_fault_33_download_is_never_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    data = with_yaml(tmp_path, USUAL + f"download: |\n  import os\n  os.system('touch {canary}')\n")
    report = check_dataset(data)
    assert codes(report, "note") == ["download-ignored", "class-absent", "class-absent"]
    assert report.exit_code == 0
    load_dataset(data)
    assert not canary.exists()


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system ['touch canary']", "!include x", "!!python/name:os.system"]
)
def test_fault_34_tags_are_refused_with_their_line(tmp_path: Path, tag: str) -> None:
    data = with_yaml(tmp_path, USUAL + f"path: {tag}\n")
    with pytest.raises(DataError, match=r"data\.yaml:3: ") as error:
        load_dataset(data)
    assert "\n" not in str(error.value)
    assert found(data, "description")[0].startswith("data.yaml:3: ")


def test_fault_35_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 30)]
    data = with_yaml(tmp_path, USUAL + "\n".join(levels))
    assert "anchors and aliases" in found(data, "description")[0]


def test_fault_35_a_huge_or_deep_data_yaml_is_refused(tmp_path: Path) -> None:
    data = with_yaml(tmp_path, USUAL + "path: " + "[" * 5000)
    assert len(found(data, "description")) == 1
    data.write_text(USUAL + "#" * (1 << 20))
    assert "expected at most" in found(data, "description")[0]


def test_fault_36_a_misspelt_key_names_the_right_one(tmp_path: Path) -> None:
    data = with_yaml(tmp_path, USUAL + "vall: images/train\n")
    assert found(data, "unknown-key") == ["data.yaml:3: unknown key “vall”, expected val: correct it"]


def test_fault_36_other_tools_keys_are_only_noted(tmp_path: Path) -> None:
    data = with_yaml(tmp_path, USUAL + "roboflow:\n  workspace: x\nkpt_shape: [17, 3]\n")
    report = check_dataset(data)
    assert report.exit_code == 0
    assert codes(report, "note")[:2] == ["extra-key", "extra-key"]


@pytest.mark.parametrize(
    ("entry", "code", "line", "words"),
    [
        ("names: [yes, no]", "names", 2, "quote it"),
        ("names: [cat, .nan]", "names", 2, "write it in quotes"),
        ("names: [cat, 1]", "names", 2, "the number “1”"),
        ("names: 3", "names", 2, "expected a list"),
        ("names: [cat, [dog]]", "names", 2, "a list"),
        ("names: [cat, dog, bird]\nnc: true", "wrong-type", 3, "nc: true"),
        ("names: [cat, dog, bird]\nnc: 3.0", "wrong-type", 3, "expected 3"),
        ("names: [cat, dog, bird]\npath: [x]", "wrong-type", 3, "expected a folder"),
        ("names: [cat, dog, bird]\nval: {a: b}", "wrong-type", 3, "val: a mapping"),
        ("names: [cat, dog, bird]\nval:\n  - images/train\n  - 3", "wrong-type", 5, "the number “3”"),
    ],
)
def test_fault_37_wrong_types(tmp_path: Path, entry: str, code: str, line: int, words: str) -> None:
    data = with_yaml(tmp_path, HEAD + entry + "\n")
    lines = found(data, code)
    assert lines[0].startswith(f"data.yaml:{line}: ")
    assert words in lines[0]
    with pytest.raises(DataError):
        load_dataset(data)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("names: [cat, dog, bird]\nnc: 4", "nc: 4, but names has 3"),
        ("names: [cat, dog, cat]", "“cat” is class 0 and 2"),
        ("names: [cat, '', dog]", "class 1 is an empty"),
        ("names: []", "no class names"),
        ("nc: 3", "no class names"),
        ("names: {0: cat, 2: dog}", "without gaps"),
        ("names: {'0': cat, '1': dog}", "without gaps"),
        ('names: ["cat\\nfish", dog, bird]', "unprintable"),
    ],
)
def test_fault_38_names_that_cannot_be(tmp_path: Path, entry: str, words: str) -> None:
    assert words in found(with_yaml(tmp_path, HEAD + entry + "\n"), "names")[0]


def test_fault_38_a_million_names_are_refused_by_size(tmp_path: Path) -> None:
    data = with_yaml(tmp_path, HEAD + "names: [" + "a," * 1_000_000 + "]")
    assert "expected at most" in found(data, "description")[0]


def test_fault_39_a_missing_split_says_where_it_looked(tmp_path: Path) -> None:
    data = with_yaml(tmp_path, USUAL + "val: images/nowhere\n")
    assert found(data, "split-missing") == [
        f"data.yaml:3: val: “images/nowhere” isn't there, looked for “{tmp_path}/images/nowhere”: correct the path"
    ]


def test_fault_39_train_and_val_overlap_is_counted(tmp_path: Path) -> None:
    data = with_yaml(tmp_path, USUAL + "val: images/train\n")
    assert found(data, "split-overlap")[0].startswith("data.yaml: 1 of val's 1 pictures are in train too")
    assert load_dataset(data).split("val")[0].labels.tolist() == [1]


@pytest.mark.parametrize("name", ["two words", "größe_猫", "50%{x}{}", "-rf", "a'b\"c", "#hash", "line\nbreak"])
def test_fault_39_folders_of_any_name(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    data = yolo(root, {name: ROW})
    sample = load_dataset(data).split("train")[0]
    assert sample.image_id == name
    assert sample.labels.tolist() == [1]
    assert all("\n" not in str(problem) for problem in check_dataset(data).problems)


def test_fault_39_a_path_with_nul_or_of_enormous_length(tmp_path: Path) -> None:
    assert found(with_yaml(tmp_path, USUAL + 'val: "a\\0b"\n'), "wrong-type")
    assert found(with_yaml(tmp_path, USUAL + f"val: {'x' * 5000}\n"), "split-missing")


@pytest.mark.parametrize("entry", ["$HOME", "${HOME}", "%HOME%", "~", "$(touch canary)", "`touch canary`"])
def test_fault_40_nothing_is_expanded(tmp_path: Path, entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    write_picture(elsewhere / "images" / "x.png")
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.chdir(tmp_path)
    data = with_yaml(tmp_path / "set", USUAL + f"val: '{entry}/images'\n")
    assert f"“{entry}/images” isn't there" in found(data, "split-missing")[0]
    assert not list(tmp_path.rglob("canary"))


def test_path_counts_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    yolo(tmp_path / "set", {"a": ROW})
    (tmp_path / "conf").mkdir()
    data = tmp_path / "conf" / "pets.yaml"
    data.write_text("path: ../set\n" + USUAL)
    monkeypatch.chdir("/")
    assert len(load_dataset(data)) == 1
    data.write_text(f"path: {tmp_path}/set\n" + USUAL)
    assert len(load_dataset(data)) == 1


def test_a_path_that_leads_nowhere_falls_back_to_the_files_folder(tmp_path: Path) -> None:
    data = with_yaml(tmp_path, "path: ../datasets/pets\n" + USUAL)
    assert codes(check_dataset(data), "warning") == ["root-missing"]
    assert len(load_dataset(data)) == 1


def test_roboflows_paths_lead_into_the_folder(tmp_path: Path) -> None:
    """Its exports say `../train/images` beside a folder train."""
    write_picture(tmp_path / "train" / "images" / "a.png")
    (tmp_path / "train" / "labels").mkdir()
    (tmp_path / "train" / "labels" / "a.txt").write_text(ROW)
    data = tmp_path / "data.yaml"
    data.write_text("train: ../train/images\nnames: [cat, dog]\n")
    assert load_dataset(data).split("train")[0].labels.tolist() == [1]


def test_lists_and_several_folders(tmp_path: Path) -> None:
    yolo(tmp_path, {"a": ROW, "b": ROW})
    yolo(tmp_path, {"c": ROW}, split="more")
    (tmp_path / "list.txt").write_text(f"./images/train/b.png\n\nimages/train/a.png\r\n{tmp_path}/images/more/c.png\n")
    data = tmp_path / "data.yaml"
    data.write_text("train: list.txt\nval: [images/train, images/more]\nnames: [cat, dog, bird]\n")
    dataset = load_dataset(data)
    assert [sample.image.name for sample in dataset.samples["train"]] == ["b.png", "a.png", "c.png"]
    assert [sample.image_id for sample in dataset.samples["val"]] == ["train/a", "train/b", "more/c"]


def test_relative_paths_stay_relative_and_mix_with_absolute_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yolo(tmp_path, {"a": ROW, "b": "0 nan 0 0 0"})
    monkeypatch.chdir(tmp_path)
    assert load_dataset("data.yaml", bad_labels="skip-row").split("train")[0].image_id == "a"
    with pytest.raises(DataError, match=r"^labels/train/b\.txt:1: "):
        load_dataset("data.yaml")
    Path("list.txt").write_text(f"images/train/a.png\n{tmp_path}/images/train/b.png\n")
    Path("data.yaml").write_text("train: list.txt\nnames: [cat, dog, bird]\n")
    ids = [sample.image_id for sample in load_dataset("data.yaml", bad_labels="skip-row").split("train")]
    assert ids == ["images/train/a", f"{tmp_path}/images/train/b".lstrip("/")]


def test_a_list_names_its_missing_pictures(tmp_path: Path) -> None:
    yolo(tmp_path, {"a": ROW})
    (tmp_path / "list.txt").write_text("images/train/a.png\nimages/train/gone.png\n")
    (tmp_path / "data.yaml").write_text("train: list.txt\nnames: [cat, dog, bird]\n")
    assert found(tmp_path, "picture-missing")[0].startswith("list.txt:2: “images/train/gone.png” isn't there")


def test_one_split_is_read_without_looking_at_the_others(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"a": ROW})
    yolo(tmp_path, {"b": "7 bad"}, split="val")
    assert list(load_dataset(data, split="train").samples) == ["train"]
    with pytest.raises(DataError, match=r"b\.txt:1"):
        load_dataset(data)
    with pytest.raises(UsageError, match="no split test"):
        load_dataset(data, split="test")


def test_split_without_a_name_is_the_one_to_score_on(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"a": ROW})
    assert load_dataset(data).split()[0].image_id == "a"
    yolo(tmp_path, {"b": ROW}, split="val")
    assert load_dataset(data).split()[0].image_id == "b"
    with pytest.raises(UsageError, match="no split test, it has train, val"):
        load_dataset(data).split("test")


def test_classes_are_renamed_merged_and_dropped(tmp_path: Path) -> None:
    rows = "".join(f"{label} 0.{label + 1} 0.5 0.1 0.1\n" for label in range(4))
    data = yolo(tmp_path, {"a": rows}, names=("car", "person", "truck", "bus"))
    data.write_text(data.read_text() + "classes:\n  car: vehicle\n  truck: vehicle\n  3: ~\n")
    dataset = load_dataset(data)
    assert dataset.names == ("vehicle", "person")
    sample = dataset.split("train")[0]
    assert sample.labels.tolist() == [0, 1, 0]
    assert sample.objects.rows.tolist() == [1, 2, 3]
    assert sample.boxes[:, 0] == pytest.approx([10, 30, 50])
    report = check_dataset(data)
    assert report.exit_code == 0
    assert report.splits["train"].classes == (2, 1)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("kat: dog", "no class “kat” in names: did you mean “cat”?"),
        ("cat: [dog]", "becomes a list"),
        ("cat: no", "becomes false"),
        ("9: dog", "no class “9”"),
    ],
)
def test_class_maps_that_cannot_be(tmp_path: Path, entry: str, words: str) -> None:
    assert words in found(with_yaml(tmp_path, USUAL + f"classes: {{{entry}}}\n"), "remap")[0]


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "names: [cat\n", "\0", "a: b: c"])
def test_what_is_no_mapping_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    data = with_yaml(tmp_path, text)
    assert len(found(data, "description")) == 1
    with pytest.raises(DataError) as error:
        load_dataset(data)
    assert "\n" not in str(error.value)


def test_a_data_yaml_that_is_no_text(tmp_path: Path) -> None:
    data = with_yaml(tmp_path, "")
    data.write_bytes(USUAL.encode("utf-16"))
    assert "not UTF-8" in found(data, "description")[0]
    data.write_bytes(b"\xef\xbb\xbf" + USUAL.replace("\n", "\r\n").encode())
    assert codes(check_dataset(data)) == []


WHOLE_YAML = b"""path: .
train: images/train
val: [images/train, images/train]
names: {0: cat, 1: dog, 2: bird}
nc: 3
classes: {cat: pet, dog: ~}
"""


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_mutated_data_yaml_never_crashes_the_check(tmp_path: Path, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(WHOLE_YAML)))
    stop = data.draw(st.integers(start, min(start + 20, len(WHOLE_YAML))))
    words = st.one_of(
        st.binary(max_size=8), st.sampled_from([b"no", b"[", b"&a", b"*a", b"!!x", b"1.0", b"\n- ", b": "])
    )
    file = yolo(tmp_path, {"a": ROW}) if not (tmp_path / "data.yaml").exists() else tmp_path / "data.yaml"
    file.write_bytes(WHOLE_YAML[:start] + data.draw(words) + WHOLE_YAML[stop:])
    report = check_dataset(file, labels_only=True)
    json.dumps(report.to_dict(), allow_nan=False)
    assert all("\n" not in str(problem) for problem in report.problems)


@pytest.mark.skipif(os.name != "posix", reason="pipes by name are POSIX's")
def test_a_pipe_in_place_of_a_data_yaml_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "data.yaml")
    with pytest.raises(DataError):
        load_dataset(tmp_path / "data.yaml")
