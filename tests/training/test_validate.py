"""The score on the way is the score of `yolov3 evaluate` afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models import random_model, small_spec
from yolov3.data import load_dataset
from yolov3.evaluate import SCORING, evaluate_detector
from yolov3.modelfile import Model, Preprocess
from yolov3.postprocess import Thresholds
from yolov3.runtime import Detector
from yolov3.training.network import Network
from yolov3.training.processes import ALONE
from yolov3.training.session import begin
from yolov3.training.validate import NetworkDetector

from .worlds import Silent, make_world, open_world, settings


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_the_network_detects_what_the_engines_do(resize: str, rng: np.random.Generator) -> None:
    model = random_model(small_spec(), preprocess=Preprocess(resize=resize))
    pictures = [rng.integers(0, 256, size, np.uint8) for size in ((60, 90, 3), (64, 64, 3), (200, 33, 3))]
    kept = {"conf": 0.2, "iou": 0.45, "max_det": 15, "multi_label": True}
    network = Network.from_model(model).eval()
    detector = NetworkDetector(network, model.names, model.size_wh, model.preprocess, Thresholds(**kept))
    together = detector.batch(pictures)
    for picture, found in zip(pictures, together, strict=True):
        expected = Detector(model, threads=1, **kept)(picture)
        assert len(found) == len(expected) > 0
        np.testing.assert_allclose(np.sort(found.scores), np.sort(expected.scores), atol=1e-4)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.1)
        alone = detector(picture)
        np.testing.assert_allclose(alone.scores, found.scores, atol=1e-5)


@pytest.mark.parametrize("engine", ["ncnn", "onnxruntime"])
def test_ap_on_the_way_is_that_of_evaluate_afterwards(engine: str, tmp_path: Path) -> None:
    data = make_world(tmp_path / "world", train=24, val=12)
    chosen = settings(epochs=12, rate=0.03, batch=8)
    (tmp_path / "run").mkdir()
    report = Silent()
    begin(open_world(data, chosen), chosen, tmp_path / "run", ALONE, report)
    best = max(report.rows, key=lambda row: (row["AP"], -row["epoch"]))
    assert best["AP"] > 0.01
    detector = Detector(Model.load(tmp_path / "run/best.safetensors"), engine=engine, threads=1, **SCORING)
    found = evaluate_detector(detector, load_dataset(data), "val", resamples=0).metrics
    for name in ("AP", "AP50", "AP75"):
        assert found[name] == pytest.approx(best[name], abs=1e-3)


def test_falling_loss_and_rising_ap(tmp_path: Path) -> None:
    data = make_world(tmp_path / "world", train=24, val=8)
    chosen = settings(epochs=10, rate=0.03, batch=8)
    (tmp_path / "run").mkdir()
    report = Silent()
    begin(open_world(data, chosen), chosen, tmp_path / "run", ALONE, report)
    losses = [row["loss"] for row in report.rows]
    assert losses[-1] < 0.8 * losses[0] and report.rows[-1]["AP50"] > report.rows[0]["AP50"]


def test_yolov3_tiny_learns_in_a_few_steps(tmp_path: Path) -> None:
    from yolov3.training.session import Source, prepare
    from yolov3.zoo import BUNDLED

    data = make_world(tmp_path / "world", train=8, val=0, side=96)
    chosen = settings(epochs=8, batch=8, size_wh=(96, 96), rate=0.01)
    model = Model.load(BUNDLED["yolov3-tiny"], origin="yolov3-tiny")
    prepared = prepare(Source(load_dataset(data), data), model, chosen)
    (tmp_path / "run").mkdir()
    report = Silent()
    begin(prepared, chosen, tmp_path / "run", ALONE, report)
    assert report.rows[-1]["loss"] < 0.7 * report.rows[0]["loss"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("recipe", ["modern", "darknet"])
def test_eight_pictures_are_learnt_by_heart(recipe: str, tmp_path: Path) -> None:
    from yolov3.training.session import Source, prepare
    from yolov3.zoo import BUNDLED

    torch.set_num_threads(2)
    data = make_world(tmp_path / "world", train=8, val=0, side=160)
    data.write_text(data.read_text() + "val: images/train\n")
    chosen = settings(
        epochs=60, batch=8, size_wh=(160, 160), recipe=recipe, rate=0.003 if recipe == "darknet" else None
    )
    model = Model.load(BUNDLED["yolov3-tiny"], origin="yolov3-tiny")
    prepared = prepare(Source(load_dataset(data), data), model, chosen)
    (tmp_path / "run").mkdir()
    report = Silent()
    begin(prepared, chosen, tmp_path / "run", ALONE, report)
    assert report.rows[-1]["AP50"] > 0.95
