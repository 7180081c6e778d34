"""Fault 152: one file by size and sha256 from several places, whatever they do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from yolov3.errors import Yolov3Error
from yolov3.zoo.download import SourceError, download

from .server import Server, serve

DATA = np.random.default_rng(0).bytes(600_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(DATA) as running:
        yield running


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "file.part"


def fetch(server: Server, part: Path, *paths: str, **options: float) -> list[int]:
    """Download from these paths; gives the progress."""
    seen: list[int] = []
    urls = [server.url(path) for path in paths]
    download(urls, part, len(DATA), SHA256, progress=lambda done, total: seen.append(done), **options)
    return seen


@pytest.mark.parametrize("path", ["ok", "redirect", "slow", "no-ranges", "416", "cut"])
def test_fault_152_a_place_that_gives_it(path: str, server: Server, part: Path) -> None:
    if path == "cut":  # each attempt brings a third of the rest; five are not enough, but what came is kept
        with pytest.raises(SourceError, match=r"cut/file.weights: ended after [\d,]+ of 600,000 bytes"):
            fetch(server, part, path)
        assert part.read_bytes() == DATA[: part.stat().st_size]
        path = "ok"
    seen = fetch(server, part, path)
    assert part.read_bytes() == DATA
    assert seen == sorted(seen) and seen[-1] == len(DATA)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("404", "answers 404 Not Found"),
        ("503", "answers 503 Service Unavailable"),
        ("page", "offers 15 bytes, expected 600,000"),
        ("wrong", r"other content than expected \(sha256\)"),
        ("endless", "sends more than the 600,000 bytes that the file has"),
        ("to-a-file", r"answers 302 Found - Redirection to url 'file:///etc/passwd' is not allowed"),
        ("in-circles", "answers 302"),
    ],
)
def test_fault_152_the_next_place_is_tried(path: str, expected: str, server: Server, part: Path) -> None:
    with pytest.raises(SourceError, match=f"{path}/file.weights: {expected}"):
        fetch(server, part, path)
    fetch(server, part, path, "ok")
    assert part.read_bytes() == DATA


def test_fault_152_all_reasons_are_named(server: Server, part: Path) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(server, part, "404", "wrong", "503")
    assert [reason in str(caught.value) for reason in ("404/file", "wrong/file", "503/file")] == [True] * 3
    assert not part.exists(), "content that is wrong goes"


@pytest.mark.parametrize("kept", [1, 1000, 599_999])
@pytest.mark.parametrize(("path", "requests"), [("ok", 1), ("no-ranges", 1), ("416", 2)])
def test_fault_152_a_part_is_continued(path: str, requests: int, kept: int, server: Server, part: Path) -> None:
    part.write_bytes(DATA[:kept])
    seen = fetch(server, part, path)
    assert part.read_bytes() == DATA
    assert len(server.requests) == requests
    assert server.requests[0][1] == f"bytes={kept}-"
    assert seen[0] > kept if path == "ok" else seen[-1] == len(DATA)


def test_fault_152_a_whole_part_is_only_checked(server: Server, part: Path) -> None:
    part.write_bytes(DATA)
    assert fetch(server, part, "404") == []
    assert not server.requests


@pytest.mark.parametrize("content", [b"\0" * 1000, b"\0" * 600_000, DATA + b"more"], ids=["short", "equal", "long"])
def test_fault_152_a_part_of_something_else_is_fetched_anew(content: bytes, server: Server, part: Path) -> None:
    part.write_bytes(content)
    fetch(server, part, "ok")
    assert part.read_bytes() == DATA


def test_fault_152_a_part_from_a_wrong_place_does_not_spoil_the_right_one(server: Server, part: Path) -> None:
    with pytest.raises(SourceError):
        fetch(server, part, "endless")
    fetch(server, part, "cut", "other-range", "ok")
    assert part.read_bytes() == DATA


def test_fault_152_a_place_that_falls_silent(server: Server, part: Path) -> None:
    with pytest.raises(SourceError, match="timed out"):
        fetch(server, part, "stalled", timeout=0.2)
    fetch(server, part, "stalled", "ok", timeout=0.2)
    assert part.read_bytes() == DATA


def test_fault_152_nobody_listens(part: Path) -> None:
    with serve(DATA) as server:
        url = server.url()
    with pytest.raises(SourceError, match="refused"):
        download([url], part, len(DATA), SHA256)
    assert not part.exists()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "file:///etc/passwd", "data:,x"])
def test_fault_152_http_only(url: str, part: Path) -> None:
    with pytest.raises(SourceError, match="unknown url type"):
        download([url], part, 1, SHA256)
    assert not part.exists()


def test_fault_152_a_part_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Yolov3Error, match=r"none/file.part: could not be written \(No such file"):
        fetch(server, tmp_path / "none" / "file.part", "ok")
