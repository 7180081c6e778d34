"""The zip around a checkpoint: types, views, byte order; and files that are something else or damaged."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yolov3.checkpoints import archive, is_checkpoint, read_checkpoint
from yolov3.checkpoints.archive import Archive
from yolov3.checkpoints.values import Tensor
from yolov3.errors import ModelError, Yolov3Error

from .writer import Checkpoint, View, write_checkpoint, write_zip

modest = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + bytes(300)


def read_array(path: Path) -> np.ndarray:
    with Archive(path) as file:
        value = file.read()
        assert isinstance(value, list) and isinstance(value[0], Tensor)
        return file.array(value[0])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["f4", "f2", "f8", "i8", "i4", "i2", "i1", "u1"])
def test_types_and_byte_orders(dtype: str, order: str, tmp_path: Path, rng: np.random.Generator) -> None:
    array = rng.integers(0, 100, (2, 3, 4)).astype(dtype)
    found = read_array(write_checkpoint(tmp_path / "x.pt", [array], order=order))
    assert found.dtype == array.dtype and found.dtype.isnative
    assert np.array_equal(found, array)
    assert found.flags.c_contiguous


def test_bfloat16(tmp_path: Path) -> None:
    values = np.array([1.0, -2.5, 3.140625, 0.0], np.float32)
    upper = (values.view(np.uint32) >> 16).astype(np.int16)
    view = View(upper, 0, (2, 2), (2, 1), "BFloat16Storage")
    for order in "<>":
        found = read_array(write_checkpoint(tmp_path / "x.pt", [view], order=order))
        assert found.dtype == np.float32
        assert np.array_equal(found, values.reshape(2, 2))


def test_views(tmp_path: Path, rng: np.random.Generator) -> None:
    """Transposed, strided, shifted, of no dimensions."""
    storage = rng.normal(size=24).astype(np.float32)
    cases = [
        (View(storage, 0, (4, 6), (1, 4)), storage.reshape(6, 4).T),
        (View(storage, 2, (3, 2), (6, 2)), storage.reshape(4, 6)[:3, 2:6:2]),
        (View(storage, 23, (), ()), storage[23]),
    ]
    for view, expected in cases:
        found = read_array(write_checkpoint(tmp_path / "x.pt", [view]))
        assert found.shape == expected.shape
        assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (View(np.zeros(4, np.float32), 1, (4,), (1,)), "is no part of its storage '0'"),
        (View(np.zeros(4, np.float32), 0, (2, 2), (3, 1)), "is no part of"),
        (View(np.zeros(4, np.float32), 0, (1 << 20, 1 << 20), (0, 0)), "is no part of"),
        (View(np.zeros(4, np.float32), 0, (1 << 40,) * 16, (1,) * 16), "is no part of"),
        (View(np.zeros(4, np.float32), 0, (0, 1 << 40), (1, 1)), "is no part of"),
        (View(np.zeros(4, np.float32), 0, (5,), (1,), count=5), "has 16 bytes, expected 5 values of 4"),
        (View(np.zeros(4, np.float32), 0, (2,), (1,), count=2), "has 16 bytes, expected up to 8"),
        (View(np.zeros(4, np.float32), 0, (2,), (1,), "QInt8Storage"), "a tensor of 'QInt8Storage', expected one of"),
    ],
)
def test_views_that_cannot_be(view: View, expected: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=expected):
        read_array(write_checkpoint(tmp_path / "x.pt", [view]))


def old_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("sys_info"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (OLD, "written by PyTorch before 1.6; expected its zip format"),
        (old_tar(), "written by PyTorch before 1.6"),
        (b"", "not a PyTorch checkpoint, expected the zip file"),
        (b"\x80\x02}.", "not a PyTorch checkpoint"),
        (b"\x89PNG\r\n\x1a\n", "not a PyTorch checkpoint"),
        (b"PK\x03\x04" + bytes(100), "not a whole checkpoint"),
    ],
)
def test_other_files(data: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=expected):
        read_checkpoint(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(ModelError, match="can't be read"):
            read_checkpoint(path)
        assert not is_checkpoint(path)


def test_what_looks_like_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for data, expected in ((OLD, True), (old_tar(), True), (b"PK\x03\x04", True), (b"", False), (b"ONNX" * 99, False)):
        path.write_bytes(data)
        assert is_checkpoint(path) == expected


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"readme": b""}, "a zip file, but not a PyTorch checkpoint: 0 of data.pkl"),
        ({"data.pkl": b"N.", "constants.pkl": b"N."}, "a TorchScript program"),
        ({"data.pkl": b"N.", "byteorder": b"middle"}, "byte order b'middle', expected little or big"),
        ({"data.pkl": b"N.", "byteorder": b"little" * 9}, "entry 'byteorder' has 54 bytes, expected up to 16"),
        ({"data.pkl": b"N."}, "holds a nonetype, expected a network of ultralytics/yolov3 or a dictionary of tensors"),
        ({"data.pkl": Checkpoint().pickle({"a": 1})}, "holds a dictionary of 'a', expected"),
        ({"data.pkl": Checkpoint().pickle([np.zeros(3)])}, "holds a list"),
    ],
)
def test_other_zips(entries: dict[str, bytes], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=expected):
        read_checkpoint(write_zip(tmp_path / "x.pt", entries))


def test_a_missing_storage(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.pt", {"data.pkl": Checkpoint().pickle([np.zeros(3, np.float32)])})
    with pytest.raises(ModelError, match="damaged: its entry 'data/0' is missing"):
        read_array(path)


def test_zip_bombs_are_refused(tmp_path: Path) -> None:
    """A compressed entry may unpack to anything; torch.save writes none."""
    entries = {"data.pkl": b"N" * 1_000_000 + b"."}
    path = write_zip(tmp_path / "x.pt", entries, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 5_000
    with pytest.raises(ModelError, match=r"entry 'data.pkl' is compressed; torch.save stores entries"):
        read_checkpoint(path)


def test_two_entries_of_one_name(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.pt", {"data.pkl": b"N."})
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("archive/data.pkl", b"}.")
    with pytest.raises(ModelError, match="2 entries, expected up to 20,000, each once"):
        read_checkpoint(path)


def test_too_many_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 2)
    path = write_zip(tmp_path / "x.pt", {"data.pkl": b"N.", "a": b"", "b": b""})
    with pytest.raises(ModelError, match="3 entries, expected up to 2"):
        read_checkpoint(path)


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "x.pt", [np.arange(100, dtype=np.float32)])
    data = bytearray(path.read_bytes())
    data[data.index(np.float32(50).tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"not a whole checkpoint \(Bad CRC-32"):
        read_array(path)


def test_an_encrypted_entry(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "x.pt", [np.zeros(3, np.float32)])
    data = path.read_bytes()
    local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    flagged = bytearray(data)
    flagged[local + 6] |= 1
    flagged[central + 8] |= 1
    path.write_bytes(flagged)
    with pytest.raises(ModelError, match="not a whole checkpoint"):
        read_array(path)


@modest
@given(
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=4),
    length=st.integers(0, 10**6) | st.none(),
)
def test_damaged_files_are_read_or_refused(
    edits: list[tuple[int, bytes, int]], length: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "x.pt"
    data = write_checkpoint(path, {"model": {"0.conv.weight": np.zeros((1, 1, 2, 2), np.float32)}}).read_bytes()
    for place, junk, cut in edits:
        place %= len(data) + 1
        data = data[:place] + junk + data[place + cut :]
    path.write_bytes(data if length is None else data[: length % (len(data) + 1)])
    with pytest.raises(Yolov3Error) as caught:  # at best a state dict without its network
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ") and str(caught.value).isprintable()
