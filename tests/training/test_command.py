"""`yolov3 train` from the command line: options, outputs, plan, resume."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from conftest import CliResult
from yolov3 import cli as command_line
from yolov3.cli.train import train
from yolov3.modelfile import Model
from yolov3.training.settings import Settings

from .worlds import TINY, make_world

Cli = Callable[..., CliResult]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "COMMANDS", tuple(dict.fromkeys([*command_line.COMMANDS, "train"])))


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
        (["nowhere.yaml"], 2, "nowhere.yaml: isn't there"),
        (["{world}", "--epochs", "0"], 2, "--epochs 0: expected 1 or more"),
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


def test_fault_95_a_logger_in_trouble_does_not_stop_the_training(
    world: Path, quick: list[str], tmp_path: Path, cli: Cli
) -> None:
    pytest.importorskip("tensorboard")
    result = cli("train", world, *quick, "--tensorboard", "--output", tmp_path / "run")
    assert result.code == 0 and list((tmp_path / "run/tensorboard").iterdir())


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
