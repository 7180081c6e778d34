"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data that a user's clone hasn't got."""
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not here: real pictures and weights for development only")
    return SHARED


@dataclass
class CliResult:
    """What a run of the command line gave."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., CliResult]:
    """Run the command line in this process: `cli("detect", "photo.jpg")`."""
    from yolov3.cli import main

    def run(*arguments: str | os.PathLike[str]) -> CliResult:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([os.fspath(argument) for argument in arguments])
        captured = capsys.readouterr()
        return CliResult(int(stop.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def photo() -> Path:
    """A sample photo with a cup on it."""
    from yolov3.zoo import sample_photos

    return next(path for path in sample_photos() if path.stem == "cup")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's cache folder stays as it is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / f"cache-{os.urandom(6).hex()}"))


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(0)
