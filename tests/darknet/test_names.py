"""Class names beside a cfg, and the official weights under another cfg's masks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import CliResult
from yolov3.darknet import load_cfg, read_names
from yolov3.errors import ModelError
from yolov3.modelfile import Model
from yolov3.runtime.loading import DarknetOptions, load_model
from yolov3.zoo import COCO_NAMES, OfficialWeights, file_sha256

from .engines import load, write
from .family import family_text
from .writer import cfg_text, conv, head, net

Cli = Callable[..., CliResult]
THREE = cfg_text([net(64, 64), conv(8, 3, 2), conv(16, 3, 2), *head((0, 1, 2), 3)])
EIGHTY = cfg_text([net(64, 64), conv(8, 3, 2), *head((0, 1, 2), 80)])
TINY = family_text("yolov3-tiny", divide=16, width=64, height=64)


def names_file(folder: Path, *names: str) -> Path:
    path = folder / "x.names"
    path.write_text("\n".join(names) + "\n")
    return path


def test_given_names_are_used(tmp_path: Path) -> None:
    loaded = load(tmp_path, THREE, names=names_file(tmp_path, "red cell", "white cell", "platelet"))
    assert loaded.model.names == ("red cell", "white cell", "platelet") and not loaded.notes


def test_eighty_classes_are_cocos(tmp_path: Path) -> None:
    loaded = load(tmp_path, EIGHTY)
    assert loaded.model.names == COCO_NAMES and not loaded.notes


def test_other_classes_are_numbered_and_that_is_said(tmp_path: Path) -> None:
    loaded = load(tmp_path, THREE)
    assert loaded.model.names == ("class_0", "class_1", "class_2")
    assert loaded.notes == [f"{tmp_path / 'net.cfg'}: no --names given, classes are called class_0 to class_2"]


def test_detect_with_cfg_weights_and_names(tmp_path: Path, cli: Cli, photo: Path) -> None:
    """The line that the documentation promises."""
    cfg, weights = write(tmp_path, THREE)
    names = names_file(tmp_path, "red cell", "white cell", "platelet")
    options = ("--no-save", "--json", "-", "--conf", "0.05")
    result = cli("detect", "--model", cfg, "--weights", weights, "--names", names, photo, *options)
    assert result.code == 0, result.err
    found = json.loads(result.out.splitlines()[0])
    labels = {detection["label"] for detection in found["detections"]}
    assert labels and labels <= {"red cell", "white cell", "platelet"}
    unnamed = cli("detect", "--model", cfg, "--weights", weights, photo, *options)
    assert unnamed.code == 0 and "classes are called class_0 to class_2" in unnamed.err
    first = json.loads(unnamed.out.splitlines()[0])["detections"][0]
    assert first["label"] == f"class_{first['class_id']}"


def test_names_travel_in_the_model_file_and_can_be_changed(tmp_path: Path, cli: Cli) -> None:
    cfg, weights = write(tmp_path, THREE)
    out = tmp_path / "out.safetensors"
    assert cli("convert", cfg, weights, out, "--names", names_file(tmp_path, "a", "b", "c")).code == 0
    assert Model.load(out).names == ("a", "b", "c")
    renamed = load_model(out, DarknetOptions(names=names_file(tmp_path, "d", "e", "f"))).model
    assert renamed.names == ("d", "e", "f")


@pytest.mark.parametrize("count", [1, 2, 4, 80])
def test_another_number_of_names_is_refused(count: int, tmp_path: Path, cli: Cli) -> None:
    cfg, weights = write(tmp_path, THREE)
    names = names_file(tmp_path, *(f"n{index}" for index in range(count)))
    result = cli("convert", cfg, weights, tmp_path / "out.safetensors", "--names", names)
    assert result.code == 4 and len(result.err.splitlines()) == 1
    assert f"x.names: {count} names, expected 3, the classes of {cfg}" in result.err


@pytest.mark.parametrize(
    "content", ["\ufeffa\nb c\nd\n", "a\r\nb c\r\nd\r\n", " a \n\tb c\nd", "a\nb c\nd\n\n \n\n"], ids=range(4)
)
def test_harmless_names_files(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x.names"
    path.write_bytes(content.encode())
    assert read_names(path) == ("a", "b c", "d")


def test_names_in_any_script(tmp_path: Path) -> None:
    assert read_names(names_file(tmp_path, "Äpfel", "自転車", "🚲")) == ("Äpfel", "自転車", "🚲")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "x.names: empty, expected one class name a line"),
        (b"\n\n", "x.names: empty, expected one class name a line"),
        (b"a\n\nb\n", "x.names:2: a blank line, expected a class name a line"),
        (b"a\nb\na\n", "x.names:3: 'a' again (line 1), expected a class name a line, each once"),
        (b"a\n\x1b[31mred\n", "x.names:2: '\\x1b[31mred' has control characters"),
        (b"a\nb\0c\n", "x.names:2: 'b\\x00c' has control characters"),
        (b"a\n\xff\xfe\n", "x.names:2: not a text file, expected one class name a line"),
        (b"a" * (2 << 20), "larger than 1,048,576 bytes, expected one class name a line"),
        (b"a" * 10_000 + b"\n" + b"a" * 10_000, "a…' again (line 1)"),
    ],
)
def test_bad_names_files(data: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "x.names"
    path.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        read_names(path)
    assert expected in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_missing_names_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no\.names: can't be read \(No such file"):
        read_names(tmp_path / "no.names")


def test_darknets_own_coco_names(shared: Path) -> None:
    names = read_names(shared / "darknet" / "coco.names")
    assert len(names) == 80 and names[:3] == ("person", "bicycle", "car") and names[3] == "motorbike"


# --- masks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A thin tiny network whose weights the registry knows, trained with masks 1,2,3, under a cfg that says 0,1,2."""
    cfg, weights = write(tmp_path, TINY)
    masks = ((3, 4, 5), (1, 2, 3))
    entry = OfficialWeights("yolov3-thin", (), weights.stat().st_size, file_sha256(weights), masks)
    monkeypatch.setattr("yolov3.zoo.registry.OFFICIAL_WEIGHTS", (entry,))
    return cfg, weights


def assert_mask_note(notes: list[str], weights: Path, name: str) -> None:
    assert notes == [
        f"{weights}: the official {name} weights, trained with masks 1,2,3, but the cfg says 0,1,2, "
        "which costs half their AP; give --masks 1,2,3"
    ]


def test_wrong_masks_are_noticed_and_the_fix_works(known: tuple[Path, Path], cli: Cli, tmp_path: Path) -> None:
    cfg, weights = known
    assert_mask_note(load_model(cfg, DarknetOptions(weights)).notes, weights, "yolov3-thin")
    out = tmp_path / "out.safetensors"
    result = cli("convert", cfg, weights, out)
    assert result.code == 0 and result.err.strip().endswith("give --masks 1,2,3")
    assert Model.load(out).spec.anchors.masks == ((0, 1, 2), (3, 4, 5))
    result = cli("convert", cfg, weights, out, "--masks", "1,2,3")
    assert result.code == 0 and result.err == ""
    assert Model.load(out).spec.anchors.masks == ((1, 2, 3), (3, 4, 5))


def test_masks_of_the_other_heads_are_named_too(known: tuple[Path, Path]) -> None:
    cfg, weights = known
    cfg.write_text(cfg.read_text().replace("mask=3,4,5", "mask=2,3,4").replace("mask=0,1,2", "mask=1,2,3"))
    notes = load_model(cfg, DarknetOptions(weights)).notes
    assert len(notes) == 1 and "trained with masks 3,4,5/1,2,3, but the cfg says 2,3,4/1,2,3" in notes[0]
    assert notes[0].endswith("give --masks 3,4,5/1,2,3")
    assert not load_model(cfg, DarknetOptions(weights, masks="3,4,5/1,2,3")).notes


def test_other_weights_get_no_mask_note(known: tuple[Path, Path]) -> None:
    cfg, weights = known
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert not load_model(cfg, DarknetOptions(weights)).notes


def test_right_masks_get_no_note(known: tuple[Path, Path]) -> None:
    cfg, weights = known
    cfg.write_text(cfg.read_text().replace("mask=0,1,2", "mask=1,2,3"))
    assert not load_model(cfg, DarknetOptions(weights)).notes


def test_the_official_tiny_weights_under_the_later_cfg(shared: Path) -> None:
    folder = shared / "darknet"
    weights = folder / "yolov3-tiny.weights"
    loaded = load_model(folder / "yolov3-tiny.cfg", DarknetOptions(weights))
    assert_mask_note(loaded.notes, weights, "yolov3-tiny")
    fixed = load_model(folder / "yolov3-tiny.cfg", DarknetOptions(weights, masks="1,2,3"))
    assert not fixed.notes
    assert fixed.model.spec == load_cfg(folder / "yolov3-tiny-mask123.cfg").spec
    assert not load_model(folder / "yolov3-tiny-mask123.cfg", DarknetOptions(weights)).notes


def test_official_weights_under_another_networks_cfg_are_named(shared: Path) -> None:
    folder = shared / "darknet"
    with pytest.raises(
        ModelError, match=r"missing, first in layer 48 .* is the official yolov3-tiny\.weights, give the"
    ):
        load_model(folder / "yolov3.cfg", DarknetOptions(folder / "yolov3-tiny.weights"))


@pytest.mark.parametrize("masks", ["1,2,3", "3,4,5/1,2,3"])
def test_masks_for_one_head_or_all(masks: str, tmp_path: Path) -> None:
    model = load(tmp_path, TINY, masks=masks).model
    assert model.spec.anchors.masks == ((1, 2, 3), (3, 4, 5))


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ("1,2", "expected 3 indices from 0 to 5"),
        ("1,2,6", "expected 3 indices from 0 to 5"),
        ("-1,2,3", "expected 3 indices from 0 to 5"),
        ("1,2,3/1,2,3/1,2,3", "3 masks, expected one or 2"),
        ("one", "expected indices such as 1,2,3"),
        ("", "expected indices such as 1,2,3"),
        ("1,,3", "expected indices such as 1,2,3"),
    ],
)
def test_wrong_masks_are_a_usage_error(masks: str, expected: str, tmp_path: Path, cli: Cli) -> None:
    cfg, weights = write(tmp_path, TINY)
    result = cli("convert", cfg, weights, tmp_path / "out.safetensors", "--masks", masks)
    assert result.code == 2 and len(result.err.splitlines()) == 1
    assert f"--masks {masks}: " in result.err and expected in result.err


def test_options_of_a_cfg_with_another_model_are_a_usage_error(tmp_path: Path, cli: Cli, photo: Path) -> None:
    cfg, weights = write(tmp_path, TINY)
    for options in (("--weights", weights), ("--masks", "1,2,3")):
        result = cli("detect", photo, *options)
        assert result.code == 2 and "goes with a Darknet .cfg" in result.err
    for model, expected in ((cfg, "needs its weights; give --weights FILE"), (weights, "weights alone don't say")):
        result = cli("detect", photo, "--model", model)
        assert result.code == 2 and expected in result.err


def test_convert_says_what_stands_where(tmp_path: Path, cli: Cli) -> None:
    cfg, weights = write(tmp_path, TINY)
    before = weights.read_bytes()
    out = tmp_path / "out.safetensors"
    for files in ((cfg, out), (cfg, weights), (weights, out), (weights, cfg, out)):
        result = cli("convert", *files)
        assert result.code == 2 and result.err.endswith("its weights, then the output: CFG WEIGHTS OUT\n")
    assert not out.exists() and weights.read_bytes() == before
    result = cli("convert", cfg, weights, out, "--size", "333")
    assert result.code == 2 and "333 must be a multiple of 32" in result.err
