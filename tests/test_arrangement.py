"""How a job's pictures go through engines: fixed for small jobs, tried for large ones, kept in the cache."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import CliResult
from models import random_model, small_spec
from yolov3 import Detector, UsageError
from yolov3.errors import Yolov3Error
from yolov3.export import export_model, signature_for
from yolov3.machine import usable_cores
from yolov3.modelfile import Model
from yolov3.runtime import arrangement
from yolov3.runtime.arrangement import FEW, FINALISTS, LARGE, Arrangement, Cache, Chosen, Wanted, arrange, possible
from yolov3.runtime.engines import ENGINES, installed_engines
from yolov3.runtime.exported import load_exported

Cli = Callable[..., CliResult]
SIZE = (64, 64)
ALL = 2 * len(ENGINES) + FINALISTS  # trials: each engine with several workers and with one, and the fastest again
RATES = {"ncnn": 40.0, "onnxruntime": 50.0, "openvino": 30.0, "mnn": 20.0}


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model(small_spec())


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[Arrangement]:
    """Every engine is installed and as fast as `RATES` says, with several workers by half more; what is tried."""
    tried: list[Arrangement] = []

    def rate(_: Any, candidate: Arrangement, *__: Any) -> float:
        tried.append(candidate)
        return RATES[candidate.engine or ""] * (1.5 if candidate.workers > 1 else 1.0)

    class Quick:
        def __init__(self, *_: Any, **options: Any) -> None:
            self.engine = options["engine"]

    monkeypatch.setattr(arrangement, "installed_engines", lambda: ENGINES)
    monkeypatch.setattr(arrangement, "usable_cores", lambda: 4)
    monkeypatch.setattr(arrangement, "Detector", Quick)
    monkeypatch.setattr(arrangement, "_rate", rate)
    monkeypatch.setattr(arrangement, "_outputs", lambda *_: (np.ones((3, 4)), np.ones((3, 2))))
    return tried


def choose(model: Model, total: int | None = LARGE, wanted: Wanted = Wanted(), **options: Any) -> Chosen:  # noqa: B008
    return arrange(model, SIZE, total, wanted, **options)


@pytest.mark.parametrize(
    ("total", "wanted", "live", "expected"),
    [
        (1, Wanted(), False, Arrangement("ncnn", 1, 4, 1)),
        (FEW - 1, Wanted(), False, Arrangement("ncnn", 1, 4, 1)),
        (FEW, Wanted(), False, Arrangement("ncnn", 4, 1, 1)),
        (LARGE - 1, Wanted(), False, Arrangement("ncnn", 4, 1, 1)),
        (None, Wanted(engine="ncnn"), True, Arrangement("ncnn", 1, 4, 1)),
        (LARGE, Wanted(engine="openvino"), False, Arrangement("openvino", 4, 1, 1)),
        (10, Wanted(threads=2), False, Arrangement("ncnn", 2, 1, 1)),
        (10, Wanted(workers=3, batch=5), False, Arrangement("ncnn", 3, 1, 5)),
        (1, Wanted(workers=8, threads=2), False, Arrangement("ncnn", 8, 1, 1)),
    ],
)
def test_small_jobs_and_what_is_asked_for(
    total: int | None, wanted: Wanted, live: bool, expected: Arrangement, model: Model, trials: list[Arrangement]
) -> None:
    chosen = choose(model, total, wanted, live=live)
    assert chosen.arrangement == expected and not chosen.warnings and not trials
    assert "not tried" in chosen.reasons[0]


@pytest.mark.parametrize("total", [LARGE, None])
def test_large_jobs_are_tried_once_and_the_choice_is_kept(
    total: int | None, model: Model, trials: list[Arrangement]
) -> None:
    chosen = choose(model, total)
    assert chosen.arrangement == Arrangement("onnxruntime", 4, 1, 1)
    assert {trial.engine for trial in trials[:8]} == set(ENGINES)
    assert len(trials) == ALL and trials[-1] == chosen.arrangement  # the fastest are tried again
    assert len(chosen.reasons) == 9 and "75.0 pictures/s: onnxruntime, 4 workers of 1 thread, batch 1" in chosen.reasons
    again = choose(model, total)
    assert again.arrangement == chosen.arrangement and len(trials) == ALL
    assert "tried before" in again.reasons[0]


def test_a_camera_has_many_pictures_but_one_at_a_time(model: Model, trials: list[Arrangement]) -> None:
    chosen = choose(model, None, live=True)
    assert chosen.arrangement == Arrangement("onnxruntime", 1, 4, 1)
    assert {(trial.workers, trial.batch) for trial in trials} == {(1, 1)}
    assert choose(model, None, Wanted(workers=2), live=True).arrangement.workers == 2


def test_a_detector_that_may_choose(model: Model, trials: list[Arrangement]) -> None:
    """Of the engines that are installed, as many callers as it is told; few pictures aren't worth a trial."""
    assert Detector(model, engine="auto", few=True).engine == "ncnn" and not trials
    detector = Detector(model, engine="auto", callers=2, threads=2)
    assert detector.engine == "onnxruntime"
    assert {(trial.workers, trial.threads, trial.batch) for trial in trials} == {(2, 2, 1)}
    trials.clear()
    assert copy.copy(detector).engine == "onnxruntime" and not trials


def test_the_choice_belongs_to_machine_versions_model_size_and_batch(
    model: Model, trials: list[Arrangement], monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(model)
    other = dict(model.tensors)
    name = min(other)
    other[name] = other[name] + 1
    for change in (
        lambda: arrange(model, (96, 64), LARGE, Wanted()),
        lambda: choose(replace(model, tensors=other)),
        lambda: choose(model, wanted=Wanted(batch=2)),
        lambda: choose(model, wanted=Wanted(threads=2)),
    ):
        before = len(trials)
        change()
        assert len(trials) > before
    before = len(trials)
    monkeypatch.setattr(arrangement, "processor_identity", lambda: ["another"])
    choose(model)
    monkeypatch.setattr(arrangement, "package_version", lambda package: f"{package} 99")
    choose(model)
    assert len(trials) == before + 2 * ALL


def test_an_engine_with_other_results_or_none_is_left_out(
    model: Model, trials: list[Arrangement], monkeypatch: pytest.MonkeyPatch
) -> None:
    def outputs(detector: Any, _: Any) -> tuple[np.ndarray, np.ndarray]:
        if detector.engine == "openvino":
            raise Yolov3Error("it is broken")
        boxes, scores = np.ones((3, 4)), np.full((3, 2), 0.4)
        if detector.engine == "onnxruntime":
            boxes[1, 2] += 0.6
        if detector.engine == "mnn":
            scores[2, 1] = np.nan
        return boxes, scores

    monkeypatch.setattr(arrangement, "_outputs", outputs)
    chosen = choose(model)
    assert chosen.arrangement.engine == "ncnn"
    assert {trial.engine for trial in trials} == {"ncnn"}
    assert [warning.split()[1] for warning in chosen.warnings] == ["onnxruntime", "openvino", "mnn"]
    assert "moves boxes by 0.6 pixels" in chosen.warnings[0] and "it is broken" in chosen.warnings[1]


@pytest.mark.parametrize("content", ["", "[1]", "{", "{}", '{"KEY": 3}', '{"KEY": {"engine": "x"}}', "[" * 100_000])
def test_a_damaged_cache_is_as_none(
    content: str, model: Model, trials: list[Arrangement], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrangement, "cache_key", lambda *_: "KEY")
    path = arrangement.cache_folder() / "arrangements.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    choose(model)
    assert len(trials) == ALL
    choose(model)
    assert len(trials) == ALL and json.loads(path.read_text())["KEY"]["engine"] == "onnxruntime"


def test_a_cache_that_cannot_be_written_stops_nothing(model: Model, trials: list[Arrangement]) -> None:
    arrangement.cache_folder().parent.mkdir(parents=True, exist_ok=True)
    arrangement.cache_folder().write_text("a file in the place of the folder")
    chosen = choose(model)
    assert chosen.arrangement.engine == "onnxruntime" and "can't be written" in chosen.reasons[-1]


def test_the_cache_keeps_the_latest(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "new" / "choices.json")
    for number in range(Cache.MOST + 5):
        assert cache.put(str(number), Arrangement("ncnn", number + 1, 1, 1))
    assert cache.get("4") is None
    assert cache.get(str(Cache.MOST + 4)) == Arrangement("ncnn", Cache.MOST + 5, 1, 1)


def test_batches_are_for_mnn_and_for_networks_that_leave_room(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrangement, "installed_engines", lambda: ENGINES)
    found = possible(model, SIZE, Wanted(), 2)
    assert {each.batch for each in found if each.engine == "mnn"} == {8}
    assert {each.batch for each in found if each.engine != "mnn"} == {1}
    monkeypatch.setattr(arrangement, "MOST_VALUES", 1)
    assert {each.batch for each in possible(model, SIZE, Wanted(), 2)} == {1}
    assert possible(model, SIZE, Wanted(workers=3, batch=7), 2) == [Arrangement(engine, 3, 1, 7) for engine in ENGINES]


def test_the_real_engines(model: Model) -> None:
    chosen = choose(model)
    assert chosen.arrangement in possible(model, SIZE, Wanted(), usable_cores())
    assert chosen.arrangement.engine in installed_engines()
    assert all("MNN" in warning or "mnn" in warning for warning in chosen.warnings)


def test_an_exported_network_has_its_own_engine(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "x.param"
    export_model(model, path, signature_for(path, model))
    chosen = choose(load_exported(path))  # type: ignore[arg-type]
    assert chosen.arrangement.engine is None and "its own engine" in chosen.reasons[0]


@pytest.mark.parametrize("option", ["--workers", "--threads", "--batch"])
def test_counts_that_cannot_be(option: str, cli: Cli, photo: Path) -> None:
    result = cli("detect", photo, option, "0")
    assert (result.code, result.err) == (2, f"yolov3: error: {option} 0: expected 1 or more\n")
    with pytest.raises(UsageError):
        Wanted(**{option[2:]: -1})


def test_the_command_line_says_what_it_does(cli: Cli, photo: Path, tmp_path: Path) -> None:
    results = []
    for words in ([], ["--workers", "2"], ["--workers", "2", "--batch", "3", "--threads", "2"]):
        found = tmp_path / "found.jsonl"
        result = cli("detect", *[photo] * 7, "--no-save", "--json", found, "--verbose", *words)
        assert result.code == 0 and "(not tried: the job has less than 200 pictures)" in result.err
        results.append(found.read_text())
    assert results[0].count("\n") == 7 and len(set(results)) == 1


def test_bfloat16_on_the_command_line_means_openvino(cli: Cli, photo: Path) -> None:
    pytest.importorskip("openvino")
    result = cli("detect", photo, "--no-save", "--precision", "bfloat16", "--verbose")
    assert result.code == 0 and "openvino, 1 worker" in result.err and "1 cup" in result.out
    result = cli("detect", photo, "--precision", "bfloat16", "--engine", "ncnn")
    assert (result.code, result.err) == (
        2,
        "yolov3: error: engine ncnn computes in float32 only; bfloat16 goes with openvino\n",
    )
