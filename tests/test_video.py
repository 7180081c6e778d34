"""Video files as sources: containers, times, rotation, damage (FAULTS 71 to 76, 80)."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolov3.sources import Frame, open_sources
from yolov3.sources.container import container_of, missing_bytes
from yolov3.sources.interlaced import AFFECTED
from yolov3.sources.video import Video

SHARED = Path(__file__).parents[2] / "shared" / "data" / "video"
OPENCV = tuple(int(part) for part in cv2.__version__.split(".")[:2])
WIDTH, HEIGHT, RATE, COUNT = 96, 64, 25, 12
CONTAINERS = {  # suffix: (codec, FFmpeg's name of the container)
    "mp4": ("mp4v", "mov"),
    "mov": ("MJPG", "mov"),
    "mkv": ("MJPG", "matroska"),
    "webm": ("VP80", "matroska"),
    "avi": ("MJPG", "avi"),
    "mpg": ("PIM1", "mpeg"),
    "ts": ("MPG2", "mpegts"),
    "flv": ("FLV1", "flv"),
    "wmv": ("WMV2", "asf"),
}


def scene(index: int) -> np.ndarray:
    """RGB frame `index`: red at the top left, noise at the top right; the rest gets brighter from frame to frame."""
    image = np.full((HEIGHT, WIDTH, 3), 20 + 15 * (index % 12), np.uint8)
    image[: HEIGHT // 2, : WIDTH // 2] = (255, 0, 0)
    image[: HEIGHT // 2, WIDTH // 2 :] = np.random.default_rng(index).integers(0, 256, (HEIGHT // 2, WIDTH // 2, 3))
    return image


def write_video(path: Path, codec: str, count: int = COUNT) -> Path:
    """A video of `count` scenes; skips the test where OpenCV has no such encoder."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), RATE, (WIDTH, HEIGHT))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV can't write {codec}")
    for index in range(count):
        writer.write(cv2.cvtColor(scene(index), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """The bytes of a video by suffix, each written once."""
    folder, cache = tmp_path_factory.mktemp("videos"), {}

    def make(suffix: str) -> bytes:
        if suffix not in cache:
            cache[suffix] = write_video(folder / f"v.{suffix}", CONTAINERS[suffix][0]).read_bytes()
        return cache[suffix]

    return make


def read(path: Path, every: int = 1) -> tuple[list[Frame], str | None]:
    """The good frames and the error behind them."""
    with open_sources([str(path)], every=every) as stream:
        frames = list(stream)
    errors = [frame.error for frame in frames if frame.error is not None]
    assert len(errors) <= 1
    for error in errors:
        assert error.startswith(f"{path}: ")
        assert "\n" not in error
    return [frame for frame in frames if frame.image is not None], errors[0] if errors else None


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# ------------------------------------------------------------------------------------------- the ordinary case


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_container(suffix: str, made: Callable[[str], bytes], tmp_path: Path) -> None:
    path = put(tmp_path / f"clip.{suffix}", made(suffix))
    with path.open("rb") as file:
        assert container_of(file) == CONTAINERS[suffix][1]
    assert missing_bytes(path) == 0
    frames, error = read(path)
    assert error is None
    assert [frame.index for frame in frames] == list(range(COUNT))
    for frame in frames:
        assert frame.name == str(path)
        assert frame.path == path
        assert frame.image is not None
        assert frame.image.shape == (HEIGHT, WIDTH, 3)
        assert frame.image.flags.c_contiguous
        assert frame.time == pytest.approx((frame.index or 0) / RATE, abs=0.01)
        assert np.abs(frame.image[5, 5].astype(int) - (255, 0, 0)).max() < 40  # red: the channels are RGB
        assert np.abs(frame.image[-8, -8].astype(int) - scene(frame.index or 0)[-8, -8]).max() < 30


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_fault_66_the_content_tells_that_it_is_a_video(
    suffix: str, made: Callable[[str], bytes], tmp_path: Path
) -> None:
    frames, error = read(put(tmp_path / "photo.jpg", made(suffix)))
    assert (len(frames), error) == (COUNT, None)


@pytest.mark.parametrize("every", [2, 5, 100])
def test_every_nth_frame_is_the_same_frame(every: int, made: Callable[[str], bytes], tmp_path: Path) -> None:
    path = put(tmp_path / "clip.avi", made("avi"))
    full, _ = read(path)
    some, error = read(path, every)
    assert error is None
    assert [frame.index for frame in some] == list(range(0, COUNT, every))
    for frame in some:
        same = full[frame.index or 0]
        assert frame.time == same.time
        assert np.array_equal(frame.image, same.image)


def test_totals(made: Callable[[str], bytes], tmp_path: Path) -> None:
    clip = str(put(tmp_path / "clip.mp4", made("mp4")))
    assert open_sources([clip]).total == COUNT
    assert open_sources([clip], every=5).total == 3
    assert open_sources([clip, clip]).total == 2 * COUNT
    put(tmp_path / "photo.png", b"")
    assert open_sources([str(tmp_path)]).total == COUNT + 1
    for index in range(20):
        put(tmp_path / f"{index}.mp4", b"")
    assert open_sources([str(tmp_path)]).total is None  # so many aren't opened before the first picture


def test_names_that_are_not_utf8(made: Callable[[str], bytes], tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    try:
        put(path, made("mp4"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with open_sources([str(path)]) as stream:
        frames = list(stream)
    assert len(frames) == COUNT
    assert frames[0].name.endswith("caf\\xe9.mp4")
    assert frames[0].error is None


def test_relative_names_and_names_like_protocols(
    made: Callable[[str], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", "concat:clip.mp4", "clip%03d.mp4", "-clip.mp4"):
        put(Path(name), made("mp4"))
        frames, error = read(Path(name))
        assert (len(frames), error) == (COUNT, None)


def test_a_video_left_early_is_released(made: Callable[[str], bytes], tmp_path: Path) -> None:
    path = put(tmp_path / "clip.mp4", made("mp4"))
    descriptors = Path("/dev/fd")
    before = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    for _ in range(5):
        with open_sources([str(path)]) as stream:
            next(iter(stream))
    assert not before or len(list(descriptors.iterdir())) == before


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here: no real videos")
def test_real_videos() -> None:
    frames, error = read(SHARED / "car-detection.mp4", every=50)
    assert error is None
    assert [frame.index for frame in frames] == list(range(0, 377, 50))
    assert [frame.time for frame in frames] == pytest.approx([4.0 * k for k in range(8)])
    assert open_sources([str(SHARED / "car-detection.mp4")]).total == 377


# ----------------------------------------------------------------------------------------- MP4 boxes, by hand


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start, end) of the boxes in a stretch of an MP4 file."""
    while start + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, start)
        yield kind, start, start + length
        start += length


def find_box(data: bytes, *path: bytes) -> tuple[int, int]:
    """(start, end) of the box at a path such as moov, trak, tkhd."""
    start, end = 0, len(data)
    for depth, wanted in enumerate(path):
        inner = start if depth == 0 else start + 8
        start, end = next((first, last) for kind, first, last in boxes(data, inner, end) if kind == wanted)
    return start, end


def replace_box(data: bytes, path: tuple[bytes, ...], content: bytes) -> bytes:
    """The file with the content of a box replaced, the sizes of those around it corrected. `moov` must come last."""
    start, end = find_box(data, *path)
    new = struct.pack(">I4s", len(content) + 8, path[-1]) + content
    changed = bytearray(data[:start] + new + data[end:])
    for depth in range(1, len(path)):
        outer = find_box(data, *path[:depth])
        struct.pack_into(">I", changed, outer[0], outer[1] - outer[0] + len(new) - (end - start))
    return bytes(changed)


STBL = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def rotated(data: bytes, degrees: int) -> bytes:
    """An MP4 to be shown turned clockwise, as telephones write it."""
    start, _ = find_box(data, b"moov", b"trak", b"tkhd")
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = [cosine, sine, 0, -sine, cosine, 0, 0, 0, 1]
    numbers = [value << (30 if place % 3 == 2 else 16) for place, value in enumerate(matrix)]
    changed = bytearray(data)
    struct.pack_into(">9i", changed, start + 8 + 40, *numbers)
    return bytes(changed)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_fault_76_rotation_is_obeyed(degrees: int, made: Callable[[str], bytes], tmp_path: Path) -> None:
    frames, error = read(put(tmp_path / "turned.mp4", rotated(made("mp4"), degrees)))
    assert error is None
    plain, _ = read(put(tmp_path / "plain.mp4", made("mp4")))
    for turned, upright in zip(frames, plain, strict=True):
        assert turned.image is not None
        assert upright.image is not None
        expected = np.rot90(upright.image, -degrees // 90)
        assert turned.image.shape == expected.shape
        assert np.abs(turned.image.astype(int) - expected).max() < 12


def test_fault_76_variable_frame_rate(made: Callable[[str], bytes], tmp_path: Path) -> None:
    data = made("mov")
    _, end = find_box(data, *STBL, b"stts")
    (delta,) = struct.unpack_from(">I", data, end - 4)
    table = struct.pack(">II", 0, 3) + struct.pack(">6I", 4, delta, 1, 5 * delta, COUNT - 5, 2 * delta)
    slower = replace_box(data, (*STBL, b"stts"), table)
    frames, error = read(put(tmp_path / "trimmed.mov", slower))  # its edit list still ends where the video ended
    assert (len(frames), error) == (7, None)
    frames, error = read(put(tmp_path / "whole.mov", slower.replace(b"edts", b"free")))
    assert error is None
    steps = [1, 1, 1, 1, 5, *[2] * (COUNT - 6)]
    times = [frame.time or 0 for frame in frames]
    assert [later - sooner for sooner, later in pairwise(times)] == pytest.approx([step / RATE for step in steps])


@pytest.mark.parametrize(("width", "height"), [(97, 65), (33, 2)])
def test_fault_76_odd_sizes(width: int, height: int, tmp_path: Path) -> None:
    path = tmp_path / "odd.mkv"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"FFV1"), RATE, (width, height))
    assert writer.isOpened()
    writer.write(np.full((height, width, 3), 90, np.uint8))
    writer.release()
    frames, error = read(path)
    assert error is None
    assert [frame.image.shape for frame in frames if frame.image is not None] == [(height // 2 * 2, width // 2 * 2, 3)]


def write_with_av(path: Path, levels: list[int], codec: str, pixels: str, options: dict[str, str]) -> None:
    """A video of even pictures, by the levels of their grey."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        for level in levels:
            picture = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), level, np.uint8), format="rgb24")
            file.mux(stream.encode(picture.reformat(format=pixels)))
        file.mux(stream.encode())


def assert_levels(frames: list[Frame], levels: list[int]) -> None:
    for frame, level in zip(frames, levels, strict=True):
        assert frame.image is not None
        assert frame.image.dtype == np.uint8 and frame.image.shape == (HEIGHT, WIDTH, 3)
        assert np.abs(frame.image.astype(int) - level).max() <= 4


@pytest.mark.parametrize("pixels", ["yuv420p10le", "gray16le"])
def test_fault_76_ten_bits_and_more_become_eight(pixels: str, tmp_path: Path) -> None:
    levels = [0, 40, 80, 120, 160]
    write_with_av(tmp_path / "clip.mkv", levels, "ffv1", pixels, {})
    frames, error = read(tmp_path / "clip.mkv")
    assert error is None
    assert_levels(frames, levels)


@pytest.mark.parametrize(
    ("suffix", "levels"),
    [("mkv", [0]), ("mkv", [90] * 5), *[(suffix, [0, 40, 80, 120, 160]) for suffix in ("mpg", "ts", "mkv")]],
    ids=["one frame", "still", "mpg", "ts", "mkv"],
)
def test_fault_76_interlaced_video_is_woven_or_refused_never_made_up(
    suffix: str, levels: list[int], tmp_path: Path
) -> None:
    """OpenCV from 4.13 on gives old buffers for such frames, and says that all is well."""
    path = tmp_path / f"clip.{suffix}"
    write_with_av(path, levels, "mpeg2video", "yuv420p", {"flags": "+ildct+ilme", "b": "4000000"})
    frames, error = read(path)
    if AFFECTED:
        assert frames == []
        assert "which OpenCV" in (error or "")
    else:
        assert error is None
        assert_levels(frames, levels)


@pytest.mark.parametrize("levels", [[0], [90] * 5, [0, 0, 0, 40, 40]], ids=["one frame", "still", "black first"])
def test_frames_that_repeat_are_not_taken_for_interlaced(levels: list[int], tmp_path: Path) -> None:
    write_with_av(tmp_path / "clip.mkv", levels, "mpeg2video", "yuv420p", {"b": "4000000"})
    frames, error = read(tmp_path / "clip.mkv")
    assert error is None
    assert [frame.index for frame in frames] == list(range(len(levels)))
    assert_levels(frames, levels)


def test_fault_75_a_size_that_changes_on_the_way(tmp_path: Path) -> None:
    parts = []
    for scale in (1, 2):
        path = tmp_path / f"{scale}.ts"
        size_wh = (WIDTH * scale, HEIGHT * scale)
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MPG2"), RATE, size_wh)
        assert writer.isOpened()
        for _ in range(6):
            writer.write(np.full((*size_wh[::-1], 3), 100 * scale, np.uint8))
        writer.release()
        parts.append(path.read_bytes())
    frames, error = read(put(tmp_path / "clip.ts", b"".join(parts)))
    assert error is None
    assert {frame.image.shape for frame in frames if frame.image is not None} == {(HEIGHT, WIDTH, 3)}
    assert len(frames) > 6


# ----------------------------------------------------------------------------------------------- FAULTS 71, 72, 74


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"no video", "begins with"),
        (b"\0\0\0\x20ftypisom" + bytes(20), "no frame could be decoded"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "no frame could be decoded"),
        (b"RIFF\x10\0\0\0AVI LIST" + bytes(12), "no frame could be decoded"),
    ],
)
def test_fault_71_no_video_at_all(data: bytes, words: str, tmp_path: Path) -> None:
    path = put(tmp_path / "clip.mp4", data)
    frames, error = read(path)
    assert frames == []
    assert words in (error or "")


def test_fault_71_no_moov(made: Callable[[str], bytes], tmp_path: Path) -> None:
    data = made("mp4")
    start, _ = find_box(data, b"moov")
    for cut in (start, start - 100):
        frames, error = read(put(tmp_path / "clip.mp4", data[:cut]))
        assert frames == []
        assert "no frame could be decoded" in (error or "")
    assert "100 bytes are missing" in (error or "")


def test_fault_71_no_frames(made: Callable[[str], bytes], tmp_path: Path) -> None:
    data = replace_box(made("mov"), (*STBL, b"stsz"), bytes(12))
    frames, error = read(put(tmp_path / "clip.mov", data))
    assert frames == []
    assert "no frame could be decoded" in (error or "")


@pytest.mark.parametrize("suffix", ["avi", "mkv", "webm"])
def test_fault_71_cut_off_in_the_middle(suffix: str, made: Callable[[str], bytes], tmp_path: Path) -> None:
    data = made(suffix)
    kept = len(data) * 6 // 10
    frames, error = read(put(tmp_path / f"clip.{suffix}", data[:kept]))
    assert 2 <= len(frames) < COUNT
    assert f"{len(data) - kept} bytes are missing; {len(frames)} frames were decoded" in (error or "")


@pytest.mark.parametrize("suffix", ["ts", "mpg"])
def test_fault_71_streams_may_end_anywhere(suffix: str, made: Callable[[str], bytes], tmp_path: Path) -> None:
    data = made(suffix)
    frames, error = read(put(tmp_path / f"clip.{suffix}", data[: len(data) * 7 // 10]))
    assert frames
    assert error is None


@pytest.mark.parametrize("claim", [0, 3, 2**31 - 1])
def test_fault_72_frame_counts_that_lie(claim: int, made: Callable[[str], bytes], tmp_path: Path) -> None:
    if claim == 3 and OPENCV == (4, 10):
        pytest.skip("OpenCV 4.10 stops at the number of frames that the file claims")
    data = bytearray(made("avi"))
    for chunk, offset in ((b"avih", 16), (b"strh", 32)):
        struct.pack_into("<I", data, data.index(chunk) + 8 + offset, claim)
    path = put(tmp_path / "clip.avi", bytes(data))
    frames, error = read(path)
    assert (len(frames), error) == (COUNT, None)
    total = Video(path, 1).count()
    assert total is None or 1 <= total <= 100_000_000


def test_fault_74_damaged_frames_are_counted_never_invented(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mov", "png ")
    data = bytearray(path.read_bytes())
    images = [place for place in range(len(data) - 8) if data[place : place + 8] == b"\x89PNG\r\n\x1a\n"]
    assert len(images) == COUNT
    for damaged in (3, 4, 8):
        data[images[damaged] + 40 : images[damaged] + 60] = bytes(20)
    frames, error = read(put(path, bytes(data)))
    assert error == f"{path}: 3 damaged frames were left out; {COUNT - 3} frames were decoded"
    assert [frame.index for frame in frames] == [0, 1, 2, 5, 6, 7, 9, 10, 11]
    for frame in frames:
        assert frame.image is not None
        assert np.array_equal(frame.image, scene(frame.index or 0))
        assert frame.time == pytest.approx((frame.index or 0) / RATE)


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_fault_74_rubbish_in_the_middle_never_hangs_or_crashes(
    suffix: str, made: Callable[[str], bytes], tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    for _ in range(5):
        data = bytearray(made(suffix))
        for place in random.integers(0, len(data), 8):
            data[place] ^= random.integers(1, 256)
        path = put(tmp_path / f"clip.{suffix}", bytes(data))
        for frame in open_sources([str(path)]):
            assert (frame.image is None) != (frame.error is None)


# ----------------------------------------------------------------------------------------------------- FAULT 73

DISGUISES = {
    "ffconcat": "ffconcat version 1.0\nfile '{secret}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n",
    "dash": "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>{secret}</BaseURL></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    "asx": "<asx version='3.0'><entry><ref href='{secret}'/></entry></asx>",
    "m3u": "{secret}\n",
    "y4m": "YUV4MPEG2 W96 H64 F10:1\nFRAME\n",
}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts", ".m3u8", ""])
@pytest.mark.parametrize("kind", DISGUISES)
def test_fault_73_scripts_and_playlists_are_refused(
    kind: str, suffix: str, made: Callable[[str], bytes], tmp_path: Path
) -> None:
    secret = put(tmp_path / "secret.mp4", made("mp4"))
    path = put(tmp_path / f"clip{suffix}", DISGUISES[kind].format(secret=secret).encode())
    frames, error = read(path)
    assert frames == []
    assert "not a picture that can be read" in (error or "")


def test_fault_73_a_script_behind_a_container_s_first_bytes(made: Callable[[str], bytes], tmp_path: Path) -> None:
    """Each container's marks, then scripts: FFmpeg, held to that container's reader, finds nothing in it."""
    secret = put(tmp_path / "secret.mp4", made("mp4"))
    scripts = "\n".join(script.format(secret=secret) for script in DISGUISES.values()).encode()
    padded = scripts.ljust(188, b"\n")
    starts = (b"\0\0\0\x08free", b"\x1a\x45\xdf\xa3", b"RIFF\xff\xff\0\0AVI ", b"\0\0\x01\xba", b"FLV\x01", b"OggS\0")
    disguises = [start + b"\n" + scripts for start in starts]
    packets = [padded[place : place + 187] for place in range(0, len(padded), 187)]
    disguises.append(b"".join(b"G" + packet.ljust(187, b"\n") for packet in packets * 4))
    for data in disguises:
        path = put(tmp_path / "clip.mp4", data)
        with path.open("rb") as file:
            assert container_of(file) is not None
        frames, error = read(path)
        assert frames == []
        assert error is not None


@pytest.mark.skipif(OPENCV == (4, 11), reason="OpenCV 4.11 doesn't hand these options to FFmpeg")
def test_fault_73_ffmpeg_is_held_to_the_container(made: Callable[[str], bytes], tmp_path: Path) -> None:
    """The second lock by itself: with the first one picked, FFmpeg still opens nothing but the named container."""
    from yolov3.sources.video import _held_to

    path = put(tmp_path / "clip.mp4", made("mp4"))
    before = dict(os.environ)
    for container, opens in (("mov", True), ("avi", False), ("mpegts", False)):
        with _held_to(container):
            capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        assert capture.isOpened() is opens
        capture.release()
    assert dict(os.environ) == before


@pytest.mark.parametrize("brand", [b"avif", b"heic"])
def test_fault_69_pictures_in_a_video_s_container(brand: bytes, tmp_path: Path) -> None:
    frames, error = read(put(tmp_path / "photo.heic", b"\0\0\0\x18ftyp" + brand + bytes(40)))
    assert frames == []
    assert "convert it to JPEG or PNG" in (error or "")


# ----------------------------------------------------------------------------------------------------- FAULT 80


def test_fault_80_memory_stays_flat(tmp_path: Path) -> None:
    path = write_video(tmp_path / "long.avi", "MJPG", 400)
    tracemalloc.start()
    try:
        with open_sources([str(path)]) as stream:
            next(iter(stream))
            before = tracemalloc.get_traced_memory()[0]
            for count, _ in enumerate(stream):  # noqa: B007 - used behind the loop
                pass
            growth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert count == 398
    assert growth < 100_000  # 400 frames are 7 MB


def test_ffmpeg_writes_nothing_to_standard_error(made: Callable[[str], bytes], tmp_path: Path) -> None:
    damaged = bytearray(made("mp4"))
    start, end = find_box(bytes(damaged), b"mdat")
    damaged[(start + end) // 2 : (start + end) // 2 + 60] = bytes(range(60))
    path = put(tmp_path / "clip.mp4", bytes(damaged))
    code = f"from yolov3.sources import open_sources\nprint(len(list(open_sources([{str(path)!r}]))))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert int(result.stdout) > COUNT // 2
    assert result.stderr == b""
