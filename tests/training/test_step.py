"""One step: kept or given up without a trace, whole or in parts; optimiser, schedule and average by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from yolov3.errors import UsageError, Yolov3Error
from yolov3.training.augment import PRESETS
from yolov3.training.ema import Average
from yolov3.training.loader import Batch
from yolov3.training.network import Network
from yolov3.training.optimiser import Optimiser
from yolov3.training.schedule import Schedule
from yolov3.training.settings import Settings
from yolov3.training.step import Stepper

from .worlds import make_training, make_world, open_world, settings, tiny_spec


def state_of(stepper: Stepper) -> dict[str, torch.Tensor]:
    values = {f"network/{name}": value.clone() for name, value in stepper.network.tensors().items()}
    values |= {f"optimiser/{name}": value.clone() for name, value in stepper.optimiser.tensors().items()}
    return values | {f"average/{name}": value.clone() for name, value in stepper.average.network.tensors().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class StopHereError(Exception):
    """Raised in the middle of a step."""


def test_fault_85_a_step_can_be_given_up_between_any_two_layers_forward_and_backward(tmp_path: Path) -> None:
    chosen = settings()
    training = make_training(open_world(make_world(tmp_path), chosen), chosen)
    batches = next(training.batches(0, 0))
    training.stepper.compute(batches)
    training.stepper.keep(0)
    before = state_of(training.stepper)
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise StopHereError

    stepper = Stepper(
        training.network,
        training.stepper.recipe,
        training.optimiser,
        training.average,
        scale=1 / 255,
        check=count,
    )
    stop_at = 0
    stepper.compute(batches)
    stepper.drop()
    forward = len(training.network.spec.network.operations)
    assert calls == forward + len(training.optimiser.parameters)
    for stop_at in (1, forward // 2, forward, forward + 1, forward + 10, calls):
        calls = 0
        with pytest.raises(StopHereError):
            stepper.compute(batches)
        stepper.drop()
        assert same(state_of(stepper), before), stop_at
        assert all(value.grad is None for value in training.optimiser.parameters.values())


@pytest.mark.parametrize("recipe", ["darknet", "modern"])
def test_accumulated_batches_make_the_gradients_of_one_large_batch(recipe: str, tmp_path: Path) -> None:
    data = make_world(tmp_path, train=16)
    found = []
    for batch, accumulate in ((8, 1), (4, 2), (2, 4)):
        chosen = settings(batch=batch, accumulate=accumulate, recipe=recipe)
        training = make_training(open_world(data, chosen), chosen)
        assert training.steps_an_epoch == 2
        training.network.eval()  # each batch has statistics of its own otherwise
        losses = training.stepper.compute(next(training.batches(0, 0)))
        found.append((losses, [value.grad for value in training.optimiser.parameters.values()]))
    (losses, gradients), *others = found
    for other_losses, other_gradients in others:
        np.testing.assert_allclose(other_losses, losses, rtol=1e-5)
        torch.testing.assert_close(other_gradients, gradients, rtol=1e-3, atol=1e-5)


def test_a_first_step_that_overflows_in_float16_changes_nothing(tmp_path: Path) -> None:
    """PyTorch's fused SGD would go on with momentum that nobody has set."""
    chosen = settings(precision="float16")
    training = make_training(open_world(make_world(tmp_path), chosen), chosen)
    stepper, batches = training.stepper, list(training.batches(0, 0))
    stepper.load_scaler_state({**stepper.scaler_state(), "scale": 2.0**40})
    before = {name: value.clone() for name, value in training.network.named_parameters()}
    stepper.compute(batches[0])
    stepper.keep(0)
    assert all(torch.equal(value, before[name]) for name, value in training.network.named_parameters())
    assert stepper.scaler_state()["scale"] == 2.0**39
    stepper.load_scaler_state({**stepper.scaler_state(), "scale": 8.0})
    stepper.compute(batches[1])
    stepper.keep(1)
    changes = [(value - before[name]).abs().max() for name, value in training.network.named_parameters()]
    assert 0 < max(changes) < 1


def test_a_step_decides_alike_with_every_layout_in_memory(tmp_path: Path) -> None:
    """PyTorch's fused optimisers walk through memory and would mix up weights that lie there differently."""
    chosen = settings()
    prepared = open_world(make_world(tmp_path), chosen)
    plain = prepared.network.copy().requires_grad_(True)
    training = make_training(prepared, chosen)
    assert training.network.get_parameter("0.conv.weight").is_contiguous(memory_format=torch.channels_last)
    steppers = [training.stepper, _stepper(plain, training.stepper.recipe)]
    batches = list(training.batches(0, 0))
    for step in range(2):
        for stepper in steppers:
            stepper.compute(batches[step])
            stepper.keep(step)
    for name, value in steppers[0].network.tensors().items():
        torch.testing.assert_close(value.contiguous(), steppers[1].network.tensors()[name], rtol=1e-3, atol=1e-5)


def _stepper(network: Network, recipe: object) -> Stepper:
    schedule = Schedule("cosine", 6)
    optimiser = Optimiser(network, "sgd", rate=0.01, momentum=0.937, weight_decay=0.0005, schedule=schedule)
    return Stepper(network.train(), recipe, optimiser, Average(network, 0.9999), scale=1 / 255, clip=10.0)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_only_convolution_weights_decay_and_frozen_rows_stay(kind: str) -> None:
    network = Network(tiny_spec())
    network.freeze(2)
    optimiser = Optimiser(network, kind, rate=0.1, momentum=0.0, weight_decay=0.5, schedule=Schedule("constant", 10))
    before = {name: value.clone() for name, value in network.tensors().items()}
    for value in optimiser.parameters.values():
        value.grad = torch.zeros_like(value)
    optimiser.prepare(0)
    optimiser.inner.step()
    for name, value in network.tensors().items():
        row = int(name.split(".")[0])
        factor = 0.95 if value.ndim == 4 and row >= 2 else 1.0  # 1 - 0.1 · 0.5
        torch.testing.assert_close(value, before[name] * factor)


def test_frozen_batch_normalisation_keeps_its_statistics() -> None:
    network = Network(tiny_spec())
    network.freeze(2)
    network.train()
    network(torch.rand(2, 3, 64, 64))
    assert torch.equal(network.get_buffer("1.bn.running_mean"), torch.zeros(16))
    assert not torch.equal(network.get_buffer("3.bn.running_mean"), torch.zeros(24))


def test_fault_93_all_frozen_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing is left to train"):
        Network(tiny_spec()).freeze(10)


def test_nesterovs_sgd_by_hand() -> None:
    network = Network(tiny_spec())
    optimiser = Optimiser(network, "sgd", rate=0.1, momentum=0.9, weight_decay=0.0, schedule=Schedule("constant", 9))
    weight = network.get_parameter("0.bn.weight")
    start = weight[0].item()
    for step, gradient in enumerate((1.0, 3.0)):
        for value in optimiser.parameters.values():
            value.grad = torch.full_like(value, gradient)
        optimiser.prepare(step)
        optimiser.inner.step()
    first = start - 0.1 * (1 + 0.9 * 1)
    velocity = 0.9 * 1 + 3
    assert weight[0].item() == pytest.approx(first - 0.1 * (3 + 0.9 * velocity), rel=1e-5)


def test_gradients_are_clipped_by_their_common_norm() -> None:
    network = Network(tiny_spec())
    optimiser = Optimiser(network, "sgd", rate=0.1, momentum=0.9, weight_decay=0.0, schedule=Schedule("constant", 9))
    for value in optimiser.parameters.values():
        value.grad = torch.ones_like(value)
    count = sum(value.numel() for value in optimiser.parameters.values())
    assert optimiser.clip(0.0) == pytest.approx(math.sqrt(count), rel=1e-5)
    assert optimiser.clip(3.0) == pytest.approx(math.sqrt(count), rel=1e-5)
    assert optimiser.clip(0.0) == pytest.approx(3.0, rel=1e-4)


def test_the_average_by_hand() -> None:
    network = Network(tiny_spec())
    average = Average(network, 0.5)
    weight, mean = network.get_parameter("0.bn.weight"), network.get_buffer("0.bn.running_mean")
    expected_weight, expected_mean = 1.0, 0.0
    for update, value in enumerate((3.0, -1.0, 5.0, 2.0)):
        with torch.no_grad():
            weight.fill_(value)
            mean.fill_(value)
        average.update(network)
        decay = min(0.5, (1 + update) / (10 + update))
        expected_weight = decay * expected_weight + (1 - decay) * value
        expected_mean = decay * expected_mean + (1 - decay) * value
    assert average.network.get_parameter("0.bn.weight")[0].item() == pytest.approx(expected_weight, rel=1e-6)
    assert average.network.get_buffer("0.bn.running_mean")[0].item() == pytest.approx(expected_mean, rel=1e-6)


def test_schedules() -> None:
    cosine = Schedule("cosine", 100, warm_up=10, final=0.1)
    assert cosine.rate(0) == pytest.approx(1 / 11)
    assert cosine.rate(100) == pytest.approx(0.1)
    assert cosine.rate(50) == pytest.approx(0.55)
    rates = [cosine.rate(step) for step in range(100)]
    assert max(rates) == rates[10] or max(rates) == rates[9]
    assert [cosine.momentum(step, 0.9) for step in (0, 5, 10, 99)] == pytest.approx([0.8, 0.85, 0.9, 0.9])
    assert cosine.momentum(0, 0.5) == 0.5
    steps = Schedule("steps", 100)
    assert [steps.rate(step) for step in (0, 79, 80, 90)] == pytest.approx([1, 1, 0.1, 0.01])
    assert Schedule("constant", 10, warm_up=1).rate(0) == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, r"--epochs 0: expected 1 or more"),
        ({"batch": 0}, r"--batch 0: expected 1 or more"),
        ({"rate": 0.0}, r"--rate 0.0: expected a number above 0"),
        ({"rate": math.nan}, r"--rate nan: expected a number above 0"),
        ({"rate": math.inf}, r"--rate inf"),
        ({"momentum": 1.0}, r"--momentum 1.0: expected 0 to below 1"),
        ({"weight_decay": -1.0}, r"--weight-decay -1.0: expected a number from 0"),
        ({"clip": math.nan}, r"--clip nan"),
        ({"seed": -1}, r"--seed -1: expected 0 or more"),
        ({"recipe": "other"}, r"--recipe other: expected one of darknet, modern"),
        ({"optimiser": "adam"}, r"--optimiser adam: expected one of sgd, adamw"),
        ({"precision": "int8"}, r"--precision int8"),
        ({"save_minutes": 0.0}, r"--save-minutes 0.0"),
        ({"focal": 1.5}, r"--focal goes with --recipe modern"),
        ({"label_smoothing": 0.1}, r"--label-smoothing goes with --recipe modern"),
        ({"recipe": "modern", "ignore_threshold": 0.5}, r"--ignore-threshold goes with --recipe darknet"),
    ],
    ids=str,
)
def test_fault_93_settings_that_can_not_be_meant(changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Settings(**changes)


def test_settings_round_trip() -> None:
    chosen = Settings(epochs=7, rate=0.1, augment=PRESETS["darknet"], size_wh=(320, 192))
    assert Settings.from_dict(chosen.to_dict()) == chosen


def test_a_batch_of_one_pixel_a_channel_is_refused(tmp_path: Path) -> None:
    """Batch normalisation can't take it; PyTorch's own message doesn't say what to do."""
    chosen = settings()
    training = make_training(open_world(make_world(tmp_path), chosen), chosen)
    batch = Batch(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), torch.zeros(0, 6), torch.zeros(0, 5), ["a.png"])
    with pytest.raises(Yolov3Error, match="more than one picture"):
        training.stepper.compute([batch])
