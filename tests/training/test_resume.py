"""Nothing is lost: whatever ends a training, it goes on to the same bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from yolov3.errors import DataError, ModelError, UsageError, Yolov3Error
from yolov3.modelfile import Model
from yolov3.training import session
from yolov3.training.augment import PRESETS
from yolov3.training.checkpoint import Checkpoint
from yolov3.training.processes import Processes
from yolov3.training.progress import Progress
from yolov3.training.session import begin, resume
from yolov3.training.settings import Settings

from .worlds import Silent, make_world, open_world, settings

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))


class PowerError(Exception):
    """The power has failed."""


class Failing(Silent):
    """Fails after so many steps, as if the process had been killed there."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.fails = steps

    def step(self, progress: Progress, steps: int, pictures: int) -> None:
        super().step(progress, steps, pictures)
        if self.steps == self.fails:
            raise PowerError


def train(world: Path, folder: Path, chosen: Settings, report: Silent | None = None) -> Silent:
    report = report or Silent()
    folder.mkdir()
    assert begin(open_world(world, chosen), chosen, folder, ALONE, report) == 0
    return report


def assert_same(one: Path, other: Path) -> None:
    """The last states of two runs agree to the bit, but for the clock's."""
    first, second = (Checkpoint.load(folder / "last/training.safetensors") for folder in (one, other))
    assert first.tensors.keys() == second.tensors.keys()
    for name, value in first.tensors.items():
        assert torch.equal(value, second.tensors[name]), name
    states = [json.loads(json.dumps(found.state)) for found in (first, second)]
    for state in states:
        for row in state["progress"]["history"]:
            del row["seconds"], row["pictures_per_second"]
    assert states[0] == states[1]
    for name in ("best.safetensors", "last/model.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def run_script(what: str, world: Path, folder: Path, seed: int = 0) -> str:
    """Run killed.py; its output."""
    script = Path(__file__).with_name("killed.py")
    arguments = [sys.executable, str(script), what, str(world), str(folder), str(seed)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimiser": "adamw", "augment": PRESETS["modern"], "accumulate": 2},
        {"recipe": "darknet", "average": 0.0, "freeze": 2, "clip": 0.0, "batch": 5, "momentum": 0.0},
        {"precision": "float16", "balanced": True, "workers": 2, "epochs": 1},
        {"precision": "bfloat16", "schedule": "steps", "warm_up": 1.0},
    ],
    ids=["sgd", "adamw, mosaic, accumulated", "darknet, frozen", "float16", "bfloat16"],
)
def test_fault_84_resume_is_the_uninterrupted_run_to_the_bit(changes: dict, world: Path, tmp_path: Path) -> None:
    chosen = settings(**{"epochs": 3, "save_minutes": 1e-9, **changes})
    train(world, tmp_path / "whole", chosen)
    with pytest.raises(PowerError):
        train(world, tmp_path / "halved", chosen, Failing(2))
    assert resume(tmp_path / "halved", ALONE, Silent()) == 0
    assert_same(tmp_path / "whole", tmp_path / "halved")


def test_fault_84_without_a_checkpoint_in_the_epoch_it_begins_again(world: Path, tmp_path: Path) -> None:
    chosen = settings(epochs=2)
    train(world, tmp_path / "whole", chosen)
    with pytest.raises(PowerError):
        train(world, tmp_path / "halved", chosen, Failing(5))
    assert Checkpoint.load(tmp_path / "halved/last/training.safetensors").state["progress"]["steps"] == 3
    assert resume(tmp_path / "halved", ALONE, Silent()) == 0
    assert_same(tmp_path / "whole", tmp_path / "halved")


def test_faults_23_and_84_sigkill_at_random_moments(world: Path, tmp_path: Path) -> None:
    kills = int(run_script("kill", world, tmp_path))
    assert kills >= 1
    assert_same(tmp_path / "whole", tmp_path / "killed")


def test_fault_85_sigterm_and_ctrl_c_save_and_say_so(world: Path, tmp_path: Path) -> None:
    run_script("stop", world, tmp_path)
    assert_same(tmp_path / "whole", tmp_path / "killed")


def test_fault_85_a_signal_while_the_card_is_made_and_the_card_is_made_up_for(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(world, tmp_path / "whole", settings())

    def interrupted(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(session, "validate", lambda *_, check, **__: (interrupted(), check()))
    (tmp_path / "run").mkdir()
    report = Silent()
    assert begin(open_world(world, settings()), settings(), tmp_path / "run", ALONE, report) == 143
    assert "stopped and saved" in report.notes[-1] and not (tmp_path / "run/evaluation/card.html").exists()
    monkeypatch.undo()
    again = Silent()
    assert resume(tmp_path / "run", ALONE, again) == 0 and not again.steps
    assert (tmp_path / "run/evaluation/card.html").is_file()
    assert_same(tmp_path / "whole", tmp_path / "run")
    with pytest.raises(UsageError, match="is finished with 2 epochs"):
        resume(tmp_path / "run", ALONE, Silent())


def test_faults_24_and_96_a_full_disk_leaves_the_last_checkpoint_whole(world: Path, tmp_path: Path) -> None:
    said = run_script("disk", world, tmp_path)
    assert "the checkpoint can't be written" in said and "MB" in said and "the one before it is whole" in said
    assert_same(tmp_path / "whole", tmp_path / "killed")


def test_faults_26_and_131_one_training_a_folder(world: Path, tmp_path: Path) -> None:
    assert "another process trains there" in run_script("lock", world, tmp_path)
    assert_same(tmp_path / "whole", tmp_path / "killed")


def test_fault_87_out_of_memory_says_what_to_do(world: Path, tmp_path: Path) -> None:
    said = run_script("memory", world, tmp_path)
    assert "out of memory: try a smaller --batch" in said and said.count("\n") == 1


def test_epochs_can_be_raised_after_the_end(world: Path, tmp_path: Path) -> None:
    train(world, tmp_path / "run", settings(epochs=1, schedule="constant"))
    with pytest.raises(UsageError, match="is finished with 1 epochs; give --epochs"):
        resume(tmp_path / "run", ALONE, Silent())
    assert resume(tmp_path / "run", ALONE, Silent(), epochs=2) == 0
    train(world, tmp_path / "whole", settings(epochs=2, schedule="constant"))
    assert_same(tmp_path / "whole", tmp_path / "run")


def test_early_stop_and_going_on_after_it(world: Path, tmp_path: Path) -> None:
    report = train(world, tmp_path / "run", settings(epochs=50, patience=2, rate=1e-9))
    best = max(report.rows, key=lambda row: (row["AP"], -row["epoch"]))["epoch"]
    assert len(report.rows) == best + 2 < 50
    with pytest.raises(UsageError, match=f"stopped early after {best + 2} epochs"):
        resume(tmp_path / "run", ALONE, Silent())
    assert resume(tmp_path / "run", ALONE, Silent(), epochs=best + 3) == 0


def test_changed_data_is_refused(tmp_path: Path) -> None:
    world = make_world(tmp_path / "world")
    with pytest.raises(PowerError):
        train(world, tmp_path / "run", settings(), Failing(2))
    label = tmp_path / "world/labels/train/003.txt"
    label.write_text("1 0.5 0.5 0.25 0.25\n")
    with pytest.raises(DataError, match="have changed since the training began"):
        resume(tmp_path / "run", ALONE, Silent())


def test_other_threads_are_said(world: Path, tmp_path: Path) -> None:
    with pytest.raises(PowerError):
        train(world, tmp_path / "run", settings(), Failing(4))
    torch.set_num_threads(2)
    report = Silent()
    resume(tmp_path / "run", ALONE, report)
    assert any("threads were 1 and are 2" in note for note in report.notes)


def test_a_folder_without_a_training(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing was trained there"):
        resume(tmp_path, ALONE, Silent())


@pytest.mark.parametrize("cut", [0, 7, 200, -1])
def test_fault_21_a_damaged_checkpoint_is_refused(cut: int, world: Path, tmp_path: Path) -> None:
    with pytest.raises(PowerError):
        train(world, tmp_path / "run", settings(), Failing(1))
    path = tmp_path / "run/last/training.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ModelError, match="can't be read as a checkpoint"):
        resume(tmp_path / "run", ALONE, Silent())


def test_fault_27_a_checkpoint_of_a_newer_format(tmp_path: Path) -> None:
    Checkpoint({"a": torch.zeros(1)}, {"format": 99}).save(tmp_path / "new.safetensors")
    with pytest.raises(ModelError, match=r"format 99, this package reads 1; update yolov3"):
        Checkpoint.load(tmp_path / "new.safetensors")


def test_a_model_file_is_no_checkpoint(world: Path, tmp_path: Path) -> None:
    train(world, tmp_path / "run", settings(epochs=1))
    with pytest.raises(ModelError, match="not a checkpoint of a training"):
        Checkpoint.load(tmp_path / "run/best.safetensors")


def test_fault_86_a_loss_that_is_not_a_number_stops_and_names_the_pictures(world: Path, tmp_path: Path) -> None:
    chosen = settings(rate=1e30, clip=0.0, epochs=5, average=0.0)
    with pytest.raises(Yolov3Error, match=r"(loss|gradients).* in the batch of .*\d\d\d\.png.*try a lower --rate"):
        train(world, tmp_path / "run", chosen)
    saved = Checkpoint.load(tmp_path / "run/last/training.safetensors")
    assert all(torch.isfinite(value.float()).all() for value in saved.tensors.values())


def test_fault_92_three_runs_give_the_same_bytes(world: Path, tmp_path: Path) -> None:
    for number, workers in enumerate((0, 2, 3)):
        torch.rand(number)
        np.random.rand(number)
        train(world, tmp_path / str(number), settings(epochs=1, augment=PRESETS["modern"], workers=workers))
    files = [(tmp_path / str(number) / "best.safetensors").read_bytes() for number in range(3)]
    assert files[0] == files[1] == files[2]


def test_the_best_model_is_the_one_of_the_best_epoch(world: Path, tmp_path: Path) -> None:
    report = train(world, tmp_path / "run", settings(epochs=6, rate=0.05))
    best = max(report.rows, key=lambda row: (row["AP"], -row["epoch"]))
    model = Model.load(tmp_path / "run/best.safetensors")
    assert model.source["training"]["epoch"] == best["epoch"] and model.source["training"]["AP"] == best["AP"]
    assert Model.load(tmp_path / "run/last/model.safetensors").source["training"]["epoch"] == 6


def test_metrics_are_written_whole_every_epoch(world: Path, tmp_path: Path) -> None:
    report = train(world, tmp_path / "run", replace(settings(), epochs=2))
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert rows == report.rows
    lines = (tmp_path / "run/metrics.csv").read_text().splitlines()
    assert len(lines) == 3 and lines[0].split(",")[:4] == ["epoch", "steps", "rate", "loss"]
