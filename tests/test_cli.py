"""The command line, end to end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import cv2
import numpy as np
import pytest

import yolov3
from conftest import CliResult
from models import random_model, small_spec

Cli = Callable[..., CliResult]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_first_command(cli: Cli, tmp_path: Path) -> None:
    result = cli("detect")
    assert result.code == 0 and result.err == ""
    lines = result.out.splitlines()
    assert lines[0].split() == ["picture", "size", "objects", "ms"]
    assert any("cup.jpg" in line and "600×400" in line and "1 cup" in line for line in lines)
    assert lines[-1] == "results are in runs/detect/exp"
    saved = sorted((tmp_path / "runs/detect/exp").iterdir())
    assert len(saved) == len(yolov3.zoo.sample_photos())
    assert all(cv2.imread(str(path)) is not None for path in saved)


def test_every_run_has_a_folder_of_its_own(cli: Cli, photo: Path, tmp_path: Path) -> None:
    for expected in ("runs/detect/exp", "runs/detect/exp2", "runs/detect/exp3"):
        assert cli("detect", photo).out.strip().endswith(expected)


def test_output_takes_a_new_or_empty_folder_and_never_mixes(cli: Cli, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    cli("detect", photo, "--output", "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["cup.jpg"]
    assert "mine2" in cli("detect", photo, "--output", "mine").out


def test_an_input_is_never_overwritten(cli: Cli, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    own = tmp_path / "photos" / "cup.jpg"
    shutil.copy(photo, own)
    result = cli("detect", own, "--output", "photos")
    assert result.code == 0 and "photos2" in result.out
    assert own.read_bytes() == photo.read_bytes()


def test_pictures_of_one_name_from_two_folders(cli: Cli, photo: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(photo, tmp_path / folder / "cup.jpg")
    cli("detect", "a", "b", "--output", "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cup-2.jpg", "cup.jpg"]


def test_json_lines(cli: Cli, photo: Path, tmp_path: Path) -> None:
    result = cli("detect", photo, "--json", "boxes.jsonl", "--no-save")
    assert result.code == 0 and not (tmp_path / "runs").exists()
    (record,) = [json.loads(line) for line in (tmp_path / "boxes.jsonl").read_text().splitlines()]
    assert (record["image"], record["width"], record["height"]) == (str(photo), 600, 400)
    (found, *_) = record["detections"]
    assert set(found) == {"box", "score", "label", "class_id"}
    assert found["label"] == "cup" and found["class_id"] == 41 and found["score"] > 0.6
    x1, y1, x2, y2 = found["box"]
    assert 0 <= x1 < x2 <= 600 and 0 <= y1 < y2 <= 400


def test_json_on_standard_output_is_nothing_but_json(cli: Cli, photo: Path) -> None:
    result = cli("detect", photo, photo, "--json", "-", "--no-save")
    assert [json.loads(line)["image"] for line in result.out.splitlines()] == [str(photo)] * 2
    assert "cup.jpg" in result.err


def test_a_bad_picture_is_named_and_skipped_and_the_rest_goes_on(cli: Cli, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(photo, folder / "b.jpg")
    (folder / "a.jpg").write_text("<html>")
    (folder / "c.jpg").write_bytes(photo.read_bytes()[:9000])
    result = cli("detect", folder, "--json", "out.jsonl")
    assert result.code == 3
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [("error" in record, Path(record["image"]).name) for record in records] == [
        (True, "a.jpg"),
        (False, "b.jpg"),
        (True, "c.jpg"),
    ]
    assert "a.jpg" in result.err and "c.jpg" in result.err and "Traceback" not in result.err
    assert "1 picture (2 could not be read)" in result.out
    assert len(list((tmp_path / "runs/detect/exp").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["detect", "none.jpg"], 3, "none.jpg: no such file"),
        (["detect", "https://a.b/c.jpg"], 2, "nothing is read from the network"),
        (["detect", "--conf", "2"], 2, "conf is 2.0, expected a number from 0 to 1"),
        (["detect", "--conf", "high"], 2, "--conf"),
        (["detect", "--size", "100"], 2, "multiple of 32"),
        (["detect", "--overlap", "0.3"], 2, "--overlap goes with --tile"),
        (["detect", "--model", "none"], 4, "no such model"),
        (["detect", "--classes", "unicorn"], 2, "unicorn"),
        (["detect", "--engine", "tpu"], 2, "tpu"),
        (["detect", "--batch", "0"], 2, "--batch 0"),
        (["detect", "--nothing"], 2, "--nothing"),
        (["show", "yolov9"], 4, "yolov9"),
        (["show", "yolov3", "--size", "100"], 2, "multiple of 32"),
        (["show", "yolov3", "--size", "0"], 2, "multiple of 32"),
        (["convert", "a.cfg"], 2, "expected IN OUT"),
        (["convert", "a.cfg", "b.weights", "c.bin"], 2, ".safetensors"),
        (["convert", "a.cfg", "b.weights", "c.safetensors"], 4, "a.cfg: can't be read"),
        (["fly"], 2, "fly"),
    ],
)
def test_errors_are_one_line_with_an_exit_code(cli: Cli, arguments: list[str], code: int, words: str) -> None:
    result = cli(*arguments)
    assert result.code == code
    assert result.err.startswith("yolov3: error: ") and words in result.err
    assert result.err.count("\n") == 1 and result.out == ""


def test_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    from yolov3.cli import main

    with pytest.raises(yolov3.ModelError, match="no such model"):
        main(["detect", "--model", "none", "--debug"])


def test_nothing_is_left_when_a_run_fails(cli: Cli, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    result = cli("detect", photo, "--json", "boxes.jsonl")
    assert result.code == 1 and "runs/detect/exp: the folder can't be made" in result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


def test_convert_and_detect_with_the_result(cli: Cli, tmp_path: Path) -> None:
    model = random_model(small_spec())
    model.save("full.safetensors")
    assert cli("convert", "full.safetensors", "half.safetensors", "--half", "--resize", "stretch").code == 0
    half = yolov3.Model.load("half.safetensors")
    assert half.preprocess.resize == "stretch" and half.tensors["0.conv.weight"].dtype == np.float16
    cv2.imwrite("grey.png", np.full((40, 60, 3), 90, np.uint8))
    result = cli("detect", "grey.png", "--model", "half.safetensors", "--conf", "0.01")
    assert result.code == 0 and (tmp_path / "runs/detect/exp/grey.png").is_file()


def test_convert_never_writes_over_its_input(cli: Cli) -> None:
    random_model(small_spec()).save("m.safetensors")
    before = Path("m.safetensors").read_bytes()
    result = cli("convert", "m.safetensors", "./m.safetensors", "--half")
    assert result.code == 2 and "never changed" in result.err
    assert Path("m.safetensors").read_bytes() == before


def test_show_a_model_file(cli: Cli) -> None:
    random_model(small_spec(), size_wh=(96, 64)).save("m.safetensors")
    result = cli("show", "m.safetensors")
    assert result.code == 0 and "96×64" in result.out and "SPP" in result.out
    assert json.loads(cli("show", "m.safetensors", "--json").out)["layers"][0]["inputs"] == [1, 3, 64, 96]


def test_help_has_an_example_for_every_command(cli: Cli) -> None:
    """Groups' commands too; no example uses an option that isn't there."""
    from yolov3.cli import COMMANDS, app

    def check(command: click.Command, *names: str) -> None:
        text = " ".join(cli(*names, "--help").out.split())
        (example,) = re.findall(r"Example: yolov3 (.*?) Options:", text)
        assert example.split()[: len(names)] == list(names)
        known = {option for parameter in command.params for option in parameter.opts}
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                below = command.get_command(click.Context(command), name)
                assert below is not None
                check(below, *names, name)
        else:
            assert {word for word in example.split() if word.startswith("--")} <= known, example

    for name in COMMANDS:
        command = app.get_command(click.Context(app), name)
        assert command is not None and name in cli("--help").out
        check(command, name)
    assert "Example: yolov3 " in cli("--help").out
    assert cli("--version").out.strip() == f"yolov3 {yolov3.__version__}"


def test_fault_129_a_closed_pipe_and_an_ascii_terminal(photo: Path) -> None:
    command = f"{sys.executable} -m yolov3 detect {photo} {photo} --json - --no-save 2>/dev/null | head -c 10"
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii:backslashreplace", "NO_COLOR": "1"}
    result = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, check=False)
    assert "Traceback" not in result.stderr and result.stdout == '{"image": '


def test_fault_129_an_encoding_without_the_letters() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for arguments in (["show", "yolov3-tiny"], ["detect", "naïve.jpg"]):
        command = [sys.executable, "-m", "yolov3", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert "Traceback" not in result.stderr
        assert r"\xd7" in result.stdout or r"na\xefve.jpg" in result.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_fault_129_closed_streams(closed: str, photo: Path, tmp_path: Path) -> None:
    command = f"{sys.executable} -m yolov3 detect {photo} --json r.jsonl --no-save {closed}"
    assert subprocess.run(command, shell=True, cwd=tmp_path, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert json.loads((tmp_path / "r.jsonl").read_text())["detections"]


def test_fault_129_a_reader_that_has_gone() -> None:
    command = [sys.executable, "-m", "yolov3", "show", "yolov3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
