"""Frames through a detector: order, batches, workers, errors, how much is on its way at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import yolov3
from conftest import CliResult
from models import random_model, small_spec
from yolov3 import Detector
from yolov3.images import Decoded, Enough
from yolov3.runtime import pipeline
from yolov3.runtime.pipeline import AHEAD, detect_frames
from yolov3.sources import Frame, open_sources


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(random_model(small_spec()), conf=0.01, threads=1, callers=3)


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Twelve pictures of different shapes, one damaged, and a video of five frames."""
    for index in range(12):
        picture = rng.integers(0, 256, (40 + 8 * index, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{index:02}.png"), cv2.resize(picture, (64, 64 + index)))
    (tmp_path / "05.png").write_bytes(b"rubbish")
    writer = cv2.VideoWriter(str(tmp_path / "07b.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for _ in range(5):
        writer.write(rng.integers(0, 256, (64, 64, 3), np.uint8))
    writer.release()
    return tmp_path


def listing(detector: Detector, folder: Path, batch: int, workers: int) -> list[object]:
    with open_sources([str(folder)]) as stream:
        return [
            (
                Path(result.frame.name).name,
                result.frame.index,
                result.frame.error,
                None if result.detections is None else result.detections.to_dicts(),
            )
            for result in detect_frames(detector, stream.unread(), batch, workers=workers)
        ]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 3])
def test_workers_and_batches_change_nothing(batch: int, workers: int, detector: Detector, folder: Path) -> None:
    expected = listing(detector, folder, 1, 1)
    assert len(expected) == 17 and [row[0] for row in expected][5:9] == ["05.png", "06.png", "07.png", "07b.avi"]  # type: ignore[index]
    found = listing(detector, folder, batch, workers)
    assert [row[:3] for row in found] == [row[:3] for row in expected]  # type: ignore[index]
    for one, other in zip(found, expected, strict=True):
        if one[3] is None:  # type: ignore[index]
            assert "05.png" in one[0] and other[3] is None  # type: ignore[index]
            continue
        for box, same in zip(one[3], other[3], strict=True):  # type: ignore[index]
            assert box["label"] == same["label"] and box["score"] == pytest.approx(same["score"], abs=1e-5)
            assert box["box"] == pytest.approx(same["box"], abs=0.01)


class Slow:
    """Frames that take a moment to read; remembers by which threads, and how many were read."""

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.asked = self.reads = 0
        self.lock = threading.Lock()

    def frames(self, count: int) -> Iterator[Slow]:
        for _ in range(count):
            self.asked += 1
            yield self

    def read(self, enough: Enough | None = None) -> Frame:
        with self.lock:
            self.threads.add(threading.current_thread().name)
            self.reads += 1
        time.sleep(0.01)
        return Frame("slow", np.zeros((32, 32, 3), np.uint8))


def test_workers_read_and_only_so_much_is_on_its_way(detector: Detector) -> None:
    slow = Slow()
    for done, _ in enumerate(detect_frames(detector, slow.frames(40), 2, workers=3)):
        assert slow.asked <= done // 2 * 2 + 3 * AHEAD * 2
    assert slow.reads == 40 and len(slow.threads) == 3
    alone = Slow()
    results = detect_frames(detector, alone.frames(40), 2)
    next(results)
    assert alone.asked == alone.reads == 2 and alone.threads == {threading.current_thread().name}


def test_a_fault_in_a_worker_ends_the_run_and_its_threads(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(pictures: object) -> None:
        raise MemoryError("no more")

    before = threading.active_count()
    monkeypatch.setattr(detector, "detect", fail)
    slow = Slow()
    with pytest.raises(MemoryError):
        list(detect_frames(detector, slow.frames(100), workers=3))
    assert threading.active_count() == before and slow.reads < 20


def test_a_run_that_is_left_ends_its_threads(detector: Detector) -> None:
    before = threading.active_count()
    slow = Slow()
    results = detect_frames(detector, slow.frames(100), workers=2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before and slow.reads < 10


@pytest.mark.parametrize("engine", ["ncnn", "onnxruntime", "openvino", "mnn"])
def test_several_callers_of_every_engine(engine: str, rng: np.random.Generator) -> None:
    pytest.importorskip({"mnn": "MNN"}.get(engine, engine))
    model = random_model(small_spec())
    alone, shared = Detector(model, conf=0.01), Detector(model, conf=0.01, engine=engine, threads=1, callers=3)
    pictures = [Frame("x", rng.integers(0, 256, (64, 64, 3), np.uint8)) for _ in range(24)]
    for result in pipeline.detect_frames(shared, pictures, 2, workers=4):
        assert result.frame.image is not None and result.detections is not None
        expected = alone(result.frame.image)
        assert len(result.detections) == len(expected)
        np.testing.assert_allclose(result.detections.scores, expected.scores, atol=3e-3)


# ------------------------------------------------------------------------------------------------ large JPEGs


@pytest.fixture
def large(photo: Path, tmp_path: Path) -> Path:
    """The cup on 2400×1601 pixels."""
    path = tmp_path / "large.jpg"
    picture = cv2.resize(yolov3.read_image(photo), (2400, 1601), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), picture[..., ::-1])
    return path


def test_large_jpegs_are_decoded_as_far_as_needed(large: Path) -> None:
    fast, exact = Detector(), Detector(exact=True)
    found, expected = fast(large), exact(large)
    assert found.image_wh == expected.image_wh == (2400, 1601)
    assert [name for _, _, name in found] == [name for _, _, name in expected] == ["cup"]
    assert found.scores[0] == pytest.approx(expected.scores[0], abs=0.05)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=24)
    (frame,) = [result.frame for result in _detect(fast, large, all_pixels=False)]
    assert frame.factor == 2 and frame.image is not None and frame.image.shape == (801, 1200, 3)
    (frame,) = [result.frame for result in _detect(fast, large, all_pixels=True)]
    assert frame.factor == 1 and frame.image is not None and frame.image.shape == (1601, 2400, 3)
    (frame,) = [result.frame for result in _detect(exact, large, all_pixels=False)]
    assert frame.factor == 1
    assert Detector(tile=640).enough is None


def _detect(detector: Detector, path: Path, all_pixels: bool) -> Iterator[pipeline.Result]:
    with open_sources([str(path)]) as stream:
        yield from detect_frames(detector, stream.unread(), all_pixels=all_pixels)


def test_where_a_reduced_pictures_boxes_lie() -> None:
    """One pixel of a reduced picture is `factor` of the picture, to its edge and beyond it."""
    detector = Detector(random_model(small_spec()), conf=0.01)
    pixels = np.random.default_rng(0).integers(0, 256, (51, 101, 3), np.uint8)
    (whole,) = detector.detect([Decoded(pixels, (101, 51))])
    (reduced,) = detector.detect([Decoded(pixels, (801, 401), 8)])
    assert len(whole) > 3 and reduced.image_wh == (801, 401)
    limits = np.array([801, 401, 801, 401])
    np.testing.assert_allclose(reduced.boxes, np.minimum(whole.boxes * 8, limits), rtol=1e-5, atol=1e-3)


def test_the_command_decodes_all_where_it_draws(large: Path, cli: Callable[..., CliResult], tmp_path: Path) -> None:
    found = []
    for words in (["--no-save"], ["--no-save", "--exact"], ["--output", tmp_path / "run"]):
        path = tmp_path / "found.jsonl"
        assert cli("detect", large, "--json", path, *words).code == 0
        found.append(path.read_text())
    assert found[1] == found[2] != found[0]
    drawn = yolov3.read_image(next((tmp_path / "run").glob("*.jpg")))
    assert drawn.shape == (1601, 2400, 3)
