"""Networks that engines compiled are kept in the user's cache, and what is wrong there never shows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import random_model, small_spec
from yolov3.errors import ModelError, Yolov3Error
from yolov3.graph import lower
from yolov3.modelfile import Model
from yolov3.runtime import compiled
from yolov3.runtime.engines import ENGINES, installed_engines, make_engine
from yolov3.zoo import cache_folder

KEEPING = [engine for engine in ENGINES if engine != "ncnn"]
PICTURE = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)


@pytest.fixture(params=KEEPING)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name not in installed_engines():
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model(small_spec())


def outputs(engine: str, model: Model, **use: Any) -> list[np.ndarray[Any, Any]]:
    return make_engine(engine, lower(model), 1, **use)(PICTURE)


def kept() -> list[Path]:
    folder = cache_folder() / "compiled"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def no_writing(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    """From here on, networks can't be written for this engine."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("written again")

    writer = "emit_mnn" if engine == "mnn" else "emit_onnx"
    monkeypatch.setattr(f"yolov3.runtime.engines.{engine}.{writer}", refuse)


def test_the_second_start_takes_what_the_first_kept(engine: str, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit the same, whatever the threads."""
    first = outputs(engine, model)
    assert len(kept()) == 1
    no_writing(monkeypatch, engine)
    for use in ({}, {"few": True}, {"callers": 2}):
        for expected, found in zip(first, outputs(engine, model, **use), strict=True):
            assert np.array_equal(expected, found)


def test_another_network_is_another_file(engine: str, model: Model) -> None:
    first = outputs(engine, model)
    other = outputs(engine, random_model(small_spec(), seed=1))
    assert len(kept()) == 2
    assert not np.array_equal(first[0], other[0])


def test_other_code_is_another_file(engine: str, model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outputs(engine, model)
    (tmp_path / "changed.py").write_text("# as a developer would")
    monkeypatch.setattr(compiled.lowering, "__file__", str(tmp_path / "lowering.py"))
    outputs(engine, model)
    assert len(kept()) == 2


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2]])
def test_a_damaged_file_is_made_anew(engine: str, model: Model, damage: Callable[[bytes], bytes]) -> None:
    if engine == "mnn":
        pytest.skip("MNN's reader takes such files for networks, or crashes: docs/decisions/013-compiled-networks.md")
    expected = outputs(engine, model)
    (path,) = kept()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert all(np.array_equal(one, two) for one, two in zip(expected, outputs(engine, model), strict=True))
    assert kept() == [path]
    assert len(path.read_bytes()) > 0.9 * len(whole)


def test_a_cache_that_cannot_be_written_is_done_without(engine: str, model: Model) -> None:
    cache_folder().parent.mkdir(parents=True, exist_ok=True)
    cache_folder().write_text("in the way")
    assert np.isfinite(outputs(engine, model)[0]).all()
    assert cache_folder().read_text() == "in the way"


def test_what_an_engine_cannot_keep_it_does_without(model: Model) -> None:
    def load(path: Path) -> bytes:
        raise ModelError("not mine")

    found = compiled.load_compiled(lower(model), "onnx", ".onnx", lambda path: None, load, lambda: b"from memory")
    assert found == b"from memory"


def test_what_is_wrong_with_a_network_is_still_said(model: Model) -> None:
    def write(path: Path) -> bytes:
        raise Yolov3Error("no such network")

    with pytest.raises(Yolov3Error, match="no such network"):
        compiled.load_compiled(lower(model), "onnx", ".onnx", write, Path.read_bytes, lambda: write(Path()))
    assert kept() == []


def test_what_was_used_longest_ago_goes(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "MOST_BYTES", 250)
    models = [random_model(small_spec(), seed=seed) for seed in range(3)]

    def use(which: int) -> bytes:
        def write(path: Path) -> None:
            path.write_bytes(b"x" * 100)

        return compiled.load_compiled(lower(models[which]), "onnx", ".onnx", write, Path.read_bytes, bytes)

    use(0)
    (first,) = kept()
    use(1)
    (second,) = set(kept()) - {first}
    os.utime(first, (1, 1))
    os.utime(second, (2, 2))
    use(0)  # which makes the other one the oldest
    use(2)
    assert first in kept()
    assert second not in kept()
    assert len(kept()) == 2
