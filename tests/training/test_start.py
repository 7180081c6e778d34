"""Where a training starts: weights taken over, heads for other classes, anchors, splits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import random_model
from yolov3.data import load_dataset
from yolov3.errors import DataError, ModelError
from yolov3.modelfile import Model
from yolov3.spec import Anchors, read_spec, write_spec
from yolov3.training.boxes import decode_grid
from yolov3.training.network import TRAINING_BATCH_NORM, Network
from yolov3.training.session import Prepared, Source, prepare, training_samples
from yolov3.training.settings import Settings
from yolov3.training.transfer import PRIOR, start_from_model, start_from_scratch, with_classes, with_decoding
from yolov3.zoo import BUNDLED

from .worlds import NAMES, make_world, settings, tiny_spec


def heads_of(network: Network, values: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        return [output.double() for output in network.eval()(values)]


def test_the_same_classes_and_heads_take_everything() -> None:
    model = random_model(tiny_spec(), batch_norm=TRAINING_BATCH_NORM)
    start = start_from_model(model.spec, model.names, model, 0)
    assert all(np.array_equal(value.numpy(), model.tensors[name]) for name, value in start.network.tensors().items())
    count = len(model.tensors)
    assert start.notes == [f"{count} of {count} tensors are model's"]


def test_new_classes_keep_boxes_objectness_and_the_classes_of_the_same_name() -> None:
    model = replace(random_model(tiny_spec(), batch_norm=TRAINING_BATCH_NORM), names=("disc", "ring"))
    spec = with_classes(model.spec, 3)
    start = start_from_model(spec, ("a", "ring", "b"), model, 0)
    values = torch.rand(1, 3, 64, 64)
    for new, old in zip(heads_of(start.network, values), heads_of(Network.from_model(model), values), strict=True):
        torch.testing.assert_close(new[..., :5], old[..., :5])
        torch.testing.assert_close(new[..., 6], old[..., 6])
        assert not torch.allclose(new[..., 5], old[..., 5])
    assert "boxes and objectness of 2 of 2 anchors and 1 of 3 classes taken over" in start.notes[1]


def test_another_decoding_begins_with_nearly_the_same_boxes() -> None:
    """Around the middle of what a cell can say, both formulas agree in value and slope."""
    model = random_model(tiny_spec(), batch_norm=TRAINING_BATCH_NORM)
    for name in ("9.heads.0", "9.heads.1"):
        model.tensors[f"{name}.weight"][:] *= 0.05
        model.tensors[f"{name}.bias"][:] = 0
    spec = with_decoding(with_classes(model.spec, 5), 2.0, "square")
    network = start_from_model(spec, tuple("abcde"), model, 0).network
    old = Network.from_model(model)
    values = torch.rand(1, 3, 64, 64)
    for new_raw, old_raw, new_head, old_head in zip(
        heads_of(network, values), heads_of(old, values), network.heads, old.heads, strict=True
    ):
        difference = decode_grid(new_raw, new_head) - decode_grid(old_raw, old_head)
        assert difference.abs().max() < 0.1
        assert (decode_grid(old_raw, old_head) - decode_grid(old_raw * 0, old_head)).abs().max() > 0.5


def test_other_anchors_take_over_those_that_stayed() -> None:
    model = random_model(tiny_spec(), batch_norm=TRAINING_BATCH_NORM)
    anchors = Anchors.per_head((((16.0, 16.0), (9.0, 9.0)), ((24.0, 24.0), (50.0, 50.0))))
    spec = replace(with_classes(model.spec, 5), anchors=anchors)
    start = start_from_model(spec, tuple("abcde"), model, 0)
    values = torch.rand(1, 3, 64, 64)
    new, old = (heads_of(network, values)[0] for network in (start.network, Network.from_model(model)))
    torch.testing.assert_close(new[:, 0, ..., :5], old[:, 1, ..., :5])
    assert "1 of 2 anchors" in start.notes[1]


def test_layers_that_do_not_fit_are_listed() -> None:
    model = random_model(tiny_spec(), batch_norm=TRAINING_BATCH_NORM)
    wider = read_spec(write_spec(model.spec).replace("[16, 1, 1]", "[24, 1, 1]"), "wider.yaml")
    start = start_from_model(wider, ("a", "b"), model, 0)
    assert any("random weights, since" in note and "5.conv.weight" in note for note in start.notes)


def test_scratch_starts_sure_of_nothing() -> None:
    network = start_from_scratch(with_classes(tiny_spec(), 4), 0).network
    for output in heads_of(network, torch.rand(1, 3, 64, 64)):
        assert (torch.sigmoid(output[..., 4]) - PRIOR).abs().max() < PRIOR
        assert (torch.sigmoid(output[..., 5:]) - 0.25).abs().max() < 0.2


def test_decoding_stands_in_the_spec_and_is_read_back() -> None:
    spec = with_decoding(tiny_spec(), 2.0, "square")
    again = read_spec(write_spec(spec), "again.yaml")
    assert again == spec and {(head.xy_scale, head.wh) for head in again.network.heads} == {(2.0, "square")}
    assert with_decoding(spec, 1.0, "exp").network.heads == tiny_spec().network.heads


def test_the_bundled_model_for_new_classes(tmp_path: Path) -> None:
    model = Model.load(BUNDLED["yolov3-tiny"], origin="yolov3-tiny")
    start = start_from_model(with_classes(model.spec, 2), NAMES, model, 0)
    assert start.notes[0] == "55 of 59 tensors are yolov3-tiny's"
    assert start.network.spec.anchors == model.spec.anchors


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_can_not_be_trained_is_refused(value: float) -> None:
    model = random_model(tiny_spec(), batch_norm=TRAINING_BATCH_NORM)
    model.tensors["0.conv.weight"][0, 0, 0, 0] = value
    with pytest.raises(ModelError, match="not finite"):
        start_from_model(model.spec, model.names, model, 0)


def prepared(data: Path, chosen: Settings | None = None, **options: object) -> Prepared:
    return prepare(Source(load_dataset(data), data), tiny_spec(), chosen or settings(), **options)


def test_anchors_that_fit_stay(tmp_path: Path) -> None:
    found = prepared(make_world(tmp_path))
    assert found.network.spec.anchors == tiny_spec().anchors
    assert any("the anchors suit 100.0% of the boxes and stay" in note for note in found.notes)


def test_anchors_that_fit_badly_are_replaced_and_said(tmp_path: Path) -> None:
    data = make_world(tmp_path)
    base = replace(tiny_spec(), anchors=Anchors.per_head((((300.0, 2.0),) * 2, ((400.0, 2.0),) * 2)))
    found = prepare(Source(load_dataset(data), data), base, settings())
    assert found.network.spec.anchors != base.anchors
    assert any("new anchors, since the old ones suit 0.0% of the boxes" in note for note in found.notes)
    kept = prepare(Source(load_dataset(data), data), base, settings(), anchors="keep")
    assert kept.network.spec.anchors == base.anchors


def test_anchors_on_request(tmp_path: Path) -> None:
    found = prepared(make_world(tmp_path), anchors="fit")
    assert found.network.spec.anchors != tiny_spec().anchors
    assert any(note.startswith("new anchors, as asked: ") for note in found.notes)


def test_the_recipe_decides_on_the_decoding_unless_told(tmp_path: Path) -> None:
    data = make_world(tmp_path)

    def decoding(**options: object) -> tuple[float, str]:
        recipe = str(options.pop("recipe", "modern"))
        head = prepared(data, settings(recipe=recipe), **options).network.heads[0]
        return head.xy_scale, head.wh

    assert decoding() == (2.0, "square") and decoding(recipe="darknet") == (1.0, "exp")
    assert decoding(decoding="darknet") == (1.0, "exp") and decoding(recipe="darknet", decoding="scaled")[1] == "square"


def test_fault_93_no_objects_and_fault_47(tmp_path: Path) -> None:
    data = make_world(tmp_path)
    for file in (tmp_path / "labels/train").iterdir():
        file.write_text("")
    with pytest.raises(DataError, match="no box"):
        prepared(data)


def test_without_a_val_split_the_last_epoch_is_the_best(tmp_path: Path) -> None:
    found = prepared(make_world(tmp_path, val=0))
    assert found.task.truth is None and any("no val split" in note for note in found.notes)


def test_a_dataset_without_train_split(tmp_path: Path) -> None:
    data = make_world(tmp_path)
    data.write_text(data.read_text().replace("train: ", "test: "))
    with pytest.raises(DataError, match="no train split, it has"):
        training_samples(load_dataset(data))


def test_fault_93_a_size_that_is_no_multiple_of_the_stride(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must be a multiple of 16"):
        prepared(make_world(tmp_path), settings(size_wh=(72, 64)))
