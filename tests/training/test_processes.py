"""Several processes train what one would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from yolov3.errors import UsageError, Yolov3Error
from yolov3.training.processes import all_processes

from .test_resume import assert_same
from .worlds import TINY, make_world

SCRIPT = Path(__file__).with_name("ranks.py")


def run_script(what: str, world: Path, folder: Path) -> str:
    arguments = [sys.executable, str(SCRIPT), what, str(world), str(folder)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    run_script("gradients", make_world(tmp_path / "world", train=15), tmp_path)


@pytest.mark.parametrize("val", [5, 1])
def test_fault_91_validation_is_shared_and_counted_once(val: int, tmp_path: Path) -> None:
    run_script("validation", make_world(tmp_path / "world", val=val), tmp_path)


def test_fault_90_a_killed_process_ends_the_other_and_both_go_on_to_the_bit(tmp_path: Path) -> None:
    said = run_script("killed", make_world(tmp_path / "world"), tmp_path)
    assert said.count("lost the others: one has ended") == 2 and "--resume" in said
    assert_same(tmp_path / "whole", tmp_path / "killed")


def test_faults_85_and_90_the_first_process_saves_whatever_ends_the_training(tmp_path: Path) -> None:
    said = run_script("saved", make_world(tmp_path / "world"), tmp_path)
    assert said.count("lost the others: one has ended") == 1
    assert_same(tmp_path / "whole", tmp_path / "killed")


def test_a_picture_that_one_process_can_not_read_is_named_by_the_first(tmp_path: Path) -> None:
    world = make_world(tmp_path / "world")
    (world.parent / "images/train/003.png").write_bytes(b"not a picture")
    said = run_script("bad", world, tmp_path)
    assert said.count("003.png") == 2 and said.count("1 picture could not be read") == 2  # each process's report


@pytest.mark.parametrize("name", ["cuda:7", "tpu", "cpu:x"])
def test_a_device_that_is_not_there(name: str) -> None:
    if name.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("this machine has GPUs")
    with pytest.raises(UsageError, match=f"--device {name}: "), all_processes(name):
        pass


def test_others_that_can_not_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "bad")):
        monkeypatch.setenv(name, value)
    with pytest.raises(Yolov3Error, match="process 1 of 2 can't reach the others"), all_processes():
        pass


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torch.distributed.run", "accelerate.commands.launch"])
def test_the_launchers(launcher: str, tmp_path: Path) -> None:
    pytest.importorskip(launcher.split(".")[0])
    world = make_world(tmp_path / "world")
    launch = ["--nproc_per_node", "2"] if launcher.startswith("torch") else ["--cpu", "--num_processes", "2"]
    arguments = [
        *(sys.executable, "-m", launcher, *launch, "-m", "yolov3", "train", str(world)),
        *("--epochs", "1", "--size", "64", "--batch", "4", "--output", str(tmp_path / "run")),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=280, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run/best.safetensors").is_file()


@pytest.mark.slow
def test_fault_90_torchrun_starts_all_again_and_they_resume(tmp_path: Path) -> None:
    run = tmp_path / "run"
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    train = ["-m", "yolov3", "train"]
    (tmp_path / "tiny.yaml").write_text(TINY)
    begin = [str(make_world(tmp_path / "world")), "--model", str(tmp_path / "tiny.yaml"), "--size", "64"]
    begin += ["--batch", "4", "--epochs", "1", "--output", str(run)]
    assert subprocess.run([*launch, *train, *begin], timeout=120, check=False).returncode == 0
    go_on = [*launch, "--max-restarts", "1", *train, "--resume", str(run), "--epochs", "40"]
    agent = subprocess.Popen(go_on, stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    assert agent.stdout.readline().startswith("epoch   2 ")
    workers = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    said = agent.communicate(timeout=200)[0]
    assert agent.returncode == 0 and said.splitlines()[-1].startswith("epoch  40 "), said
    epochs = [json.loads(line)["epoch"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert epochs == list(range(1, 41))
