"""`yolov3 detect` where the machine is against it: no permission, killed, devices for files, everything at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import yolov3

YOLOV3 = [sys.executable, "-m", "yolov3"]


def run(*command: str | Path, cwd: Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
    data = None if stdin is None else stdin.decode("latin-1")
    return subprocess.run(
        [str(word) for word in command], input=data, capture_output=True, text=True, encoding="latin-1", cwd=cwd,
        check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="session")
def obedient() -> list[str]:
    """What to put before a command so that files' permissions hold for it, also when root runs the tests."""
    if not hasattr(os, "geteuid"):
        pytest.skip("permissions are of another kind here")
    if os.geteuid():
        return []
    powers = "-dac_override,-dac_read_search"
    command = ["setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}"]
    if shutil.which("setpriv") is None or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("root can't give up its powers here")
    return command


def test_fault_128_what_cannot_be_read_never_stops_the_rest(obedient: list[str], photo: Path, tmp_path: Path) -> None:
    """A folder, a pattern, a list, standard input and a camera that isn't there, with pictures of every bad kind."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").mkdir()
    for name in ("folder/a.jpg", "folder/secret.jpg", "b.jpg"):
        shutil.copy(photo, tmp_path / name)
    (tmp_path / "folder/secret.jpg").chmod(0)
    (tmp_path / "folder/page.png").write_text("<html>")
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "list.txt").write_text("folder/a.jpg\nnone.jpg\nclosed/c.jpg\n")
    arguments = ("folder", "*.jpg", "list.txt", "-", "gone.jpg", "empty", "closed", "*.gif", "999")
    found = run(*obedient, *YOLOV3, "detect", *arguments, "--no-save", "--json", "r.jsonl", cwd=tmp_path,
                stdin=photo.read_bytes())  # fmt: skip
    (tmp_path / "closed").chmod(0o700)
    assert found.returncode == 3, found.stderr
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    good = [record["image"] for record in records if "detections" in record]
    assert good == ["folder/a.jpg", "b.jpg", "folder/a.jpg", "-"]
    errors = [record["error"] for record in records if "error" in record]
    expected = {
        "secret": "Permission denied",
        "page": "a web page",
        "none": "no such file",
        "closed/c": "no such file",
        "gone": "no such file",
        "empty": "no picture",
        "closed": "can't be listed",
        "gif": "no match",
        "camera 999": "can't be opened",
    }
    for name, words in expected.items():
        assert [error for error in errors if name in error and words in error], (name, errors)
    assert "4 pictures (9 could not be read)" in found.stdout
    assert found.stderr.count("\n") == 9 and "Traceback" not in found.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["detect", "{photo}"],
        ["detect", "{photo}", "--output", "mine"],
        ["detect", "{photo}", "--no-save", "--txt"],
        ["detect", "{photo}", "--no-save", "--crops"],
        ["detect", "{photo}", "--no-save", "--json", "r.jsonl"],
        ["detect", "{photo}", "--no-save", "--csv", "r.csv"],
        ["detect", "{photo}", "--no-save", "--coco", "r.json"],
        ["show", "yolov3-tiny", "--picture", "net.svg"],
    ],
    ids=lambda arguments: arguments[-1] if len(arguments) < 5 else arguments[-2],
)
def test_fault_130_a_read_only_folder(arguments: list[str], obedient: list[str], photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    words = [word.format(photo=photo) for word in arguments]
    refused = run(*obedient, *YOLOV3, *words, cwd=folder)
    assert refused.returncode == 1 and "Permission denied" in refused.stderr
    assert refused.stderr.startswith("yolov3: error: ") and refused.stderr.count("\n") == 1
    assert not list(folder.iterdir())
    if "--no-save" not in words and words[0] == "detect":  # looking needs no place to write to
        assert run(*obedient, *YOLOV3, *words, "--no-save", cwd=folder).returncode == 0


def test_fault_81_a_killed_run_leaves_nothing_half_done(tmp_path: Path) -> None:
    """SIGKILL can't be caught: what has its name is whole, the rest stays under hidden temporary names."""
    writer = cv2.VideoWriter(str(tmp_path / "z.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for _ in range(3000):
        writer.write(np.zeros((64, 96, 3), np.uint8))
    writer.release()
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((64, 96, 3), 90, np.uint8))
    sources = ["a.png", "b.png", "z.avi"]
    command = [*YOLOV3, "detect", *sources, "--threads", "1", "--size", "96", "--txt", "--json", "r.jsonl"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    out = tmp_path / "runs/detect/exp"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (out / "labels/z_000020.txt").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    named = sorted(path.name for path in out.iterdir() if path.is_file() and not path.name.startswith("."))
    assert named == ["a.png", "b.png"] and not (tmp_path / "r.jsonl").exists()
    assert all(yolov3.read_image(out / name).shape == (64, 96, 3) for name in named)
    assert run(*YOLOV3, "detect", "a.png", cwd=tmp_path).stdout.strip().endswith("exp2")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
@pytest.mark.parametrize("kind", ["--json", "--csv", "--coco"])
def test_fault_82_a_device_that_is_full(kind: str, photo: Path, tmp_path: Path) -> None:
    """By its descriptor, so that a mistake couldn't put a file in the place of the device."""
    with Path("/dev/full").open("wb") as full:
        name = f"/dev/fd/{full.fileno()}"
        command = [*YOLOV3, "detect", str(photo), "--no-save", kind, name]
        failed = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, pass_fds=[full.fileno()], check=False
        )
    assert failed.returncode == 1 and failed.stderr == (
        f"yolov3: error: {name}: could not be written (No space left on device)\n"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_results_go_into_a_pipe_that_stays_one(photo: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    command = [*YOLOV3, "detect", str(photo), str(photo), "--no-save", "--json", "pipe"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        records = [json.loads(line) for line in (tmp_path / "pipe").read_text().splitlines()]
    assert process.returncode == 0 and [record["image"] for record in records] == [str(photo)] * 2
    assert (tmp_path / "pipe").is_fifo()


def test_fault_130_the_longest_names_of_pictures_and_classes(photo: Path, tmp_path: Path) -> None:
    """Results have a number and another suffix, and must still fit into the 255 bytes that file systems take."""
    names = ["a" * 251, "ä" * 125, "a" * 250 + "b"]
    for name in names:
        shutil.copy(photo, tmp_path / f"{name}.jpg")
    (tmp_path / "my.names").write_text("".join(f"{'class ' * 60}{index}\n" for index in range(80)))
    done = run(*YOLOV3, "detect", *[f"{name}.jpg" for name in names], "--txt", "--crops", "--names", "my.names",
               "--output", "out", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*.jpg"))) == len(list((tmp_path / "out/labels").iterdir())) == 3
    assert len(list((tmp_path / "out/crops").rglob("*.jpg"))) == 3


def test_fault_153_the_other_commands_work_without_a_network(photo: Path, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare -n is not allowed here")
    for arguments in (["show", "yolov3"], ["models"], ["convert", "yolov3-tiny", "tiny.cfg"], ["--help"],
                      ["detect", photo, "--json", "r.jsonl", "--csv", "r.csv", "--txt", "--crops"]):  # fmt: skip
        done = run("unshare", "-rn", *YOLOV3, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
