"""A model that was fine-tuned here, in Darknet's files, read by OpenCV's importer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import CliResult
from darknet.engines import OpenCVNet, engine_heads
from yolov3 import Detector, Model, read_image
from yolov3.geometry import letterbox_image
from yolov3.runtime.agreement import decode_all
from yolov3.zoo import sample_photos

from .worlds import make_world

Cli = Callable[..., CliResult]


@pytest.mark.parametrize("decoding", ["darknet", "scaled"])
def test_a_fine_tuned_model_through_opencv(decoding: str, cli: Cli, tmp_path: Path) -> None:
    """The bundled model, two epochs on other classes: logits and scores within 1e-3 on a photo."""
    world = make_world(tmp_path / "world", train=8, val=2)
    quick = ["--size", "96", "--batch", "4", "--epochs", "2", "--threads", "1", "--decoding", decoding]
    assert cli("train", world, *quick, "--output", tmp_path / "run").code == 0
    best = tmp_path / "run" / "best.safetensors"
    result = cli("convert", best, tmp_path / "own.cfg", "--size", "416")
    assert result.code == 0, result.err
    model = Model.load(best)
    assert model.batch_norm.inside, "trained with an epsilon that Darknet hasn't got"
    picture = read_image(sample_photos()[0])
    detector = Detector(model, size=416)
    canvas = letterbox_image(picture, detector.plan((picture.shape[1], picture.shape[0])), 127)
    network = OpenCVNet((tmp_path / "own.cfg").read_text(), (tmp_path / "own.weights").read_bytes())
    heads, found = engine_heads(model, canvas, "ncnn"), network.heads(canvas)
    for ours, theirs in zip(heads, found, strict=True):
        assert ours.shape == theirs.shape
        assert np.ptp(ours) > 1
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    scores = [decode_all(each, model.spec.network.heads, model.spec.nc)[1] for each in (heads, found)]
    np.testing.assert_allclose(*scores, atol=1e-3)
