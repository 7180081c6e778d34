"""The plan: measured without a trace, and said in words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from yolov3.spec import load_spec
from yolov3.training import planner
from yolov3.training.augment import PRESETS
from yolov3.training.planner import Plan, bfloat16_gain, duration, gains, make_plan, worthwhile

from .worlds import make_training, make_world, open_world, settings


@pytest.mark.parametrize("units", [False, True])
def test_measuring_leaves_no_trace(units: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "has_bfloat16_units", lambda: units)
    chosen = settings(augment=PRESETS["modern"])
    data = make_world(tmp_path)
    training, untouched = (make_training(open_world(data, chosen), chosen) for _ in range(2))
    plan = make_plan(training)
    assert plan.pictures_per_second > 0 and plan.epochs == 2 and plan.memory > 0
    assert training.stepper.precision == "float32" and training.progress == untouched.progress
    for name, value in untouched.network.tensors().items():
        assert torch.equal(training.network.tensors()[name], value), name
    assert all(parameter.grad is None for parameter in training.network.parameters())
    assert not training.optimiser.tensors()


def test_bfloat16_is_tried_only_where_the_processor_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings()
    training = make_training(open_world(make_world(tmp_path), chosen), chosen)
    batches = next(training.batches(0, 0))
    monkeypatch.setattr(planner, "has_bfloat16_units", lambda: True)
    tried = []
    monkeypatch.setattr(training.stepper, "compute", lambda _: tried.append(training.stepper.precision))
    assert bfloat16_gain(training, batches, seconds=1.0) > 1
    assert tried == ["bfloat16", "bfloat16"]
    assert bfloat16_gain(training, batches, seconds=60.0) == 1  # too slow a step to try another
    assert bfloat16_gain(training, [], seconds=1.0) == 1
    monkeypatch.setattr(planner, "has_bfloat16_units", lambda: False)
    assert bfloat16_gain(training, batches, seconds=1.0) == 1
    assert len(tried) == 2


def test_gains_by_multiply_adds() -> None:
    found = dict(gains(load_spec("yolov3-tiny"), (416, 416), 0))
    assert found["--size 320"] == pytest.approx((416 / 320) ** 2, rel=0.01)
    assert 1.2 < found["--freeze backbone"] < 3
    assert "--freeze backbone" not in dict(gains(load_spec("yolov3-tiny"), (416, 416), 13))
    assert not gains(load_spec("yolov3-tiny"), (224, 224), 13)
    assert worthwhile([("a", 1.05), ("b", 1.5), ("c", 3.0)]) == [("c", 3.0), ("b", 1.5)]


def test_the_plan_in_words() -> None:
    plan = Plan(
        pictures_per_second=10.0,
        epoch_seconds=20.0,
        validation_seconds=4.0,
        epochs=100,
        memory=2 * 10**9,
        available=6 * 10**9,
        faster=[("--precision bfloat16", 2.0)],
        waiting=0.25,
        cache=1.0,
        pictures=2.3,
    )
    assert plan.lines() == [
        "10.0 pictures/s: 20 s an epoch and 4 s of validation; 40 min for 100 epochs; memory 2.0 GB of 8.0 GB",
        "faster with --precision bfloat16 (20 min)",
        "pictures would take about 2.3 GiB of memory and may take 1, so most are read again each time: --cache 3 keeps "
        "all",
        "the network waits for pictures 25% of the time: more --workers",
    ]
    assert [duration(seconds) for seconds in (48, 720, 12000)] == ["48 s", "12 min", "3 h 20 min"]
