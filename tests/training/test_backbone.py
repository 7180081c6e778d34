"""Training from a Darknet weight set that ends behind a layer, on request only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import CliResult
from models import random_model
from yolov3.darknet import save_darknet, weight_order
from yolov3.errors import ModelError
from yolov3.modelfile import Model
from yolov3.spec import read_spec
from yolov3.training.network import with_training_batch_norm
from yolov3.training.transfer import Backbone, start_from_backbone

from .worlds import TINY, make_world, tiny_spec

Cli = Callable[..., CliResult]
LAYERS = 5  # convolutions of the four backbone rows


@pytest.fixture
def model() -> Model:
    return random_model(tiny_spec())


@pytest.fixture
def path(model: Model, tmp_path: Path) -> Path:
    """What `darknet partial` would write: the file's start, up to the end of the backbone."""
    save_darknet(model, tmp_path / "whole.weights")
    order = weight_order(model.spec)[:LAYERS]
    count = sum(stored.convolution.stored_values for stored in order)
    path = tmp_path / "tiny.conv.5"
    path.write_bytes((tmp_path / "whole.weights").read_bytes()[: 20 + 4 * count])
    return path


def test_fault_17_the_first_layers_are_the_backbones_and_the_rest_is_random(path: Path, model: Model) -> None:
    backbone, notes = Backbone.read(path, model.spec)
    begun = start_from_backbone(model.spec, backbone, seed=3)
    expected = with_training_batch_norm(model).tensors
    own = begun.network.tensors()
    for name, tensor in own.items():
        same = np.allclose(tensor.numpy(), expected[name], rtol=1e-5, atol=1e-6)
        assert same == (int(name.split(".")[0]) < 4), name
    assert f"5 of {len(weight_order(model.spec))} convolutions" in notes[0]
    assert begun.notes == [f"25 of {len(own)} tensors are {path}'s, the rest random"]


def test_fault_17_for_another_number_of_classes(path: Path) -> None:
    """The heads are behind the cut, so they have no say."""
    spec = read_spec(TINY.replace("nc: 2", "nc: 7"), "seven.yaml")
    assert len(Backbone.read(path, spec)[0].tensors) == 25


def test_weights_that_are_not_finite_are_refused(model: Model, path: Path) -> None:
    backbone, _ = Backbone.read(path, model.spec)
    broken = dict(backbone.tensors) | {"0.conv.weight": np.full_like(backbone.tensors["0.conv.weight"], np.nan)}
    with pytest.raises(ModelError, match=r"0.conv.weight has values that are not finite"):
        start_from_backbone(model.spec, replace(backbone, tensors=broken), 0)


def test_fault_17_on_the_command_line(path: Path, tmp_path: Path, cli: Cli) -> None:
    world = make_world(tmp_path / "world")
    (tmp_path / "tiny.yaml").write_text(TINY)
    quick = ["--model", tmp_path / "tiny.yaml", "--size", "64", "--batch", "4", "--epochs", "1", "--threads", "1"]
    quick += ["--output", tmp_path / "run"]
    result = cli("train", world, *quick, "--backbone", path, "--freeze", "backbone")
    assert result.code == 0, result.err
    assert "5 of 11 convolutions, up to layer" in result.err or "5 of 10 convolutions, up to layer" in result.err
    trained = Model.load(tmp_path / "run" / "best.safetensors")
    backbone, _ = Backbone.read(path, trained.spec)
    np.testing.assert_array_equal(trained.tensors["1.conv.weight"], backbone.tensors["1.conv.weight"])
    assert trained.source["training"]["start"]["model"] == "tiny.conv.5"


def test_fault_17_never_without_being_asked(path: Path, tmp_path: Path, cli: Cli) -> None:
    world = make_world(tmp_path / "world")
    (tmp_path / "tiny.yaml").write_text(TINY)
    for arguments, code, expected in (
        (["--start", path], 4, "tiny.conv.5: no such model"),
        (["--model", path], 4, "tiny.conv.5: no such model"),
        (["--backbone", path, "--scratch"], 2, "--scratch and --backbone: expected one of them"),
        (["--backbone", tmp_path / "tiny.yaml", "--model", tmp_path / "tiny.yaml"], 4, "tiny.yaml"),
        (["--backbone", path], 4, "don't end with a layer of this network"),
    ):
        result = cli("train", world, *arguments, "--output", tmp_path / "run")
        assert result.code == code and expected in result.err, result.err
        assert not (tmp_path / "run").exists()
