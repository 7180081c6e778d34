"""Sinks: what they write, that it is whole, and that it is gone when a run fails."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import yolov3
from conftest import CliResult
from yolov3.detections import Detections
from yolov3.runtime.pipeline import Result
from yolov3.sinks import (
    AnnotatedPictures,
    AnnotatedVideos,
    CocoResults,
    Crops,
    CsvTable,
    JsonLines,
    RunFolder,
    YoloLabels,
    record_of,
)
from yolov3.sources import Frame
from yolov3.zoo import COCO_NAMES

Cli = Callable[..., CliResult]
NAMES = ("person", "dog/cat")


def result(name: str = "a.jpg", *, index: int | None = None, rate: float | None = None, count: int = 2) -> Result:
    """A picture of 100×80 with some objects."""
    image = np.full((80, 100, 3), 60, np.uint8)
    boxes = np.array([[10, 20, 50, 60], [0, 0, 100, 80]], np.float32)[:count]
    scores, labels = np.array([0.9, 0.5], np.float32)[:count], np.array([1, 0])[:count]
    seconds = None if index is None else index / 10
    frame = Frame(name, image, path=Path(name), index=index, time=seconds, rate=rate)
    return Result(frame, Detections(boxes, scores, labels, NAMES, (100, 80)), 5.0)


def unreadable(name: str = "bad.jpg") -> Result:
    return Result(Frame(name, None, f"{name}: no picture"), None)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of 20 frames at 10 a second."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for index in range(20):
        writer.write(np.full((64, 96, 3), index * 10, np.uint8))
    writer.release()
    return path


def frames_of(path: Path) -> tuple[int, float, tuple[int, int]]:
    """Frames that decode, rate, size."""
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS)
    count, size = 0, (0, 0)
    while True:
        good, image = capture.read()
        if not good:
            return count, rate, size
        count, size = count + 1, (image.shape[1], image.shape[0])


def test_records() -> None:
    assert record_of(unreadable()) == {"image": "bad.jpg", "error": "bad.jpg: no picture"}
    record = record_of(result(index=3))
    assert (record["frame"], record["time"], record["width"], record["height"]) == (3, 0.3, 100, 80)
    assert record["detections"][0]["label"] == "dog/cat"
    assert "frame" not in record_of(result()) and "truncated" not in record


def test_names_are_exact_for_programs_and_printable_for_people() -> None:
    odd = Frame("a\\nb.jpg", None, "a\\nb.jpg: empty", Path("a\nb.jpg"))
    assert record_of(Result(odd, None))["image"] == "a\nb.jpg"
    undecodable = Frame("\\xff.jpg", None, "\\xff.jpg: empty", Path(os.fsdecode(b"\xff.jpg")))
    assert record_of(Result(undecodable, None))["image"] == "\\xff.jpg"


def test_yolo_labels(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with YoloLabels(folder) as plain:
        plain.write(result())
        plain.write(result("none.jpg", count=0))
        plain.write(unreadable())
    labels = tmp_path / "run" / "labels"
    assert (labels / "a.txt").read_text() == (
        "1 0.300000 0.500000 0.400000 0.500000\n0 0.500000 0.500000 1.000000 1.000000\n"
    )
    assert (labels / "none.txt").read_text() == "" and not (labels / "bad.txt").exists()
    with YoloLabels(RunFolder(tmp_path / "scored"), scores=True) as scored:
        scored.write(result("v.mp4", index=7))
    line = (tmp_path / "scored/labels/v_000007.txt").read_text().splitlines()[0]
    assert line == "1 0.300000 0.500000 0.400000 0.500000 0.900000"


def test_crops_are_the_pixels_of_the_boxes(tmp_path: Path) -> None:
    with Crops(RunFolder(tmp_path / "run")) as crops:
        crops.write(result())
        crops.write(unreadable())
    assert crops.count == 2
    crop = cv2.imread(str(tmp_path / "run/crops/dog_cat/a-1.jpg"))
    assert crop.shape == (40, 40, 3)
    assert (tmp_path / "run/crops/person/a-2.jpg").is_file()


def test_csv(tmp_path: Path) -> None:
    with CsvTable(tmp_path / "t.csv") as table:
        table.write(result('we,ird "name".jpg'))
        table.write(result(index=2))
        table.write(unreadable())
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert len(rows) == 4
    assert rows[0]["image"] == 'we,ird "name".jpg' and rows[0]["frame"] == ""
    assert (rows[2]["frame"], rows[2]["time"], rows[2]["label"]) == ("2", "0.2", "dog/cat")
    assert [float(rows[0][key]) for key in ("x1", "y1", "x2", "y2")] == [10, 20, 50, 60]


def test_coco_results_load_in_pycocotools(tmp_path: Path) -> None:
    with CocoResults(tmp_path / "r.json") as results:
        results.write(result("000000000042.jpg"))
        results.write(result("clip.mp4", index=3))
        results.write(unreadable())
    values = json.loads((tmp_path / "r.json").read_text())
    assert [value["image_id"] for value in values] == [42, 42, "clip:3", "clip:3"]
    assert [value["category_id"] for value in values[:2]] == [1, 0]
    assert values[0]["bbox"] == [10, 20, 40, 40]
    with CocoResults(tmp_path / "none.json"):
        pass
    assert json.loads((tmp_path / "none.json").read_text()) == []


def test_coco_results_of_coco_classes_have_cocos_ids(tmp_path: Path) -> None:
    found = Detections(np.zeros((2, 4), np.float32), np.ones(2, np.float32), np.array([0, 79]), COCO_NAMES, (9, 9))
    with CocoResults(tmp_path / "r.json") as results:
        results.write(Result(Frame("1.jpg", np.zeros((9, 9, 3), np.uint8)), found))
    assert [value["category_id"] for value in json.loads((tmp_path / "r.json").read_text())] == [1, 90]


@pytest.mark.parametrize(("kind", "name"), [(JsonLines, "x.jsonl"), (CsvTable, "x.csv"), (CocoResults, "x.json")])
def test_a_file_is_whole_or_not_there(kind: type, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("before")
    with pytest.raises(RuntimeError), kind(tmp_path / name) as sink:
        sink.write(result())
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "before"


@pytest.mark.parametrize("rate", [10.0, 2.5])
def test_a_video_keeps_its_rate_and_size(rate: float, tmp_path: Path) -> None:
    with AnnotatedVideos(RunFolder(tmp_path / "run")) as videos:
        for index in range(12):
            videos.write(result("clip.avi", index=index, rate=rate))
        videos.write(result("other.avi", index=0, rate=rate))
        videos.write(result("picture.jpg"))
    assert videos.count == 2
    assert frames_of(tmp_path / "run/clip.mp4") == (12, rate, (100, 80))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["clip.mp4", "other.mp4"]


def test_a_camera_is_recorded_in_its_own_time(tmp_path: Path) -> None:
    with AnnotatedVideos(RunFolder(tmp_path / "run")) as videos:
        for index in (0, 4, 10, 20):  # one second and a half apart in all: 0, 0.4, 1 and 2 s
            videos.write(result("camera 0", index=index))
    count, rate, _ = frames_of(tmp_path / "run/camera 0.mp4")
    assert rate == 25 and count == 51


def test_a_video_whose_size_changes(tmp_path: Path) -> None:
    with AnnotatedVideos(RunFolder(tmp_path / "run")) as videos:
        videos.write(result("clip.avi", index=0, rate=10.0))
        large = np.zeros((160, 200, 3), np.uint8)
        found = Detections.empty(NAMES, (200, 160))
        videos.write(Result(Frame("clip.avi", large, index=1, time=0.1, rate=10.0), found))
    assert frames_of(tmp_path / "run/clip.mp4") == (2, 10, (100, 80))


def test_names_in_a_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    frames = [Frame(name, np.zeros((4, 4, 3), np.uint8)) for name in ("a/x.jpg", "b/x.png", "b/X.bmp", "-")]
    assert [folder.stem(frame) for frame in frames] == ["x", "x-2", "X-3", "stdin"]
    video = [Frame("x.mp4", np.zeros((4, 4, 3), np.uint8), index=index) for index in (0, 5, 9)]
    assert [folder.frame_stem(frame) for frame in video] == ["x-4_000000", "x-4_000005", "x-4_000009"]
    assert folder.stem(Frame("..", np.zeros((4, 4, 3), np.uint8))) not in ("..", "")
    assert folder.path is None and not (tmp_path / "run").exists()


def test_pictures_keep_png_and_the_input_stays(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.webp", "c.bmp"):
        cv2.imwrite(str(tmp_path / name), np.full((40, 60, 3), 80, np.uint8))
    assert cli("detect", "a.png", "b.webp", "c.bmp", "--output", "out").code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "b.jpg", "c.jpg"]


def test_everything_at_once_on_a_video(clip: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = cli(
        "detect", clip, "--every", "4", "--txt", "--crops", "--json", "r.jsonl", "--csv", "r.csv", "--coco", "r.json"
    )
    assert run.code == 0, run.err
    assert "clip.avi" in run.out and "5 frames" in run.out
    records = [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]
    assert [record["frame"] for record in records] == [0, 4, 8, 12, 16]
    assert [record["time"] for record in records] == pytest.approx([0, 0.4, 0.8, 1.2, 1.6])
    assert frames_of(tmp_path / "runs/detect/exp/clip.mp4") == (5, 2.5, (96, 64))
    assert len(list((tmp_path / "runs/detect/exp/labels").iterdir())) == 5


def test_fault_71_a_cut_video_keeps_the_results_so_far(
    clip: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cut = tmp_path / "cut.avi"
    cut.write_bytes(clip.read_bytes()[: int(clip.stat().st_size * 0.6)])
    run = cli("detect", cut, "--json", "r.jsonl")
    records = [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]
    good = [record for record in records if "error" not in record]
    assert run.code == 3 and "cut.avi" in run.err and 0 < len(good) < 20
    assert frames_of(tmp_path / "runs/detect/exp/cut.mp4")[0] == len(good)


LONG_RUN = """
import sys, time
from yolov3.runtime.detector import Detector
original = Detector.batch
def slow(self, images):
    time.sleep(0.05)
    return original(self, images)
Detector.batch = slow
from yolov3.cli import main
main(sys.argv[1:])
"""


def start(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", LONG_RUN, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background has it ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_fault_81_ctrl_c_leaves_a_playable_video_and_whole_results(number: int, code: int, tmp_path: Path) -> None:
    path = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for _ in range(400):
        writer.write(np.zeros((64, 96, 3), np.uint8))
    writer.release()
    process = start(["detect", str(path), "--json", "r.jsonl", "--threads", "1"], tmp_path)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(tmp_path.glob("runs/detect/exp/.long*")):
        time.sleep(0.1)
    time.sleep(1.5)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err and "(stopped)" in out
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    count, rate, _ = frames_of(tmp_path / "runs/detect/exp/long.mp4")
    assert rate == 10 and 0 < count < 400
    assert abs(count - len([json.loads(line) for line in lines])) <= 1
    assert not list(tmp_path.rglob("*.tmp*"))


@pytest.mark.parametrize("option", ["--json", "--csv", "picture", "video"])
def test_fault_82_a_full_disk(option: str, clip: Path, photo: Path, tmp_path: Path) -> None:
    """A limit on file sizes stands for the disk: writing fails, one line says so, nothing half written is left."""
    out = tmp_path / "out"
    out.mkdir()
    source = clip if option == "video" else photo
    sinks = [option, str(out / "results"), "--no-save"] if option.startswith("--") else ["--output", str(out / "run")]
    bytes_allowed = 0 if option.startswith("--") else 2000

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_allowed, bytes_allowed))

    run = subprocess.run(
        [sys.executable, "-m", "yolov3", "detect", str(source), *sinks],
        capture_output=True, text=True, preexec_fn=limit, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert run.returncode == 1, run.stdout + run.stderr
    assert "Traceback" not in run.stderr and run.stderr.count("\n") == 1, run.stderr
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_fault_130_a_folder_that_refuses(photo: Path, cli: Cli) -> None:
    """/proc takes no files, not even from root."""
    if not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    for arguments in (["--output", "/proc/run"], ["--json", "/proc/r.jsonl", "--no-save"]):
        run = cli("detect", photo, *arguments)
        assert run.code == 1 and run.err.count("\n") == 1 and "/proc/r" in run.err


def test_fault_130_a_file_where_the_folder_should_be(photo: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "out").write_text("mine")
    run = cli("detect", photo, "--output", tmp_path / "out")
    assert run.code == 0 and "out2" in run.out and (tmp_path / "out").read_text() == "mine"


def test_fault_131_two_processes_never_share_a_folder(photo: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "yolov3", "detect", str(photo), "--threads", "1"]
    processes = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    folders = {output.rsplit(" ", 1)[1].strip() for output in outputs}
    assert len(folders) == 3 and all((tmp_path / folder / "cup.jpg").is_file() for folder in folders)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--save-conf"], "--save-conf goes with --txt"),
        (["--json", "a", "--csv", "./a"], "named for two kinds"),
        (["--every", "0"], "--every 0"),
        (["--tile", "8"], "tile is 8"),
        (["--tile", "64", "--overlap", "1"], "overlap is 1.0"),
    ],
)
def test_options_that_cannot_be_meant(arguments: list[str], words: str, photo: Path, cli: Cli) -> None:
    run = cli("detect", photo, *arguments)
    assert run.code == 2 and words in run.err


@pytest.mark.parametrize("workers", [1, 2])
def test_memory_is_flat_over_four_thousand_pictures(workers: int, tmp_path: Path) -> None:
    """With an engine that does nothing; what grows, once or steadily, must be less than two pictures in a hundred."""
    folder = tmp_path / "many"
    folder.mkdir()
    cv2.imwrite(str(folder / "0000.jpg"), np.zeros((120, 160, 3), np.uint8))
    for index in range(1, 4000):
        os.link(folder / "0000.jpg", folder / f"{index:04}.jpg")
    code = f"""
import numpy as np, yolov3
from yolov3.runtime import pipeline
from yolov3.sources import open_sources
from yolov3.sinks import *
detector = yolov3.Detector(threads=1, callers={workers})
detector._engine = lambda images: [np.full((len(images), 255, s, s), -9, np.float32) for s in (26, 13)]
def rss(): return int(open("/proc/self/statm").read().split()[1]) * 4096
sizes = []
folder = RunFolder()
with JsonLines("r.jsonl") as lines, open_sources([{str(folder)!r}]) as stream, AnnotatedPictures(folder) as pictures:
    assert stream.total == 4000
    for number, result in enumerate(pipeline.detect_frames(detector, stream.unread(), 4, workers={workers})):
        lines.write(result)
        if number % 40 == 0:
            pictures.write(result)
        if number in (1000, 3999):
            sizes.append(rss())
print((sizes[1] - sizes[0]) / 3000)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("reads memory from /proc")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 1000, f"{run.stdout} bytes a picture"


def test_fault_128_a_folder_of_a_hundred_thousand_names_starts_at_once(tmp_path: Path) -> None:
    """Before the first frame no other picture is opened, the total is known, and names take little memory."""
    folder = tmp_path / "many"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    for index in range(100_000):
        os.close(os.open(f"{index:06}.jpg", os.O_CREAT, dir_fd=descriptor))
    os.close(descriptor)
    code = f"""
import sys, tracemalloc
from yolov3.sources import open_sources
opened = []
def hook(name, arguments):
    if name in ("open", "os.stat") and ".jpg" in str(arguments[0]):
        opened.append(str(arguments[0])[-10:])
tracemalloc.start()
sys.addaudithook(hook)
with open_sources([{str(folder)!r}]) as stream:
    assert stream.total == 100_000
    assert not opened
    assert next(iter(stream)).name.endswith("000000.jpg")
assert set(opened) == {{"000000.jpg"}}, opened
assert tracemalloc.get_traced_memory()[1] < 50_000_000, tracemalloc.get_traced_memory()
"""
    try:
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    finally:
        shutil.rmtree(folder)
    assert run.returncode == 0, run.stderr


def test_fault_153_works_without_a_network(photo: Path, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare -n is not allowed here")
    run = subprocess.run(
        ["unshare", "-rn", sys.executable, "-m", "yolov3", "detect", str(photo), "--no-save"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert run.returncode == 0 and "cup" in run.stdout, run.stderr


def test_fault_129_a_name_that_is_not_utf8(photo: Path, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    try:
        Path(os.fsdecode(name)).write_bytes(photo.read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    command = [sys.executable, "-m", "yolov3", "detect", os.fsencode(tmp_path), b"--json", b"r.jsonl", b"--txt"]
    run = subprocess.run(command, capture_output=True, cwd=tmp_path, check=False, env=os.environ | {"LC_ALL": "C"})
    assert run.returncode == 0, run.stderr
    (record,) = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines()]
    assert record["detections"][0]["label"] == "cup"
    assert len(list((tmp_path / "runs/detect/exp").glob("*.jpg"))) == 1


def test_fault_129_a_narrow_terminal_without_colour(photo: Path, tmp_path: Path) -> None:
    environment = os.environ | {"COLUMNS": "20", "NO_COLOR": "1", "TERM": "dumb"}
    command = [sys.executable, "-m", "yolov3", "detect", str(photo), "--no-save"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert run.returncode == 0 and "\x1b" not in run.stdout + run.stderr and run.stderr == ""


def test_progress_on_a_terminal_and_silence_elsewhere(photo: Path, tmp_path: Path) -> None:
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    command = [sys.executable, "-m", "yolov3", "detect", *[str(photo)] * 12, "--no-save", "--threads", "1"]
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 100))
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=follower)
    os.close(follower)
    seen = b""
    with contextlib.suppress(OSError):  # the terminal's end
        while chunk := os.read(leader, 4096):
            seen += chunk
    os.close(leader)
    assert process.wait() == 0
    assert re.search(rb"\d+/12 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+(img/s|s/img)\]", seen), seen  # time left, rate
    quiet = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert quiet.returncode == 0 and quiet.stderr == ""


def test_fault_132_a_detector_after_fork(photo: Path) -> None:
    """A detector made before a fork works in the child (as in a server that forks workers)."""
    code = f"""
import os, yolov3
detector = yolov3.Detector(threads=1)
expected = detector({str(photo)!r}).boxes.tolist()
child = os.fork()
if child == 0:
    os._exit(0 if detector({str(photo)!r}).boxes.tolist() == expected else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_standard_input(photo: Path, tmp_path: Path) -> None:
    with photo.open("rb") as file:
        run = subprocess.run(
            [sys.executable, "-m", "yolov3", "detect", "-", "--json", "-"],
            stdin=file, capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip
    assert json.loads(run.stdout)["detections"][0]["label"] == "cup"
    assert (tmp_path / "runs/detect/exp/stdin.jpg").is_file()


def test_the_annotated_picture_is_the_picture_with_boxes(tmp_path: Path, photo: Path) -> None:
    image = yolov3.read_image(photo)
    boxes = np.array([[100, 100, 300, 200]], np.float32)
    found = Detections(boxes, np.ones(1, np.float32), np.zeros(1, np.int64), NAMES, (600, 400))
    with AnnotatedPictures(RunFolder(tmp_path / "run")) as pictures:
        pictures.write(Result(Frame("p.png", image, path=photo), found))
    saved = yolov3.read_image(tmp_path / "run/p.png")
    np.testing.assert_array_equal(saved, found.annotate(image))
    assert (saved[250:] == image[250:]).all() and (saved != image).any()
