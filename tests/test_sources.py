"""Files, folders, patterns, lists and standard input as sources of frames."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolov3.errors import DataError, UsageError
from yolov3.images import write_image
from yolov3.sources import Frame, open_sources
from yolov3.sources.camera import _frames
from yolov3.sources.files import StandardInput


def picture(value: int, size_wh: tuple[int, int] = (8, 6)) -> np.ndarray:
    return np.full((size_wh[1], size_wh[0], 3), value, np.uint8)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`photos/` with a.png, b.jpg, c.PNG, a note, a hidden picture and a subfolder; also the current folder's."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    (folder / "more.jpg").mkdir(parents=True)
    for index, name in enumerate(("a.png", "b.jpg", "c.PNG", ".hidden.png", "more.jpg/d.png")):
        write_image(folder / name, picture(10 * index))
    (folder / "note.md").write_text("no picture")
    return folder


def names(*arguments: str) -> list[str]:
    with open_sources(arguments) as stream:
        return [frame.name for frame in stream]


def frames_of(*arguments: str) -> list[Frame]:
    with open_sources(arguments) as stream:
        frames = list(stream)
    for frame in frames:
        assert (frame.image is None) != (frame.error is None)
        assert frame.error is None or (frame.error.startswith(frame.name) and "\n" not in frame.error)
    return frames


def test_a_file(photos: Path) -> None:
    (frame,) = frames_of("photos/b.jpg")
    assert (frame.name, frame.path, frame.index, frame.time) == ("photos/b.jpg", Path("photos/b.jpg"), None, None)
    assert frame.image is not None
    assert frame.image.shape == (6, 8, 3)


def test_a_folder_gives_its_own_pictures_by_name(photos: Path) -> None:
    assert names("photos") == ["photos/a.png", "photos/b.jpg", "photos/c.PNG"]
    assert names(str(photos) + "/") == [str(photos / name) for name in ("a.png", "b.jpg", "c.PNG")]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("photos/*.png", ["a.png"]),
        ("photos/*", ["a.png", "b.jpg", "c.PNG"]),
        ("photos/**/*.png", ["a.png", "more.jpg/d.png"]),
        ("photos/[ab].*", ["a.png", "b.jpg"]),
        ("**/*.png", ["a.png", "more.jpg/d.png"]),
        ("**/more.jpg/**/d.*", ["more.jpg/d.png"]),
        ("photos/**", ["a.png", "b.jpg", "c.PNG", "more.jpg/d.png"]),
        ("p*/**/*.png", ["a.png", "more.jpg/d.png"]),
    ],
)
def test_patterns(pattern: str, found: list[str], photos: Path) -> None:
    assert names(pattern) == [f"photos/{name}" for name in found]
    assert names(str(photos.parent / pattern)) == [str(photos / name) for name in found]


def test_fault_50_links_that_lead_in_circles_end_no_pattern(photos: Path) -> None:
    for name in ("round", "about"):  # glob.glob would follow them 2^40 times
        (photos / name).symlink_to(photos, target_is_directory=True)
    assert names("photos/**/*.png") == ["photos/a.png", "photos/more.jpg/d.png"]


def test_a_file_whose_name_looks_like_a_pattern_or_a_camera(photos: Path) -> None:
    write_image("shot[1].png", picture(1))
    Path("0").write_bytes(Path("shot[1].png").read_bytes())
    assert names("shot[1].png", "0") == ["shot[1].png", "0"]
    assert all(frame.image is not None for frame in frames_of("0"))


def test_several_arguments_in_their_order_with_a_total(photos: Path) -> None:
    with open_sources(["photos/c.PNG", "photos", "photos/*.jpg"]) as stream:
        assert stream.total == 5
        assert [Path(frame.name).name for frame in stream] == ["c.PNG", "a.png", "b.jpg", "c.PNG", "b.jpg"]


def test_a_list_of_paths(photos: Path) -> None:
    lines = ["\ufeffphotos/a.png", "", "# a comment", "c.PNG", "none.jpg", "photos", "x" * 5000]
    (photos / "list.txt").write_bytes("\r\n".join(lines).encode())
    with open_sources(["photos/list.txt"]) as stream:
        assert stream.total == 5
        frames = list(stream)
    assert [frame.name for frame in frames] == ["photos/a.png", "photos/c.PNG", "none.jpg", "photos", "x" * 5000]
    assert [frame.error for frame in frames] == [
        None,
        None,
        "none.jpg: no such file (photos/list.txt:5)",
        "photos: no such file (photos/list.txt:6)",
        f"{'x' * 5000}: no such file (photos/list.txt:7)",  # longer than any name can be
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "names no file"),
        (b"# nothing\n\n", "names no file"),
        (b"\x7fELF\0\0", "no text"),
        (b"x" * 70_000, "no text"),
    ],
)
def test_what_is_no_list(content: bytes, words: str, photos: Path) -> None:
    Path("list.txt").write_bytes(content)
    with pytest.raises(DataError, match=words):
        open_sources(["list.txt"])


def test_standard_input(photos: Path) -> None:
    data = (photos / "a.png").read_bytes()
    (frame,) = StandardInput(io.BytesIO(data)).frames()
    assert (frame.name, frame.error, frame.path) == ("-", None, None)
    (frame,) = StandardInput(io.BytesIO(data[:50])).frames()
    assert frame.error is not None
    assert frame.error.startswith("standard input: ")
    (frame,) = StandardInput(io.BytesIO()).frames()
    assert "empty" in (frame.error or "")


def test_standard_input_of_the_process(photos: Path) -> None:
    code = "from yolov3.sources import open_sources\nprint([f.image.shape for f in open_sources(['-'])])"
    with (photos / "a.png").open("rb") as file:
        result = subprocess.run([sys.executable, "-c", code], stdin=file, stdout=subprocess.PIPE, check=True)
    assert result.stdout == b"[(6, 8, 3)]\n"


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("none.jpg", r"none\.jpg: no such file or folder"),
        ("", "an empty name"),
        ("photos/*.gif", "no match"),
        ("photos/*.md", "none ends like a picture"),
        ("empty", "no picture or video in this folder"),
        ("1234567", "no such file or folder"),
        ("concat:a.mp4|b.mp4", "no such file or folder"),
    ],
)
def test_an_argument_that_names_nothing(argument: str, words: str, photos: Path) -> None:
    Path("empty").mkdir()
    with pytest.raises(DataError, match=words):
        open_sources([argument, argument])
    with open_sources(["photos/a.png", argument, "photos/b.jpg"]) as stream:  # beside others it is skipped
        assert stream.total == 3
        first, missing, last = stream
    assert (first.name, last.name) == ("photos/a.png", "photos/b.jpg")
    assert missing.image is None
    assert re.search(words, missing.error or "")


@pytest.mark.parametrize("url", ["https://example.org/a.jpg", "rtsp://10.0.0.1/x", "file:///etc/passwd", "HTTP://a/b*"])
def test_nothing_is_read_from_the_network(url: str) -> None:
    with pytest.raises(UsageError, match="nothing is read from the network"):
        open_sources([url])


def test_options_out_of_range(photos: Path) -> None:
    with pytest.raises(UsageError, match="--every 0"):
        open_sources(["photos"], every=0)
    with pytest.raises(UsageError, match="no picture named"):
        open_sources([])


def test_fault_57_a_bad_picture_is_named_and_the_rest_goes_on(photos: Path) -> None:
    (photos / "aa.jpg").write_bytes(b"<html>")
    (photos / "ab.heic").write_bytes(b"\0\0\0\x20ftypheic" + bytes(99))
    frames = frames_of("photos")
    assert [Path(frame.name).name for frame in frames] == ["a.png", "aa.jpg", "ab.heic", "b.jpg", "c.PNG"]
    assert [frame.error is None for frame in frames] == [True, False, False, True, True]
    assert "a web page" in (frames[1].error or "")
    assert "HEIC" in (frames[2].error or "")


def test_fault_63_the_first_of_several_frames_is_said(photos: Path) -> None:
    from PIL import Image

    pages = [Image.new("RGB", (4, 4), (value, 0, 0)) for value in (1, 2, 3)]
    pages[0].save("pages.tif", save_all=True, append_images=pages[1:])
    (frame,) = frames_of("pages.tif")
    assert frame.note == "the first of 3 frames"
    assert frames_of("photos/a.png")[0].note is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_pipes_links_and_unreadable_files_do_not_stop_the_rest(photos: Path) -> None:
    os.mkfifo(photos / "pipe.jpg")
    (photos / "loop.jpg").symlink_to("loop.jpg")
    (photos / "broken.jpg").symlink_to("nowhere.jpg")
    frames = frames_of("photos")
    bad = {Path(frame.name).name: frame.error or "" for frame in frames if frame.error}
    assert set(bad) == {"pipe.jpg", "loop.jpg", "broken.jpg"}
    assert "regular file" in bad["pipe.jpg"]
    assert len(frames) == 6
    assert "can't be read" in (frames_of("photos/broken.jpg")[0].error or "")


def test_names_that_are_not_utf8(photos: Path) -> None:
    odd = os.fsdecode(b"photos/caf\xe9.png")
    try:
        Path(odd).write_bytes((photos / "a.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert names("photos/c*g") == ["photos/caf\\xe9.png"]
    frame = next(frame for frame in frames_of("photos") if frame.name == "photos/caf\\xe9.png")
    assert frame.path == Path(odd)
    Path("list.txt").write_bytes(b"photos/caf\xe9.png\n")
    assert [frame.error for frame in frames_of(odd, "list.txt")] == [None, None]


def test_fault_128_a_folder_of_many_stays_flat(tmp_path: Path) -> None:
    write_image(tmp_path / "seed.png", picture(9, (64, 64)))
    for index in range(3000):
        os.link(tmp_path / "seed.png", tmp_path / f"{index:05}.png")
    with open_sources([str(tmp_path)]) as stream:
        assert stream.total == 3001
        tracemalloc.start()
        try:
            next(iter(stream))
            before = tracemalloc.get_traced_memory()[0]
            for _ in stream:
                pass
            growth = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
    assert growth < 5_000_000  # 3,000 decoded pictures would be 37 MB; Python's table of names may double once


def test_opening_reads_no_picture(photos: Path) -> None:
    stream = open_sources(["photos"])
    for path in photos.glob("*.*"):
        if path.is_file():
            path.write_bytes(b"")
    assert all("empty" in (frame.error or "") for frame in stream)


def test_fault_132_a_closed_stream_gives_nothing_more(photos: Path) -> None:
    stream = open_sources(["photos"])
    assert next(iter(stream)).error is None
    stream.close()
    stream.close()
    assert list(stream) == []


# ----------------------------------------------------------------------------------------------------- cameras


class FakeCamera:
    """Stands for `cv2.VideoCapture`: `count` frames, whose first pixel is their number, then the cable is pulled."""

    def __init__(self, count: int, gate: threading.Event | None = None) -> None:
        self.count, self.gate, self.released, self.given = count, gate, threading.Event(), 0

    def read(self) -> tuple[bool, np.ndarray | None]:
        if self.gate:
            self.gate.wait(10)
        if self.given >= self.count:
            return False, None
        self.given += 1
        return True, np.full((4, 4, 3), (self.given - 1, 0, 0), np.uint8)

    def release(self) -> None:
        self.released.set()


def test_fault_79_a_slow_consumer_gets_the_newest_frame() -> None:
    camera = FakeCamera(200)
    frames = []
    for frame in _frames(camera, "camera 0", 1):  # type: ignore[arg-type]
        frames.append(frame)
        if len(frames) == 1:
            deadline = time.monotonic() + 10
            while camera.given < 200 and time.monotonic() < deadline:
                time.sleep(0.01)
    assert frames[-1].error == "camera 0: gives no more pictures; 200 were read"
    assert frames[-2].index == 199
    assert len(frames) <= 4
    for frame in frames[:-1]:
        assert frame.image is not None
        assert frame.image[0, 0].tolist() == [0, 0, frame.index]  # BGR became RGB
        assert frame.time is not None
    assert camera.released.wait(10)


def test_a_camera_takes_every_nth_frame_and_is_released_when_closed() -> None:
    gate = threading.Event()
    camera = FakeCamera(10_000, gate)
    frames = _frames(camera, "camera 0", 3)  # type: ignore[arg-type]
    gate.set()
    taken = [next(frames).index for _ in range(5)]
    assert all(index is not None and index % 3 == 0 for index in taken)
    frames.close()  # type: ignore[attr-defined]
    assert camera.released.wait(10)


def test_a_camera_that_is_not_there(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent:
        def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
            return False

    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Absent())
    with open_sources(["7", "photos/a.png"]) as stream:
        assert stream.total is None
        absent, beside = stream
    assert absent.image is None and (absent.error or "").startswith("camera 7: can't be opened")
    assert beside.error is None
