"""Every kind of export: written by `convert`, proven, and run by `detect` with the model's own results."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

import yolov3
from conftest import CliResult
from models import random_model, small_spec
from yolov3 import Detections, Detector, Model, UsageError, Yolov3Error
from yolov3.export import ABILITIES, export_model, signature_for
from yolov3.graph import lower
from yolov3.runtime.engines import make_engine
from yolov3.runtime.exported import KINDS, companions, load_exported
from yolov3.zoo import BUNDLED, sample_photos

from .conftest import files, raw_heads

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

Cli = Callable[..., CliResult]
PACKAGES = {".onnx": "onnxruntime", ".xml": "openvino", ".param": "ncnn", ".mnn": "MNN"}
SUFFIXES = [
    pytest.param(suffix, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for suffix, name in PACKAGES.items()
]
CASES = [
    pytest.param(*case.values, outputs, precision, marks=case.marks, id=f"{case.values[0]}-{outputs}-{precision}")
    for case in SUFFIXES
    for place, outputs in enumerate(ABILITIES[KINDS[str(case.values[0])]].outputs)
    for precision in ("fp32", "fp16")[: 1 if place else 2]
]


EVERY = {"conf": 0.2, "iou": 1.0, "max_det": 2000}
"""Nothing is suppressed: which of two like boxes of an untrained network stays would be chance."""


def same(one: Detections, other: Detections, pixels: float, score: float) -> None:
    """The same objects: each of either has its like in the other, but for those at the very threshold."""
    assert len(one) and len(other)
    for found, others in ((one, other), (other, one)):
        for box, value, label in zip(found.boxes, found.scores, found.labels, strict=True):
            near = np.abs(others.boxes - box).max(axis=1) <= pixels
            near &= (np.abs(others.scores - value) <= score) & (others.labels == label)
            assert near.any() or value - EVERY["conf"] < score, (box, value, label)


@pytest.mark.parametrize(("suffix", "outputs", "precision"), CASES)
def test_an_export_gives_the_models_detections(
    suffix: str, outputs: str, precision: str, small: Model, pictures: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / f"small{suffix}"
    written = export_model(small, path, signature_for(path, small, outputs=outputs, precision=precision, **EVERY))
    assert set(tmp_path.iterdir()) == {path, *companions(path)}
    assert written.tolerance.excess(written.figures) is None and written.figures.pictures == 8
    assert (written.figures.raw is None) == (outputs != "raw")
    assert written.reference == ("onnxruntime" if suffix == ".param" else "ncnn")
    source, exported = (Detector(model, **EVERY) for model in (small, path))
    assert exported.engine == {".param": "ncnn", ".xml": "openvino", ".mnn": "mnn"}.get(suffix, "onnxruntime")
    assert exported.names == small.names and exported.size_wh == small.size_wh and not exported.notes
    for found, wanted in zip(exported.batch(list(pictures)), source.batch(list(pictures)), strict=True):
        assert len(wanted) > 5
        exact = precision == "fp32" and suffix != ".mnn"
        same(found, wanted, 0.02 if exact else 0.3, 2e-4 if exact else 3e-3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_metadata_says_everything(suffix: str, small: Model, tmp_path: Path) -> None:
    path = tmp_path / f"small{suffix}"
    written = export_model(small, path, signature_for(path, small))
    exported = load_exported(path)
    assert exported.names == small.names and exported.spec == small.spec and exported.source == small.source
    assert exported.preprocess == small.preprocess and exported.size_wh == small.size_wh
    assert exported.signature == written.signature
    about = exported.about
    assert about["input"]["colour"] == "rgb" and about["input"]["scale"] == 1 / 255
    assert [head["stride"] for head in about["heads"]] == [4, 8]
    assert about["proof"]["pictures"] == 8 and about["proof"]["score"] == written.figures.score
    assert about["proof"]["allowed"]["score"] == written.tolerance.score
    json.dumps(about, allow_nan=False)


@pytest.mark.parametrize("suffix", [case for case in SUFFIXES if case.values[0] != ".param"])
@pytest.mark.parametrize("outputs", ["raw", "boxes"])
def test_pictures_as_input_and_a_fixed_size_and_batch(
    suffix: str, outputs: str, small: Model, pictures: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / f"small{suffix}"
    export_model(small, path, signature_for(path, small, outputs=outputs, uint8=True, fixed=True, batch=2))
    signature = load_exported(path).signature
    assert (signature.uint8, signature.batch, signature.size_wh) == (True, 2, (64, 64))
    source, exported = Detector(small, **EVERY), Detector(path, **EVERY)
    for found, wanted in zip(exported.batch(list(pictures)), source.batch(list(pictures)), strict=True):
        same(found, wanted, 0.3, 3e-3)  # three pictures through a network that takes two at once
    for options in ({"size": 96}, {"rect": True}):
        with pytest.raises(UsageError, match=r"takes pictures of 64×64 only"):
            Detector(path, **options)  # type: ignore[arg-type]


def test_an_onnx_file_runs_in_openvino_too(small: Model, pictures: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = tmp_path / "small.onnx"
    export_model(small, path, signature_for(path, small))
    same(Detector(path, engine="openvino", **EVERY)(pictures[0]), Detector(small, **EVERY)(pictures[0]), 0.02, 2e-4)
    with pytest.raises(UsageError, match=r"engine ncnn doesn't run such a file, expected onnxruntime or openvino"):
        Detector(path, engine="ncnn")


def test_thresholds_classes_and_other_options_of_the_detector(
    small: Model, pictures: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "small.onnx"
    export_model(small, path, signature_for(path, small))
    for options in ({"multi_label": True}, {"classes": [1]}, {"rect": True}, {"size": 96}, {"resize": "stretch"}):
        source, exported = (Detector(model, **EVERY | options) for model in (small, path))
        found = exported(pictures[0])
        assert len(found) > 3
        same(found, source(pictures[0]), 0.02, 2e-4)
    same(copy.deepcopy(exported)(pictures[0]), found, 0, 1e-9)
    assert Detector(path, classes=["thing 1"]).thresholds.classes == {1}


def test_suppression_in_the_graph_says_what_it_has_thrown_away(
    small: Model, pictures: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "small.onnx"
    export_model(small, path, signature_for(path, small, outputs="detections", conf=0.2, iou=1.0, max_det=500))
    exported = Detector(path, conf=0.1, iou=0.4, max_det=600, multi_label=True)
    assert len(exported.notes) == 4 and all(str(path) in note for note in exported.notes)
    found, wanted = (Detector(model, conf=0.25, iou=1.0, classes=[1])(pictures[0]) for model in (path, small))
    same(found, wanted, 0.02, 2e-4)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_bundled_model_from_the_command_line(suffix: str, cli: Cli, tmp_path: Path, photo: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    result = cli("convert", "yolov3-tiny", f"tiny{suffix}")
    assert (result.code, result.err) == (0, "")
    assert "21 rows, 80 classes, 416×416" in result.out and "largest difference on 8 pictures" in result.out
    assert "gives " in result.out and " (at most 0.0" in result.out
    (tmp_path / "out").mkdir()
    for name, model in (("own", "yolov3-tiny"), ("export", f"tiny{suffix}")):
        assert cli("detect", photo, "--model", model, "--no-save", "--json", f"{name}.jsonl").code == 0
    own, export = (json.loads(Path(f"{name}.jsonl").read_text()) for name in ("own", "export"))
    assert [found["label"] for found in own["detections"]] == ["cup"]
    for ours, theirs in zip(own["detections"], export["detections"], strict=True):
        assert ours["label"] == theirs["label"] and ours["score"] == pytest.approx(theirs["score"], abs=2e-3)
        assert ours["box"] == pytest.approx(theirs["box"], abs=0.5)


def test_options_on_the_command_line(cli: Cli, small: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small.save("small.safetensors")
    result = cli("convert", "small.safetensors", "a.onnx", "--nms", "--conf", "0.2", "--max-det", "9", "--uint8",
                 "--static", "--size", "96x64", "--half", "--resize", "stretch")  # fmt: skip
    assert result.code == 0, result.err
    assert "takes images uint8 (1, 64, 96, 3); gives boxes float32 (1, 9, 4), scores float32 (1, 9)" in result.out
    exported = load_exported("a.onnx")
    assert exported.size_wh == (96, 64) and exported.preprocess.resize == "stretch"
    signature = exported.signature
    assert (signature.precision, signature.conf, signature.iou, signature.max_det) == ("fp16", 0.2, 0.45, 9)
    assert cli("convert", "small.safetensors", "b.onnx", "--raw", "--batch", "4").code == 0
    assert load_exported("b.onnx").signature.batch == 4
    names = tmp_path / "my.names"
    names.write_text("left\nright\n")
    assert Detector("b.onnx", names=names).names == ("left", "right")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.onnx", "--raw", "--nms"], "--raw and --nms can't go together"),
        (["x.onnx", "--half", "--int8"], "--half and --int8 can't go together"),
        (["x.onnx", "--conf", "0.3"], "--conf goes with --nms"),
        (["x.onnx", "--int8"], "x.onnx: int8 needs a dataset"),
        (["x.onnx", "--split", "val"], "--split goes with --data"),
        (["x.param", "--nms"], "outputs detections isn't offered for ncnn, expected raw"),
        (["x.param", "--int8"], "precision int8 isn't offered for ncnn, expected fp32 or fp16"),
        (["x.param", "--uint8"], "ncnn files take float pictures"),
        (["x.param", "--static"], "ncnn files take any size and batch"),
        (["x.mnn", "--nms"], "outputs detections isn't offered for MNN, expected boxes or raw"),
        (["x.safetensors", "--raw"], "--raw goes with an export (.onnx, .xml, .param, .mnn)"),
        (["x.cfg", "--max-det", "3"], "--max-det goes with an export"),
        (["x.onnx", "--size", "50"], "multiple of 8"),
        (["x.onnx", "--nms", "--conf", "nan"], "x.onnx: conf nan, expected a number from 0 to 1"),
        (["x.onnx", "--nms", "--iou", "nan"], "x.onnx: iou nan, expected a number from 0 to 1"),
        (["x.onnx", "--nms", "--max-det", "100001"], "x.onnx: max-det 100001, expected 1 to 100000"),
        (["x.engine"], "expected an output that ends in .safetensors, .cfg, .weights, .onnx, .xml, .param, .mnn"),
    ],
)
def test_what_is_refused(arguments: list[str], message: str, cli: Cli, small: Model, tmp_path: Path,
                         monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    small.save("small.safetensors")
    before = files(tmp_path)
    result = cli("convert", "small.safetensors", *arguments)
    assert result.code in (2, 4) and message in result.err and len(result.err.splitlines()) == 1
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("output", "other"), [("x.param", "x.bin"), ("x.cfg", "x.weights"), ("x.param", "x.param.json")]
)
def test_files_in_the_way_are_kept(output: str, other: str, cli: Cli, small: Model, tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """`x.bin` may be another network's; it is written over only together with the file that it belongs to."""
    monkeypatch.chdir(tmp_path)
    small.save("small.safetensors")
    Path(other).write_text("mine")
    result = cli("convert", "small.safetensors", output)
    assert result.code == 2 and f"{other}: is here already" in result.err
    assert Path(other).read_text() == "mine" and not Path(output).exists()
    Path(other).unlink()
    assert cli("convert", "small.safetensors", output).code == 0
    assert cli("convert", "small.safetensors", output).code == 0, "its own files are replaced"


def test_an_export_is_no_input_of_convert(cli: Cli, small: Model, tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    export_model(small, path, signature_for(path, small))
    result = cli("convert", path, tmp_path / "back.safetensors")
    assert result.code == 2 and "give the model that it was made from" in result.err
    result = cli("detect", "--model", path, "--weights", "x.weights")
    assert result.code == 2 and "--weights goes with a Darknet .cfg" in result.err


@pytest.mark.parametrize("outputs", ["raw", "boxes", "detections"])
@pytest.mark.parametrize("fixed", [False, True], ids=["free", "fixed"])
def test_opencv_reads_the_tiny_export(outputs: str, fixed: bool, tmp_path: Path, photo: Path) -> None:
    """OpenCV 5 runs every kind; OpenCV 4 a fixed size without suppression."""
    if cv2.__version__.startswith("4.") and (not fixed or outputs == "detections"):
        pytest.skip("OpenCV 4 takes no free size and no suppression in the graph")
    model, path = Model.load(BUNDLED["yolov3-tiny"]), tmp_path / "tiny.onnx"
    export_model(model, path, signature_for(path, model, outputs=outputs, fixed=fixed))
    network = cv2.dnn.readNetFromONNX(str(path))
    canvas = cv2.resize(yolov3.read_image(photo), (416, 416))
    network.setInput(cv2.dnn.blobFromImage(canvas, 1 / 255), "images")
    names = [tensor.name for tensor in load_exported(path).signature.tensors(model.spec.network)]
    found = network.forward(names)
    if outputs == "raw":
        for name, head, other in zip(names, found, raw_heads(model, canvas[None]), strict=True):
            assert head.shape == other.shape, name
            np.testing.assert_allclose(head, other, atol=1e-3)
    else:
        wanted, (boxes, scores, *labels) = Detector(model)(canvas), found
        best = scores[0].reshape(len(boxes[0]), -1).max(axis=1).argmax()
        assert scores[0][best].max() == pytest.approx(float(wanted.scores[0]), abs=1e-4)
        np.testing.assert_allclose(boxes[0][best].clip(0, 416), wanted.boxes[0], atol=0.05)
        label = labels[0][0][best] if labels else scores[0][best].argmax()
        assert label == wanted.labels[0]


@pytest.mark.parametrize("engine", ["openvino", "mnn"])
def test_engines_against_ncnn(engine: str, small: Model, pictures: np.ndarray) -> None:
    pytest.importorskip({"mnn": "MNN"}.get(engine, engine))
    run = make_engine(engine, lower(small), threads=2)
    for images in (pictures, pictures[:1], pictures[:, :32]):
        for found, wanted in zip(run(images), raw_heads(small, images), strict=True):
            assert found.shape == wanted.shape and found.dtype == np.float32
            np.testing.assert_allclose(found, wanted, atol=2e-4 if engine == "openvino" else 5e-3)


@pytest.mark.parametrize("engine", ["openvino", "mnn", "onnxruntime"])
def test_engines_on_the_bundled_model(engine: str) -> None:
    pytest.importorskip({"mnn": "MNN"}.get(engine, engine))
    ours, other = Detector(conf=0.1), Detector(conf=0.1, engine=engine)
    for path in sample_photos():
        same(other(path), ours(path), 0.1, 5e-4)


def test_calls_from_several_threads(small: Model, pictures: np.ndarray) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for engine, package in (("openvino", "openvino"), ("mnn", "MNN")):
        if find_spec(package) is None:
            continue
        run = make_engine(engine, lower(small), threads=1)
        inputs = [pictures[:1], pictures[:, :, :32], pictures] * 4
        with ThreadPoolExecutor(4) as pool:
            for found, images in zip(pool.map(run, inputs), inputs, strict=True):
                for one, other in zip(found, raw_heads(small, images), strict=True):
                    np.testing.assert_allclose(one, other, atol=5e-3)


def test_mnn_keeps_standard_output_clean(tmp_path: Path) -> None:
    pytest.importorskip("MNN")
    code = (
        "import sys; sys.path.insert(0, 'TESTS')\n"
        "from models import random_model, small_spec\n"
        "from yolov3.export import export_model, signature_for\n"
        "model = random_model(small_spec())\n"
        "export_model(model, 'x.mnn', signature_for('x.mnn', model))\n"
        "print('done')\n"
        "assert not {name for name in sys.modules if name.startswith(('MNN.tools', 'aliyun'))}\n"
    ).replace("TESTS", str(Path(__file__).parent.parent))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize(
    ("suffix", "module", "extra"),
    [
        (".xml", "openvino", "convert"),
        (".xml", "onnx", "convert"),
        (".mnn", "_tools", "mnn"),
        (".mnn", "MNN", "mnn"),
        (".mnn", "onnx", "mnn"),
        (".onnx", "onnxruntime", "onnx"),
        (".onnx", "onnx", "onnx"),
    ],
)
def test_packages_that_are_missing_are_named(
    suffix: str, module: str, extra: str, small: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"yolov3.runtime.engines.{module}", raising=False)
    path = tmp_path / f"small{suffix}"
    with pytest.raises(Yolov3Error, match=rf"pip install 'yolov3\[{extra}\]'"):
        export_model(random_model(small_spec()), path, signature_for(path, small))
    assert not files(tmp_path)
