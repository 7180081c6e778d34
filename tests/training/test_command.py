"""`yolov3 train` from the command line: options, outputs, plan, resume."""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from conftest import CliResult
from yolov3.cli.train import train
from yolov3.modelfile import Model
from yolov3.training.board import SCALARS
from yolov3.training.settings import Settings

from .worlds import TINY, make_world

Cli = Callable[..., CliResult]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    return make_world(tmp_path / "world")


@pytest.fixture
def quick(tmp_path: Path) -> list[str]:
    """A tiny network, and few steps."""
    return ["--model", str(tmp_path / "tiny.yaml"), "--size", "64", "--batch", "4", "--epochs", "2", "--threads", "1"]


def test_a_training_and_what_it_leaves(world: Path, quick: list[str], tmp_path: Path, cli: Cli) -> None:
    run = tmp_path / "run"
    result = cli("train", world, *quick, "--output", run)
    assert result.code == 0, result.err
    assert [line.split()[:2] for line in result.out.splitlines()] == [["epoch", "1"], ["epoch", "2"]]
    assert f"yolov3 detect --model {run / 'best.safetensors'}" in result.err
    found = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert found >= {
        *("best.safetensors", "last/training.safetensors", "last/model.safetensors", "args.yaml"),
        *("metrics.csv", "metrics.jsonl", "curves.svg", "batch.jpg", "evaluation/card.html", "validation/00-000.jpg"),
    }
    arguments = yaml.safe_load((run / "args.yaml").read_text())
    assert arguments["settings"]["seed"] == 0 and len(arguments["data"]["sha256"]) == 64
    assert set(arguments["versions"]) == {"yolov3", "torch", "numpy", "python"}
    model = Model.load(run / "best.safetensors")
    assert model.names == ("square", "disc") and model.source["training"]["data"] == "data.yaml"
    picture = world.parent / "images/val/000.png"
    assert cli("detect", picture, "--model", run / "best.safetensors", "--no-save", "--threads", "1").code == 0


def test_resume_raises_epochs_and_takes_little_else(world: Path, quick: list[str], tmp_path: Path, cli: Cli) -> None:
    run = tmp_path / "run"
    assert cli("train", world, *quick, "--output", run).code == 0
    finished = cli("train", "--resume", run)
    assert finished.code == 2 and "is finished with 2 epochs; give --epochs" in finished.err
    refused = cli("train", "--resume", run, "--batch", "3")
    assert refused.code == 2 and "--batch can't be given with --resume" in refused.err
    assert cli("train", world, "--resume", run).code == 2
    assert cli("train", "--resume", run, "--epochs", "3", "--threads", "1").code == 0
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_plan_alone_writes_nothing(world: Path, quick: list[str], tmp_path: Path, cli: Cli) -> None:
    result = cli("train", world, *quick, "--plan", "--output", tmp_path / "run")
    assert result.code == 0 and not result.out
    assert "pictures/s" in result.err and "for 2 epochs; memory" in result.err
    assert not (tmp_path / "run").exists()


def test_faults_94_130_and_131_a_name_is_never_taken_twice(
    world: Path, quick: list[str], tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    quick[quick.index("--epochs") + 1] = "1"
    for _ in range(2):
        assert cli("train", world, *quick).code == 0
    assert sorted(path.name for path in (tmp_path / "runs/train").iterdir()) == ["exp", "exp2"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "DATA is missing"),
        (["nowhere.yaml"], 3, "nowhere.yaml: isn't there"),
        (["{world}", "--epochs", "0"], 2, "--epochs 0: expected 1 or more"),
        (["{world}", "--rate", "0"], 2, "--rate 0.0: expected a number above 0"),
        (["{world}", "--cache", "-1"], 2, "--cache -1.0: expected a number from 0"),
        (["{world}", "--rate", "nan"], 2, "--rate nan: expected a number above 0"),
        (["{world}", "--size", "100"], 4, "must be a multiple of 32"),
        (["{world}", "--freeze", "all"], 2, "--freeze all: expected backbone or a number of rows"),
        (["{world}", "--freeze", "99"], 2, "nothing is left to train"),
        (["{world}", "--set", "mosaik=1"], 2, "--set mosaik=1: expected KEY=VALUE with a key of mosaic"),
        (["{world}", "--set", "mosaic=2"], 2, "mosaic is 2, expected 0 to 1"),
        (["{world}", "--augment", "much"], 2, "--augment much: expected one of none, darknet, modern"),
        (["{world}", "--recipe", "old"], 2, "old"),
        (["{world}", "--scratch", "--start", "yolov3-tiny"], 2, "--scratch and --start"),
        (["{world}", "--device", "cuda:99"], 2, "--device cuda:99"),
        (["{world}", "--model", "nothing.safetensors"], 4, "nothing.safetensors: can't be read"),
        (["--resume", "nowhere"], 2, "nothing was trained there"),
    ],
)
def test_fault_93_what_can_not_be_meant_is_one_line(
    arguments: list[str],
    code: int,
    message: str,
    world: Path,
    tmp_path: Path,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("train", *(word.replace("{world}", str(world)) for word in arguments))
    errors = [line for line in result.err.splitlines() if line.startswith("yolov3: error: ")]
    assert result.code == code and len(errors) == 1 and message in errors[0], result.err
    assert not (tmp_path / "runs").exists()


def test_a_dataset_that_can_not_be_used_leaves_no_folder(
    world: Path, quick: list[str], tmp_path: Path, cli: Cli
) -> None:
    (world.parent / "labels/train/000.txt").write_text("7 0.5 0.5 0.1 0.1\n")
    result = cli("train", world, *quick, "--output", tmp_path / "run")
    assert result.code == 3 and "000.txt:1" in result.err and not (tmp_path / "run").exists()
    assert cli("train", world, *quick, "--bad-labels", "skip-row", "--output", tmp_path / "run").code == 0


def test_options_and_settings_agree_on_the_defaults() -> None:
    usual = Settings()
    options = train.make_context("train", []).params
    names = set(Settings.__dataclass_fields__) & set(options) - {"freeze", "augment"}
    assert {name: options[name] for name in names} == {name: getattr(usual, name) for name in names}
    assert set(Settings.__dataclass_fields__) - names == {"freeze", "augment", "size_wh"}


def test_every_option_of_augmentation_can_be_set(world: Path, quick: list[str], tmp_path: Path, cli: Cli) -> None:
    changes = ["--set", "mosaic=0.5", "--set", "saturation=[0.5, 2]", "--set", "multi_scale=0.25"]
    assert cli("train", world, *quick, *changes, "--output", tmp_path / "run").code == 0
    saved = yaml.safe_load((tmp_path / "run/args.yaml").read_text())["settings"]["augment"]
    assert (saved["mosaic"], saved["saturation"], saved["multi_scale"]) == (0.5, [0.5, 2.0], 0.25)


def test_tensorboard_gets_every_number_of_every_epoch(world: Path, quick: list[str], tmp_path: Path, cli: Cli) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = cli("train", world, *quick, "--tensorboard", "--output", tmp_path / "run")
    assert result.code == 0, result.err
    events = accumulator.EventAccumulator(str(tmp_path / "run/tensorboard")).Reload()
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    for name in SCALARS:
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert found == [(row["epoch"], pytest.approx(row[name], rel=1e-5)) for row in rows]


@pytest.mark.parametrize("when", ["at the start", "later"])
def test_fault_95_a_logger_in_trouble_does_not_stop_the_training(
    when: str, world: Path, quick: list[str], tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Writer:
        def __init__(self, folder: str) -> None:
            if when == "at the start":
                raise OSError(30, "Read-only file system")

        def add_scalar(self, name: str, value: float, step: int) -> None:
            if step == 2:
                raise OSError(28, "No space left on device")

        def flush(self) -> None:
            pass

    module = ModuleType("torch.utils.tensorboard")
    monkeypatch.setattr(module, "SummaryWriter", Writer, raising=False)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    result = cli("train", world, *quick, "--tensorboard", "--output", tmp_path / "run")
    assert result.code == 0 and result.out.count("epoch ") == 2
    assert result.err.count("TensorBoard's files can't be written any more") == 1
    assert ("Read-only file system" if when == "at the start" else "No space left on device") in result.err


def test_without_tensorboard_it_says_what_to_install(
    world: Path, quick: list[str], tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    result = cli("train", world, *quick, "--tensorboard", "--output", tmp_path / "run")
    assert result.code == 1 and "--tensorboard: not installed; pip install tensorboard" in result.err


def test_fault_93_one_picture_of_one_class(world: Path, quick: list[str], tmp_path: Path, cli: Cli) -> None:
    world = make_world(tmp_path / "one", train=1, val=1)
    for label in (world.parent / "labels").rglob("*.txt"):
        label.write_text("0 0.5 0.5 0.5 0.5\n")
    world.write_text(world.read_text().replace("square, disc", "square"))
    result = cli("train", world, *quick, "--output", tmp_path / "run")
    assert result.code == 0 and result.out.count("epoch ") == 2, result.err


def test_fault_94_the_clock_may_jump(
    world: Path, quick: list[str], tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = itertools.cycle([4e9, 0.0, 1e9])
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    result = cli("train", world, *quick, "--save-minutes", "0.0001", "--output", tmp_path / "run")
    assert result.code == 0
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert all(0 <= row["seconds"] < 300 for row in rows)


def test_fault_94_metrics_cut_off_by_a_crash_are_whole_again(
    world: Path, quick: list[str], tmp_path: Path, cli: Cli
) -> None:
    run = tmp_path / "run"
    assert cli("train", world, *quick, "--output", run).code == 0
    for name in ("metrics.csv", "metrics.jsonl"):
        (run / name).write_bytes((run / name).read_bytes()[:-20])
    assert cli("train", "--resume", run, "--epochs", "3", "--threads", "1").code == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    with (run / "metrics.csv").open(newline="") as file:
        assert [float(row["loss"]) for row in csv.DictReader(file)] == [row["loss"] for row in rows]


def test_faults_94_and_131_two_processes_never_get_one_folder(world: Path, quick: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "yolov3", "train", str(world), *quick]
    together = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate(timeout=250)[1] for process in together]
    assert [process.returncode for process in together] == [0, 0], errors
    folders = sorted((tmp_path / "runs/train").iterdir())
    assert [folder.name for folder in folders] == ["exp", "exp2"]
    assert folders[0].joinpath("best.safetensors").read_bytes() == folders[1].joinpath("best.safetensors").read_bytes()
    assert all((folder / "evaluation/card.html").is_file() for folder in folders)


def test_pictures_that_do_not_fit_into_memory_are_said(world: Path, quick: list[str], tmp_path: Path, cli: Cli) -> None:
    result = cli("train", world, *quick, "--plan", "--cache", "0.00003")
    assert "GiB of memory and may take 3e-05" in result.err and "--cache 1 keeps all" in result.err
    assert "GiB of memory" not in cli("train", world, *quick, "--plan").err


def test_a_validation_picture_that_can_not_be_read_is_named_and_left_out(
    world: Path, quick: list[str], tmp_path: Path, cli: Cli
) -> None:
    (world.parent / "images/val/002.png").write_bytes((world.parent / "images/val/002.png").read_bytes()[:300])
    result = cli("train", world, *quick, "--output", tmp_path / "run")
    assert result.code == 3 and "002.png" in result.err and "left out of the val split" in result.err
    assert (tmp_path / "run/evaluation/card.html").is_file()
    for number in (0, 1, 3):
        (world.parent / f"images/val/00{number}.png").write_bytes(b"")
    result = cli("train", world, *quick, "--output", tmp_path / "none")
    assert result.code == 3 and "all pictures of the val split" in result.err and not (tmp_path / "none").exists()


def test_a_picture_that_can_not_be_read_is_named_and_left_out(
    world: Path, quick: list[str], tmp_path: Path, cli: Cli
) -> None:
    (world.parent / "images/train/003.png").write_bytes(b"not a picture")
    result = cli("train", world, *quick, "--output", tmp_path / "run")
    assert result.code == 3 and "003.png" in result.err and "1 picture could not be read" in result.err
    assert (tmp_path / "run/best.safetensors").is_file()


def test_metrics_are_what_was_printed(world: Path, quick: list[str], tmp_path: Path, cli: Cli) -> None:
    result = cli("train", world, *quick, "--output", tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    for line, row in zip(result.out.splitlines(), rows, strict=True):
        assert f"loss {row['loss']:.3f}" in line and f"AP {row['AP']:.4f}" in line
