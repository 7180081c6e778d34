"""8 bits: which pictures calibrate, which layers stay in float, what it costs."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import CliResult
from yolov3 import DataError, Model, Yolov3Error
from yolov3.data import load_dataset
from yolov3.export import export_model, signature_for
from yolov3.export.calibration import FEWEST, MOST, divide
from yolov3.runtime.exported import load_exported

from .conftest import files

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("faster_coco_eval")

Cli = Callable[..., CliResult]
SUFFIXES = [
    ".onnx",
    pytest.param(".xml", marks=pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")),
]


def world(root: Path, **splits: int) -> Path:
    """Pictures of one bright square each, by split; gives the data.yaml."""
    rng = np.random.default_rng(0)
    lines = ["names: [thing 0, thing 1]"]
    for split, count in splits.items():
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True)
        for number in range(count):
            picture = rng.integers(0, 120, (64, 64, 3), np.uint8)
            picture[16:48, 16:48] = 240
            cv2.imwrite(str(root / "images" / split / f"{number:03}.png"), picture)
            (root / "labels" / split / f"{number:03}.txt").write_text(f"{number % 2} 0.5 0.5 0.5 0.5\n")
        lines.append(f"{split}: images/{split}")
    (root / "data.yaml").write_text("\n".join(lines) + "\n")
    return root / "data.yaml"


def names(samples: object) -> set[str]:
    return {str(sample.image) for sample in samples}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("splits", "calibrated", "scored"),
    [
        ({"train": 12, "val": 4}, 12, 4),
        ({"train": 150, "val": 1}, MOST, 1),
        ({"val": 40}, 10, 30),
        ({"train": 40}, 10, 30),
        ({"val": 12, "test": 9}, 9, 12),
    ],
    ids=str,
)
def test_no_picture_both_calibrates_and_is_scored(
    splits: dict[str, int], calibrated: int, scored: int, tmp_path: Path
) -> None:
    dataset = load_dataset(world(tmp_path, **splits))
    chosen, rest = divide(dataset)
    assert (len(chosen), len(rest.split(None))) == (calibrated, scored)
    assert not names(chosen) & names(rest.split(None))
    assert len(names(chosen)) == len(chosen)


def test_a_picture_that_is_in_both_splits_is_not_scored(tmp_path: Path) -> None:
    path = world(tmp_path, train=12, val=4)
    (tmp_path / "images/val/000.png").unlink()
    (tmp_path / "images/val/000.png").symlink_to(tmp_path / "images/train/000.png")
    _, rest = divide(load_dataset(path))
    assert len(rest.split(None)) == 3


@pytest.mark.parametrize("splits", [{"train": FEWEST - 1, "val": 4}, {"val": 20}], ids=str)
def test_too_few_pictures(splits: dict[str, int], small: Model, tmp_path: Path, cli: Cli) -> None:
    small.save(tmp_path / "small.safetensors")
    data = world(tmp_path / "world", **splits)
    before = files(tmp_path)
    result = cli("convert", tmp_path / "small.safetensors", tmp_path / "x.onnx", "--int8", "--data", data)
    assert result.code == 3 and len(result.err.splitlines()) == 1
    assert "pictures to calibrate with" in result.err and "expected at least 8" in result.err
    assert files(tmp_path) == before


@pytest.mark.parametrize("options", [{}, {"uint8": True}, {"outputs": "raw", "fixed": True, "batch": 2}], ids=str)
def test_heads_and_decoding_stay_in_float_and_the_rest_does_not(
    options: dict[str, object], small: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yolov3.export.exporting.compare_ap", lambda *arguments: (0.5, 0.49))  # it is untrained
    dataset = load_dataset(world(tmp_path / "world", train=12, val=4))
    path = tmp_path / "x.onnx"
    signature = signature_for(path, small, precision="int8", **options)  # type: ignore[arg-type]
    export_model(small, path, signature, dataset=dataset)
    about = load_exported(path).about
    assert about["precision"] == "int8" and about["kept_in_float"] == ["9.heads.0", "9.heads.1"]
    assert about["proof"]["calibration"] == {"pictures": 12} and about["proof"]["AP"]["pictures"] == 4
    network = onnx.load(path)
    onnx.checker.check_model(network, full_check=True)
    made_by = {output: node.op_type for node in network.graph.node for output in node.output}
    for node in network.graph.node:
        if node.op_type == "Conv":
            kept = node.name in about["kept_in_float"]
            assert (made_by.get(node.input[1]) == "DequantizeLinear") != kept, node.name
        if node.name.startswith("decode."):
            assert "Linear" not in node.op_type
    stored = {each.name: each.data_type for each in network.graph.initializer}
    whole = sum(kind == onnx.TensorProto.INT8 and "weight" in name for name, kind in stored.items())
    assert whole >= len(list(small.spec.network.convolutions)) - 2


def test_int8_without_onnxruntime_is_one_line(small: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    dataset = load_dataset(world(tmp_path / "world", train=12, val=4))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for suffix, extra in ((".onnx", "onnx"), (".xml", "convert")):
        path = tmp_path / f"x{suffix}"
        with pytest.raises(Yolov3Error, match=rf"pip install 'yolov3\[{extra}\]'"):
            export_model(small, path, signature_for(path, small, precision="int8"), dataset=dataset)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_int8_on_coco128(suffix: str, shared: Path, cli: Cli, tmp_path: Path) -> None:
    """The bundled model at 224 pixels: at most 0.02 AP lost on 96 pictures, by 32 others."""
    coco = shared / "coco128"
    path = tmp_path / f"tiny{suffix}"
    result = cli("convert", "yolov3-tiny", path, "--int8", "--size", "224", "--data", coco / "instances.json",
                 "--images", coco / "images")  # fmt: skip
    assert (result.code, result.err) == (0, "")
    assert "on 96 pictures (a loss of at most 0.02)" in result.out
    assert "calibrated with 32 other pictures; kept in float: 20.heads.0, 20.heads.1" in result.out
    proof = load_exported(path).about["proof"]["AP"]
    assert proof["source"] > 0.12 and proof["source"] - proof["file"] <= 0.02
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) < 11e6


@pytest.mark.parametrize("boxes", [True, False])
def test_a_model_that_finds_nothing_there_can_not_be_judged(boxes: bool, small: Model, tmp_path: Path) -> None:
    """An AP of 0 would lose nothing, whatever 8 bits do."""
    data = world(tmp_path / "world", train=12, val=4)
    if not boxes:
        for label in (tmp_path / "world/labels/val").iterdir():
            label.write_text("")
    path = tmp_path / "x.onnx"
    with pytest.raises(DataError, match=r"data.yaml: the model's AP there is 0.0\d+, too little to judge int8 by"):
        export_model(small, path, signature_for(path, small, precision="int8"), dataset=load_dataset(data))
    assert not path.exists()
