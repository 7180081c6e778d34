"""`yolov3 benchmark`, with real processes and a network small enough for a test."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import random_model, small_spec
from yolov3.benchmark import Job, run_benchmark
from yolov3.benchmark.machine import describe_machine, measure_peak, peak_memory
from yolov3.benchmark.plan import parse_pictures
from yolov3.benchmark.process import Process
from yolov3.errors import UsageError, Yolov3Error
from yolov3.zoo import sample_photos

Cli = Callable[..., Any]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small model in the current folder, where a trap lies too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("yolov3.benchmark.running.measured_peak", lambda: 1e11)
    random_model(small_spec()).save("small.safetensors")
    Path("ncnn.py").write_text("raise SystemExit('a file of the current folder was run')")
    return "small.safetensors"


def test_every_engine_that_is_installed(cli: Cli, model: str) -> None:
    result = cli("benchmark", "--model", model, "--pictures", "2", "--json", "--chart", "speed.svg")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert found["size"] == [64, 64] and found["pictures"] == 2 and found["rounds"] >= 3
    installed = [name for name, package in (("ncnn", "ncnn"), ("mnn", "MNN")) if find_spec(package)]
    names = [each["name"] for each in found["contenders"]]
    assert set(installed) <= set(names)
    for each in found["contenders"]:
        assert each["load_seconds"] > 0 and each["first_picture_seconds"] > 0 and each["share_of_peak"] > 0
        assert 0 < each["network_seconds"]["low"] <= each["network_seconds"]["median"]
        assert each["end_to_end_seconds"]["median"] > 0
        assert each["peak_memory_bytes"] is None or 20 << 20 < each["peak_memory_bytes"] < 4 << 30
    assert len({each["boxes"] for each in found["contenders"]}) <= 2, "engines agree but for rounding"
    assert Path("speed.svg").read_text(encoding="utf-8").startswith("<svg")


def test_the_table_at_another_size_and_batch(cli: Cli, model: str) -> None:
    words = ["--model", model, "--engines", "ncnn", "--size", "96x64", "--batch", "2", "--pictures", "5"]
    result = cli("benchmark", *words)
    assert result.code == 0, result.err
    assert "96×64, batch 2: 4 pictures a turn" in result.out and "\nncnn " in result.out
    assert "GFLOP/s" in result.out and "numpy" in result.out


def test_opencv_on_the_same_pictures(model: str) -> None:
    import cv2

    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        pytest.skip("this OpenCV reads no Darknet files")
    report = run_benchmark(Job("yolov3-tiny", engines=["ncnn"], against=["opencv"], pictures=sample_photos(), rounds=1))
    ncnn, opencv = report.entries
    assert opencv.peer and ncnn.boxes > 0 and opencv.boxes > 0
    assert abs(ncnn.boxes - opencv.boxes) <= 4, "the same weights, but OpenCV stretches pictures"
    assert report.to_dict()["times_as_fast"]["opencv"]["ncnn"]["median"] > 0


@pytest.mark.skipif(find_spec("ultralytics") is not None, reason="ultralytics is installed")
def test_a_peer_that_is_not_installed(cli: Cli) -> None:
    result = cli("benchmark", "--against", "ultralytics")
    assert result.code == 1 and result.err.count("\n") == 1
    assert "ultralytics" in result.err and "pip install ultralytics" in result.err


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["--engines", "tensorflow"], 2, "'tensorflow'"),
        (["--engines", ""], 2, "engine ''"),
        (["--against", "darknet"], 2, "ultralytics or opencv"),
        (["--batch", "0"], 2, "expected 1 or more"),
        (["--pictures", "0"], 2, "expected 1 to"),
        (["--pictures", "nowhere"], 2, "a number or a folder"),
        (["--size", "417"], 2, "417"),
        (["--chart", "speed.png"], 2, ".svg"),
        (["--model", "nothing.safetensors"], 4, "nothing.safetensors"),
    ],
)
def test_what_can_not_be_meant(cli: Cli, words: list[str], code: int, part: str) -> None:
    result = cli("benchmark", *words)
    assert result.code == code and part in result.err and result.err.count("\n") == 1 and not result.out


def test_a_picture_that_can_not_be_read(cli: Cli, model: str) -> None:
    Path("pictures").mkdir()
    Path("pictures/broken.jpg").write_bytes(b"no picture")
    result = cli("benchmark", "--model", model, "--pictures", "pictures")
    assert result.code == 3 and "broken.jpg" in result.err and result.err.count("\n") == 1


def test_pictures_of_a_folder_and_so_many_photos(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.JPG"):
        shutil.copy(sample_photos()[0], tmp_path / name)
    (tmp_path / "notes.txt").touch()
    assert [path.name for path in parse_pictures(str(tmp_path))] == ["a.JPG", "b.jpg"]
    assert parse_pictures("5")[4] == sample_photos()[0]
    with pytest.raises(UsageError, match="no pictures"):
        (tmp_path / "empty").mkdir()
        parse_pictures(str(tmp_path / "empty"))


def test_a_process_that_dies_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    with Process("ncnn") as process:
        process._process.kill()
        with pytest.raises(Yolov3Error, match=r"ncnn: its process ended with code -?[0-9]+"):
            process.ask("memory")


def test_what_goes_wrong_in_the_process_keeps_its_kind() -> None:
    options = {"reference": "none.safetensors", "weights": None, "size": [64, 64], "engine": "ncnn"}
    with Process("ncnn") as process, pytest.raises(Yolov3Error, match=r"none\.safetensors") as caught:
        process.ask("load", kind="own", first=[], **options)
    assert caught.value.exit_code == 4


def test_memory_is_the_process_own() -> None:
    """A parent's memory is not counted, which `ru_maxrss` would do."""
    held = np.ones(300 << 20, np.uint8)
    code = "from yolov3.benchmark.machine import peak_memory as p; b = p(); x = bytearray(64 << 20); print(b, p())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if "None" in result.stdout:
        pytest.skip("this system doesn't say")
    before, after = map(int, result.stdout.split())
    own = peak_memory()
    assert own is not None and own > held.nbytes > before
    assert after - before > 60 << 20


def test_the_machine() -> None:
    machine = describe_machine()
    assert machine["cores"] >= 1 and machine["processor"] and "numpy" in machine["versions"]
    assert measure_peak(64, 3) > 1e7
