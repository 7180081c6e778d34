"""The model file: round trips, the same bytes every time, and files that aren't one."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from conftest import CliResult
from models import random_model, small_spec
from yolov3.errors import ModelError, Yolov3Error
from yolov3.modelfile import BatchNorm, Model, Preprocess


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A saved small model."""
    random_model(small_spec()).save(tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


def rewrite(path: Path, change: dict[str, object], **top: object) -> None:
    """Change the JSON in the metadata (`change`) or whole metadata values (`top`) of a file."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    metadata = json.loads(header["__metadata__"]["yolov3"]) | change
    header["__metadata__"] = {"yolov3": json.dumps(metadata)} | top  # type: ignore[assignment]
    header["__metadata__"] = {key: value for key, value in header["__metadata__"].items() if value is not None}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def test_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    model = replace(
        random_model(small_spec(), size_wh=(96, 64)),
        preprocess=Preprocess("stretch", 114, "rgb", 0.5),
        batch_norm=BatchNorm(1e-3, True),
        source={"files": [{"name": "é.cfg", "sha256": "00"}], "darknet": {"seen": 2**40}},
    )
    model.save(tmp_path / "m.safetensors")
    again = Model.load(tmp_path / "m.safetensors")
    assert (again.spec, again.names, again.size_wh) == (model.spec, model.names, (96, 64))
    assert (again.preprocess, again.batch_norm) == (model.preprocess, model.batch_norm)
    assert again.source == model.source
    for name, array in model.tensors.items():
        np.testing.assert_array_equal(again.tensors[name], array)


def test_the_same_model_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    Model.load(path).save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_half_keeps_what_is_small_in_full() -> None:
    half = random_model(small_spec()).half()
    kinds = {array.dtype.name for name, array in half.tensors.items() if array.ndim == 4}
    others = {array.dtype.name for name, array in half.tensors.items() if array.ndim != 4}
    assert kinds == {"float16"} and others == {"float32"}


def test_half_refuses_what_float16_cannot_hold() -> None:
    model = random_model(small_spec())
    name = next(iter(model.tensors))
    with pytest.raises(ModelError, match=f"{name}.*65504"):
        replace(model, tensors={**model.tensors, name: model.tensors[name] + np.float32(1e5)}).half()


def test_tensor_names_are_the_rows(path: Path) -> None:
    names = set(Model.load(path).tensors)
    expected = {"0.conv.weight", "1.0.cv1.conv.weight", "1.1.cv2.bn.running_var", "4.cv2.bn.bias", "9.heads.1.bias"}
    assert expected <= names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "newer than this package"),
        ({"format": "1"}, "expected 1"),
        ({"spec": "nc: ["}, "not valid YAML"),
        ({"spec": 3}, "spec in its metadata"),
        ({"names": ["a"]}, "1 class names for 2 classes"),
        ({"names": "ab"}, "names in its metadata"),
        ({"names": ["a", 2]}, "expected a list of printable names"),
        ({"names": ["a", " "]}, "expected a list of printable names"),
        ({"names": ["a", "b\x1b[31m"]}, "expected a list of printable names"),
        ({"names": ["a", "\ud800"]}, "expected a list of printable names"),
        ({"size": [64]}, "size in its metadata"),
        ({"size": [64, 65]}, "multiple of 8"),
        ({"size": [True, 64]}, "size in its metadata"),
        ({"preprocess": {"resize": "crop", "pad": 127, "colour": "rgb", "scale": 1}}, "letterbox"),
        ({"preprocess": {}}, "preprocess in its metadata"),
        ({"bn": {"epsilon": -1, "inside": True}}, "bn in its metadata"),
        ({"bn": {"epsilon": float("nan"), "inside": True}}, "bn in its metadata"),
        ({"source": []}, "source in its metadata"),
    ],
)
def test_metadata_that_cannot_be(path: Path, change: dict[str, object], message: str) -> None:
    rewrite(path, change)
    with pytest.raises(ModelError, match=message):
        Model.load(path)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\x1b[31m", "\ud800", "\u202ea"])
def test_class_names_are_printable_whatever_a_model_is_made_of(name: str) -> None:
    with pytest.raises(ModelError, match=r"class name '.*', expected printable text on one line") as caught:
        replace(random_model(small_spec()), names=("a", name))
    assert str(caught.value).isprintable()


EVIL = "\x1b[31m\nred"


def with_evil_tensor(path: Path) -> None:
    tensors = {**Model.load(path).tensors, EVIL: np.zeros(1, np.float32)}
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    save_file(tensors, path, metadata)


@pytest.mark.parametrize(
    "spoil",
    [
        with_evil_tensor,
        lambda path: rewrite(path, {"size": EVIL}),
        lambda path: rewrite(path, {"format": EVIL}),
        lambda path: rewrite(path, {"names": [EVIL, EVIL]}),
    ],
    ids=["tensor", "size", "format", "names"],
)
def test_fault_117_a_file_cannot_write_to_the_terminal(
    spoil: Callable[[Path], None], path: Path, cli: Callable[..., CliResult]
) -> None:
    """Escape codes in what an error quotes from it, or in its own name."""
    spoil(path)
    named = path.rename(path.with_name(f"{EVIL}.safetensors"))
    result = cli("show", named)
    assert result.code == 4 and result.err.endswith("\n") and result.err[:-1].isprintable()
    assert result.err.count(r"\x1b[31m") >= 2


def test_fault_27_a_newer_format_says_to_update(path: Path) -> None:
    rewrite(path, {"format": 2})
    with pytest.raises(ModelError, match=r"format 2 is newer than this package reads \(1\); update yolov3"):
        Model.load(path)


def test_fault_29_a_safetensors_file_of_something_else(path: Path) -> None:
    rewrite(path, {}, yolov3=None)
    with pytest.raises(ModelError, match="isn't a model file of this package"):
        Model.load(path)


def test_fault_22_tensors_that_do_not_fit_the_spec(path: Path) -> None:
    spec = json.loads(json.dumps(Model.load(path).metadata()))["spec"]
    rewrite(path, {"spec": spec.replace("nc: 2", "nc: 3"), "names": ["a", "b", "c"]})
    with pytest.raises(ModelError, match=r"9\.heads\.0\.weight has shape \[14, 16, 1, 1\], expected \[16, 16, 1, 1\]"):
        Model.load(path)


def test_fault_22_missing_and_extra_tensors_the_first_five(path: Path) -> None:
    model = Model.load(path)
    with pytest.raises(ModelError, match=r"0\.conv\.weight is missing;.*and \d+ more") as caught:
        Model(model.spec, {"other": np.zeros(1, np.float32)}, model.names, (64, 64))
    assert str(caught.value).count(";") == 4


@pytest.mark.parametrize("keep", [0, 4, 8, 9, 100, 0.5, 0.9999])
def test_fault_21_a_file_cut_short(path: Path, keep: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(ModelError, match=r"small\.safetensors: "):
        Model.load(path)


def test_fault_21_a_header_of_a_hundred_megabytes(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 100 << 20) + b"{" + bytes(1000))
    with pytest.raises(ModelError, match="not a model file"):
        Model.load(path)


def written_anew(path: Path, change: Callable[[dict[str, dict[str, object]]], str | None], tail: bytes = b"") -> None:
    """The same tensors under a header that was changed, or under the text that `change` gives for it."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    text = (change(header) or json.dumps(header)).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :] + tail)


def overlapping(header: dict[str, dict[str, object]]) -> None:
    header["0.bn.bias"]["data_offsets"] = header["0.bn.running_mean"]["data_offsets"]


def moved(header: dict[str, dict[str, object]]) -> None:
    header["0.bn.bias"]["data_offsets"] = [each - 4 for each in header["0.bn.bias"]["data_offsets"]]  # type: ignore


def beyond_the_end(header: dict[str, dict[str, object]]) -> None:
    header["0.bn.bias"]["data_offsets"][1] += 1 << 40  # type: ignore[index]


def another_type(header: dict[str, dict[str, object]]) -> None:
    header["0.conv.weight"]["dtype"] = "F16"


def another_shape(header: dict[str, dict[str, object]]) -> None:
    header["0.conv.weight"]["shape"] = [1]


def twice(header: dict[str, dict[str, object]]) -> str:
    again = json.dumps({"0.bn.bias": header["0.bn.bias"]})[1:-1]
    return f"{json.dumps(header)[:-1]}, {again}}}"


@pytest.mark.parametrize("change", [overlapping, moved, beyond_the_end, another_type, another_shape, twice])
def test_fault_21_headers_that_contradict_the_file(
    change: Callable[[dict[str, dict[str, object]]], str | None], path: Path
) -> None:
    written_anew(path, change)
    expected = "names '0.bn.bias' twice, expected once" if change is twice else "not a whole safetensors file"
    with pytest.raises(ModelError, match=expected):
        Model.load(path)


def test_fault_21_bytes_that_belong_to_nothing(path: Path) -> None:
    written_anew(path, lambda header: None, tail=bytes(8))
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        Model.load(path)


def test_fault_21_tensors_of_another_type(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    model = random_model(small_spec())
    arrays = {name: array.astype(np.float64) for name, array in model.tensors.items()}
    save_file(arrays, tmp_path / "m.safetensors", metadata={"yolov3": json.dumps(model.metadata())})
    with pytest.raises(ModelError, match="float64, expected float16 or float32"):
        Model.load(tmp_path / "m.safetensors")


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_fault_21_mutated_bytes_never_raise_anything_else(path: Path, data: st.DataObject) -> None:
    content = bytearray(path.read_bytes())
    (length,) = struct.unpack_from("<Q", content)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 8 + length))] = data.draw(st.integers(0, 255))
    broken = path.with_name("broken.safetensors")
    broken.write_bytes(content)
    try:
        Model.load(broken)
    except Yolov3Error as error:
        assert "\n" not in str(error)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.safetensors: can't be read \(No such file"):
        Model.load(tmp_path / "none.safetensors")


def test_saving_leaves_the_old_file_when_it_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.numpy

    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", fail)
    with pytest.raises(Yolov3Error, match="No space left"):
        random_model(small_spec(), seed=1).save(path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
