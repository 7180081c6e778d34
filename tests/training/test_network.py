"""The PyTorch network: shapes, parity with the engines, the way from and to the model file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import random_model, small_spec
from yolov3.errors import ModelError
from yolov3.graph import lower
from yolov3.modelfile import BatchNorm, Model
from yolov3.runtime.engines import make_engine
from yolov3.spec import FAMILY, load_spec, read_spec, summarise
from yolov3.training.network import TRAINING_BATCH_NORM, Network, with_training_batch_norm
from yolov3.zoo import BUNDLED

# Everything that a row can say, in one network.
ZOO = """
nc: 1
activation: mish
anchors:
  - [10,14]
  - [37,58, 81,82]
backbone:
  - [-1, 1, Conv, [8, [3, 1], 2]]
  - [-1, 1, Conv, [8, 3, 1, {groups: 2, activation: relu, padding: 1}]]
  - [[-1, 0], 1, Add, [{activation: leaky}]]
  - [-1, 1, Slice, [2, 1]]
  - [-1, 1, Conv, [8, 3, 2, {bn: false, activation: tanh}]]
  - [-1, 1, nn.ConstantPad2d, [[0, 1, 0, 1], -.inf]]
  - [-1, 1, nn.MaxPool2d, [2, 1, 0]]
  - [-1, 1, nn.ZeroPad2d, [[1, 0, 1, 0]]]
  - [-1, 1, nn.MaxPool2d, [3, 2, 1]]
head:
  - [-1, 1, Conv, [8, 1, 1, {activation: relu6}]]
  - [-1, 1, Conv, [8, 1, 1, {activation: silu}]]
  - [-1, 1, nn.MaxPool2d, [4, 1, 2]]
  - [-1, 1, nn.ConstantPad2d, [[0, 0, 0, 0], 1.5]]
  - [-1, 1, Conv, [8, 2, 1, {padding: 0, activation: sigmoid}]]
  - [[9, -1, 10], 1, Add, []]
  - [4, 1, Conv, [4, 1, 1, {activation: linear}]]
  - [[15, 14], 1, Detect, [nc, anchors]]
"""


def engine_heads(model: Model, images: np.ndarray, engine: str = "onnxruntime") -> list[np.ndarray]:
    """(N, A · (5 + nc), H, W) of each head from an engine."""
    pytest.importorskip(engine)
    return make_engine(engine, lower(model), 1)(images)


def torch_heads(network: Network, images: np.ndarray) -> list[np.ndarray]:
    """The same from PyTorch, in the engines' arrangement."""
    values = torch.from_numpy(images.transpose(0, 3, 1, 2) * np.float32(1 / 255))
    with torch.no_grad():
        outputs = network.eval()(values)
    return [
        output.permute(0, 1, 4, 2, 3).reshape(output.shape[0], -1, *output.shape[2:4]).numpy() for output in outputs
    ]


def pictures(rng: np.random.Generator, count: int, size_wh: tuple[int, int]) -> np.ndarray:
    """Random pictures, smooth enough to excite the filters."""
    small = rng.integers(0, 256, (count, size_wh[1] // 8, size_wh[0] // 8, 3), np.uint8)
    return np.ascontiguousarray(small.repeat(8, axis=1).repeat(8, axis=2))


@pytest.mark.parametrize("name", FAMILY)
def test_outputs_of_the_family_at_256(name: str) -> None:
    spec = load_spec(name)
    with torch.device("meta"):  # shapes without memory
        outputs = Network(spec)(torch.zeros(1, 3, 256, 256))
    expected = {8: [1, 3, 32, 32, 85], 16: [1, 3, 16, 16, 85], 32: [1, 3, 8, 8, 85]}
    strides = [16, 32] if name == "yolov3-tiny" else [8, 16, 32]
    assert [list(output.shape) for output in outputs] == [expected[stride] for stride in strides]
    assert [list(output.shape) for output in outputs] == summarise(spec, (256, 256)).layers[-1].outputs


@pytest.mark.parametrize("name", FAMILY)
def test_parameters_have_the_model_files_names(name: str) -> None:
    spec = load_spec(name)
    with torch.device("meta"):
        network = Network(spec)
    shapes = spec.network.tensor_shapes()
    assert {key: tuple(value.shape) for key, value in network.tensors().items()} == shapes
    assert sum(parameter.numel() for parameter in network.parameters()) == summarise(spec, (416, 416)).parameters
    extra = set(network.state_dict()) - set(shapes)
    assert all(key.endswith("num_batches_tracked") for key in extra)


@pytest.mark.parametrize("engine", ["onnxruntime", "ncnn"])
def test_parity_with_the_engines_on_the_bundled_weights(engine: str, rng: np.random.Generator) -> None:
    model = Model.load(BUNDLED["yolov3-tiny"])
    images = pictures(rng, 2, (256, 192))
    network = Network.from_model(model)
    for ours, theirs in zip(torch_heads(network, images), engine_heads(model, images, engine), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 if engine == "onnxruntime" else 3e-4)


@pytest.mark.parametrize("text", [ZOO, None], ids=["every kind of row", "small"])
@pytest.mark.parametrize(
    "batch_norm", [BatchNorm(), BatchNorm(1e-5, True), BatchNorm(1e-3, True), BatchNorm(0.0, True)], ids=str
)
def test_parity_with_onnx_runtime_row_by_row(text: str | None, batch_norm: BatchNorm, rng: np.random.Generator) -> None:
    spec = small_spec() if text is None else read_spec(text, "zoo.yaml")
    model = random_model(spec, batch_norm=batch_norm)
    images = pictures(rng, 3, (64, 96))
    for ours, theirs in zip(torch_heads(Network.from_model(model), images), engine_heads(model, images), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-5)


def test_channels_last_gives_the_same(rng: np.random.Generator) -> None:
    model = random_model(small_spec())
    images = pictures(rng, 2, (64, 64))
    plain = torch_heads(Network.from_model(model), images)
    network = Network.from_model(model).to(memory_format=torch.channels_last)
    for ours, theirs in zip(torch_heads(network, images), plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variance", [0.0, 1e-12, 1e-7, 1e-5, 1e-2, 3.0])
def test_darknets_epsilon_outside_the_root_is_converted_exactly(variance: float, rng: np.random.Generator) -> None:
    spec = small_spec()
    model = random_model(spec)
    model.tensors["0.bn.running_var"][:3] = variance
    model.tensors["0.bn.running_mean"][:3] = 0.1
    images = pictures(rng, 1, (64, 64))
    converted = with_training_batch_norm(model)
    assert converted.batch_norm == TRAINING_BATCH_NORM
    assert (converted.tensors["0.bn.running_var"] >= 0).all()
    for ours, theirs in zip(engine_heads(converted, images), engine_heads(model, images), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 * np.abs(theirs).max())


def test_model_file_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    model = replace(random_model(small_spec(), batch_norm=TRAINING_BATCH_NORM), source={"training": {"epochs": 3}})
    network = Network.from_model(model)
    again = network.to_model(model.names, model.size_wh, model.preprocess, model.source)
    assert again.metadata() == model.metadata()
    again.save(tmp_path / "a.safetensors")
    loaded = Model.load(tmp_path / "a.safetensors")
    assert list(loaded.tensors) and all(
        np.array_equal(loaded.tensors[name], model.tensors[name]) for name in model.tensors
    )


def test_to_model_does_not_share_memory_with_the_network() -> None:
    network = Network(small_spec())
    model = network.to_model(("a", "b"), (64, 64))
    before = model.tensors["0.conv.weight"].copy()
    with torch.no_grad():
        network.get_parameter("0.conv.weight").add_(1)
    assert np.array_equal(model.tensors["0.conv.weight"], before)


def test_a_copy_is_a_network_of_its_own(rng: np.random.Generator) -> None:
    network = Network.from_model(random_model(small_spec()))
    twin = network.copy()
    images = pictures(rng, 1, (64, 64))
    before = torch_heads(twin, images)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0)
    assert all(np.array_equal(a, b) for a, b in zip(torch_heads(twin, images), before, strict=True))
    assert not any(parameter.requires_grad for parameter in twin.parameters())


def test_scratch_weights_depend_on_the_seed_alone(rng: np.random.Generator) -> None:
    def weights(seed: int) -> list[np.ndarray]:
        torch.rand(3)  # the global generator doesn't matter
        network = Network(small_spec())
        network.initialise(torch.Generator().manual_seed(seed))
        return [tensor.clone().numpy() for tensor in network.tensors().values()]

    first, again, other = weights(1), weights(1), weights(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_fault_15_weights_that_are_not_finite_are_refused(value: float) -> None:
    model = random_model(small_spec())
    model.tensors["5.conv.weight"][0, 0, 0, 0] = value
    with pytest.raises(ModelError, match=r"5\.conv\.weight has values that are not finite"):
        Network.from_model(model)


def test_gradients_flow_to_every_parameter() -> None:
    network = Network.from_model(random_model(small_spec())).train()
    outputs = network(torch.rand(2, 3, 64, 64))
    sum(output.square().mean() for output in outputs).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_values_that_nobody_needs_are_dropped() -> None:
    network = Network(read_spec(ZOO, "zoo.yaml"))
    dropped = [source for sources in network._unneeded for source in sources]
    assert len(dropped) == len(set(dropped))
    kept = set(range(-1, len(network.spec.network.operations))) - set(dropped)
    assert kept == set(network.spec.network.head_operations)
