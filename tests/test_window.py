"""`--show`: a window where there is a display."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import CliResult

pytest.importorskip("tkinter")


def test_without_a_display_it_says_so(
    photo: Path, cli: Callable[..., CliResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if sys.platform in ("win32", "darwin"):
        pytest.skip("there is always a display")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.chdir(tmp_path)
    run = cli("detect", photo, "--show")
    assert run.code == 2 and "--show" in run.err and run.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.fixture
def display(tmp_path: Path) -> Iterator[str]:
    """A screen that nobody sees."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    number = f":{200 + os.getpid() % 500}"
    server = subprocess.Popen(["Xvfb", number, "-screen", "0", "640x480x24"], stderr=subprocess.DEVNULL)
    time.sleep(1)
    yield number
    server.terminate()
    server.wait()


def test_pictures_are_shown_and_the_run_ends(photo: Path, display: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "yolov3", "detect", str(photo), "--show", "--no-save"],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"DISPLAY": display}, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0 and "1 cup" in run.stdout, run.stderr


def test_closing_the_window_ends_the_run(photo: Path, display: str, tmp_path: Path) -> None:
    code = """
import sys
from yolov3.sinks import Window
original = Window.write
def close(self, result):
    self._root.after(100, self._close)
    original(self, result)
Window.write = close
from yolov3.cli import main
main(sys.argv[1:])
"""
    run = subprocess.run(
        [sys.executable, "-c", code, "detect", *[str(photo)] * 50, "--show", "--no-save"],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"DISPLAY": display}, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0 and "(stopped)" in run.stdout, run.stderr
