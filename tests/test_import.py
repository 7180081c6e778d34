"""What importing and detecting may load and do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = """
import os, sys, threading
events = []
def hook(name, arguments):
    if name.startswith("socket."):
        events.append((name, str(arguments)))
    if name == "open" and arguments[0] != os.devnull and not isinstance(arguments[0], int):
        if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):  # open() and os.open(), so tempfile too
            events.append((name, str(arguments[0])))
sys.addaudithook(hook)
"""


def run(code: str, folder: Path) -> str:
    result = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, cwd=folder, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_fault_134_importing_does_nothing(tmp_path: Path) -> None:
    """No torch, no network, no thread, no file; and nothing heavy before it is needed."""
    code = (
        AUDIT
        + """
before = set(sys.modules)
import yolov3
assert threading.active_count() == 1
assert len(os.listdir("/proc/self/task")) == 1 if os.path.isdir("/proc/self/task") else True
assert not events, events
heavy = {"torch", "numpy", "cv2", "ncnn", "onnxruntime", "PIL", "yaml"} & set(sys.modules)
assert not heavy, heavy
print(yolov3.__version__)
"""
    )
    assert run(code, tmp_path).strip()
    assert not list(tmp_path.iterdir())


def test_detecting_needs_no_torch_and_no_network(tmp_path: Path, photo: Path) -> None:
    code = (
        AUDIT
        + f"""
from yolov3.cli import main
try:
    main(["detect", {str(photo)!r}, "--no-save"])
except SystemExit as stop:
    assert not stop.code
assert not events, events
unwanted = {{"torch", "onnx", "onnxruntime", "matplotlib", "requests", "pandas"}} & set(sys.modules)
assert not unwanted, unwanted
"""
    )
    assert "cup" in run(code, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_audit_would_notice(tmp_path: Path) -> None:
    code = (
        AUDIT
        + """
import socket, tempfile
open("a", "w").close()
tempfile.mkstemp(dir=".")
socket.socket()
assert [name for name, _ in events] == ["open", "open", "socket.__new__"], events
"""
    )
    run(code, tmp_path)


def test_the_public_names() -> None:
    import yolov3

    assert sorted(yolov3.__all__) == dir(yolov3)
    for name in yolov3.__all__:
        assert getattr(yolov3, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = yolov3.nothing  # type: ignore[attr-defined]
