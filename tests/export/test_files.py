"""Exported files that are foreign, hostile, damaged or half written, and the shapes that good ones take."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checkpoints.canaries import canaries
from conftest import CliResult
from models import random_model, small_spec
from yolov3 import Detector, Model, ModelError, Yolov3Error
from yolov3.export import export_model, save_model, signature_for
from yolov3.export.proof import Figures, Tolerance
from yolov3.graph import lower
from yolov3.modelfile import METADATA_KEY
from yolov3.runtime.engines import FILE_ENGINES, make_engine, network_input, open_engine
from yolov3.runtime.exported import companions, load_exported
from yolov3.zoo import BUNDLED, sample_photos

from .conftest import files

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

Cli = Callable[..., CliResult]
SUFFIXES = [".onnx", ".param"]
SUFFIXES += [suffix for suffix, name in ((".xml", "openvino"), (".mnn", "MNN")) if find_spec(name)]


def written(model: Model, path: Path, **options: object) -> Path:
    export_model(model, path, signature_for(path, model, **options))  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One good file of each kind; tests change copies."""
    model = random_model(small_spec())
    return {suffix: written(model, tmp_path_factory.mktemp("export") / f"small{suffix}") for suffix in SUFFIXES}


def copied(path: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for each in (path, *companions(path)):
        shutil.copy(each, folder / each.name)
    return folder / path.name


# --- fault 28: tensors that lie elsewhere ----------------------------------------------------------------------------


def changed(path: Path, folder: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(path)
    change(model)
    target = folder / "changed.onnx"
    target.write_bytes(model.SerializeToString())
    return target


def outside(location: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "16")):
            tensor.external_data.append(onnx.StringStringEntryProto(key=key, value=value))

    return change


@pytest.mark.parametrize(
    "location", ["../../secret.bin", "/etc/passwd", "link.bin", "hard.bin", "weights.bin", "", "."]
)
def test_fault_28_tensors_in_other_files_are_refused(
    location: str, exports: dict[str, Path], tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(1 << 16))
    (tmp_path / "link.bin").symlink_to(tmp_path / "weights.bin")
    os.link(tmp_path / "weights.bin", tmp_path / "hard.bin")
    path = changed(exports[".onnx"], tmp_path, outside(location))
    result = cli("detect", sample_photos()[0], "--model", path, "--no-save")
    assert result.code == 4 and len(result.err.splitlines()) == 1
    assert "lies in another file" in result.err and "save it as one file" in result.err


def in_an_attribute(model: onnx.ModelProto) -> None:
    tensor = TensorProto(name="hidden", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    model.graph.node.append(helper.make_node("Constant", [], ["hidden"], value=tensor))


def in_a_branch(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    inner.initializer.append(TensorProto(name="deep", data_location=TensorProto.EXTERNAL))
    model.graph.node.append(helper.make_node("If", ["images"], ["x"], then_branch=inner, else_branch=inner))


def sparse(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1 << 40]))


def sparse_attribute(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    value = helper.make_sparse_tensor(values, indices, [8])
    model.graph.node.append(helper.make_node("Constant", [], ["s"], sparse_value=value))


def function(model: onnx.ModelProto) -> None:
    model.functions.append(helper.make_function("own", "F", [], [], [], []))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (in_an_attribute, "tensor 'hidden' lies in another file"),
        (in_a_branch, "tensor 'deep' lies in another file"),
        (sparse, "has sparse tensors"),
        (sparse_attribute, "has sparse tensors"),
        (function, "has functions of its own"),
    ],
)
def test_fault_28_wherever_they_are_hidden(
    change: Callable[[onnx.ModelProto], None], expected: str, exports: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=expected):
        Detector(changed(exports[".onnx"], tmp_path, change))


# --- fault 29: files of something else -------------------------------------------------------------------------------


def foreign_onnx(path: Path) -> Path:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    shape = ["n", 3, 640, 640]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name in ("x", "y")]
    model = helper.make_model(helper.make_graph(nodes, "g", *ends), opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.save(model, path)
    return path


def test_fault_29_an_onnx_file_of_another_program(tmp_path: Path, cli: Cli) -> None:
    result = cli("detect", sample_photos()[0], "--model", foreign_onnx(tmp_path / "x.onnx"), "--no-save")
    assert result.code == 4 and len(result.err.splitlines()) == 1
    for part in ("has no 'yolov3' metadata", "takes x float32 (n, 3, 640, 640)", "gives y float32",
                 "expected a file that yolov3 convert made", "images float32 (batch, 3, height, width)"):  # fmt: skip
        assert part in result.err


def test_fault_29_an_ir_of_another_program(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    openvino.save_model(openvino.Core().read_model(foreign_onnx(tmp_path / "x.onnx")), tmp_path / "x.xml")
    with pytest.raises(ModelError, match=r"x.xml: has no 'yolov3' metadata, it takes x float32 .*images float32"):
        load_exported(tmp_path / "x.xml")


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix in (".param", ".mnn")])
def test_fault_29_without_its_metadata(suffix: str, exports: dict[str, Path], tmp_path: Path) -> None:
    path = copied(exports[suffix], tmp_path)
    path.with_name(f"{path.name}.json").unlink()
    with pytest.raises(ModelError, match=rf"small{suffix}.json is not beside it.*expected a file that yolov3 convert"):
        load_exported(path)


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "x"


def another_shape(model: onnx.ModelProto) -> None:
    model.graph.output[1].type.tensor_type.shape.dim[2].dim_value = 99


def another_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def one_output_less(model: onnx.ModelProto) -> None:
    del model.graph.output[1]


@pytest.mark.parametrize("change", [rename_input, another_shape, another_type, one_output_less])
def test_fault_29_what_it_takes_and_gives_is_not_what_it_says(
    change: Callable[[onnx.ModelProto], None], exports: dict[str, Path], tmp_path: Path
) -> None:
    path = changed(exports[".onnx"], tmp_path, change)
    with pytest.raises(ModelError, match=r"(takes|gives) .*, but its metadata says .*export it anew"):
        load_exported(path)


def say(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change the metadata of an ONNX file."""
    model = onnx.load(path)
    entry = next(entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    values = json.loads(entry.value)
    change(values)
    entry.value = json.dumps(values)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda values: values.pop("export"), "what it says of its input and outputs is not in order"),
        (lambda values: values["export"]["input"].update(shape=[1]), "is not in order"),
        (lambda values: values["export"]["input"].update(scale=2), "is not in order"),
        (lambda values: values["export"]["heads"].pop(), "is not in order"),
        (lambda values: values["export"].update(precision="int4"), "is not in order"),
        (lambda values: values["export"]["outputs"].update(kind="boxes!"), "is not in order"),
        (lambda values: values["names"].append("more"), "3 class names for 2 classes"),
        (lambda values: values.update(format=2), "format 2 is newer than this package reads"),
        (lambda values: values.update(size=[64, 65]), "multiple of 8"),
    ],
)  # fmt: skip
def test_fault_29_metadata_that_contradicts_itself(
    change: Callable[[dict[str, object]], object], expected: str, exports: dict[str, Path], tmp_path: Path
) -> None:
    path = copied(exports[".onnx"], tmp_path)
    say(path, change)
    with pytest.raises(Yolov3Error, match=expected):
        Detector(path)


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix != ".onnx"])
def test_a_companion_of_another_export(suffix: str, exports: dict[str, Path], tmp_path: Path) -> None:
    """Weights of one export beside the network of another would run, and give nonsense."""
    path = copied(exports[suffix], tmp_path)
    other = written(random_model(small_spec(), seed=1), tmp_path / f"other{suffix}")
    weights = path.with_suffix(".bin") if suffix != ".mnn" else path
    shutil.copy(other.with_suffix(weights.suffix), weights)
    with pytest.raises(ModelError, match=rf"{weights.name}: is not the file that was exported with"):
        Detector(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_companions_that_are_missing_empty_or_folders(suffix: str, exports: dict[str, Path], tmp_path: Path) -> None:
    for place, name in enumerate(each.name for each in (exports[suffix], *companions(exports[suffix]))):
        for state in ("missing", "empty", "folder", "pipe"):
            folder = tmp_path / f"{place}-{state}"
            path = copied(exports[suffix], folder)
            (folder / name).unlink()
            if state == "empty":
                (folder / name).touch()
            elif state == "folder":
                (folder / name).mkdir()
            elif state == "pipe":
                os.mkfifo(folder / name)
            with pytest.raises(ModelError) as caught:
                Detector(path)
            assert name in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_never_raise_anything_else(
    suffix: str, data: st.DataObject, exports: dict[str, Path], tmp_path: Path
) -> None:
    path = copied(exports[suffix], tmp_path)
    victim = data.draw(st.sampled_from([path, *companions(path)]))
    content = bytearray(victim.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    victim.write_bytes(content)
    try:
        Detector(path)(np.zeros((64, 64, 3), np.uint8))
    except Yolov3Error as error:
        assert len(str(error).splitlines()) == 1 and str(error).isprintable()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_fault_19_no_reader_of_exports_runs_a_pickle(suffix: str, exports: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "canary"
    for place, name in enumerate(each.name for each in (exports[suffix], *companions(exports[suffix]))):
        for number, pickled in enumerate(canaries(target).values()):
            folder = tmp_path / f"{place}-{number}"
            path = copied(exports[suffix], folder)
            (folder / name).write_bytes(pickled)
            with pytest.raises(ModelError):
                Detector(path)
            assert not target.exists()


# --- fault 30: one answer from PyTorch, ONNX Runtime and OpenVINO ----------------------------------------------------


def test_fault_30_the_bundled_model_in_pytorch_onnxruntime_and_openvino(tmp_path: Path) -> None:
    """32 random pictures, 8 crops of photos: raw heads at most 1e-4 apart."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("openvino")
    from yolov3 import read_image
    from yolov3.training.network import Network, with_training_batch_norm

    model = Model.load(BUNDLED["yolov3-tiny"])
    rng = np.random.default_rng(30)
    pictures = [rng.integers(0, 256, (96, 96, 3), np.uint8) for _ in range(32)]
    photos = [read_image(path) for path in sample_photos()]
    for number in range(8):
        photo = photos[number % len(photos)]
        top, left = (int(rng.integers(0, side - 95)) for side in photo.shape[:2])
        pictures.append(np.ascontiguousarray(photo[top : top + 96, left : left + 96]))
    images = np.stack(pictures)
    trained = with_training_batch_norm(model)
    network = Network(trained.spec, trained.batch_norm)
    network.load_arrays(trained.tensors)
    network.eval()
    with torch.no_grad():
        outputs = network(torch.from_numpy(network_input(images, model.preprocess.scale)))
    expected = [head.numpy() for head in outputs]
    for suffix in (".onnx", ".xml"):
        path = written(model, tmp_path / f"tiny{suffix}", outputs="raw")
        detector = Detector(path, size=96)
        plans = [detector.plan((96, 96))] * len(images)
        for found, wanted in zip(detector.raw(list(images), plans), expected, strict=True):
            # (N, A, H, W, 5 + nc) → (N, A · (5 + nc), H, W)
            values = wanted.transpose(0, 1, 4, 2, 3).reshape(found.shape)
            assert np.abs(found - values).max() <= 1e-4


def test_fault_30_an_ir_keeps_float32_unless_it_is_told_not_to(tmp_path: Path, small: Model) -> None:
    pytest.importorskip("openvino")
    sizes = {}
    for precision in ("fp32", "fp16"):
        path = written(small, tmp_path / f"{precision}.xml", precision=precision)
        sizes[precision] = path.with_suffix(".bin").stat().st_size
    values = sum(array.size for array in small.tensors.values() if array.ndim == 4)
    assert sizes["fp32"] >= 4 * values and sizes["fp16"] < 0.7 * sizes["fp32"]


# --- fault 31: any batch and size after the export -------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_fault_31_any_batch_and_size(suffix: str, small: Model, tmp_path: Path) -> None:
    """Batches of 1, 2 and 7, sides from 32 to 1280, one after the other."""
    rng = np.random.default_rng(31)
    reference = make_engine("onnxruntime" if suffix == ".param" else "ncnn", lower(small), 2)
    path = written(small, tmp_path / f"small{suffix}", outputs="raw")
    exported = load_exported(path)
    run = open_engine(FILE_ENGINES[exported.kind][0], exported, 2)
    for batch, width, height in ((1, 32, 32), (2, 64, 32), (7, 96, 64), (1, 1280, 32), (2, 32, 1280), (1, 1280, 1280)):
        images = rng.integers(0, 256, (batch, height, width, 3), np.uint8)
        for found, wanted in zip(run(images), reference(images), strict=True):
            assert found.shape == wanted.shape
            np.testing.assert_allclose(found, wanted, atol=0.02 if suffix == ".mnn" else 5e-4)


@pytest.mark.parametrize("outputs", ["boxes", "detections"])
def test_fault_31_any_batch_and_size_with_decoding_in_the_graph(outputs: str, small: Model, tmp_path: Path) -> None:
    path = written(small, tmp_path / "small.onnx", outputs=outputs, conf=0.2, iou=1.0, max_det=9000)
    rng = np.random.default_rng(31)
    for batch, size in ((1, (32, 32)), (2, (1280, 64)), (7, (64, 320))):
        images = [rng.integers(0, 256, (size[1], size[0], 3), np.uint8) for _ in range(batch)]
        options = {"size": size, "conf": 0.2, "iou": 1.0, "max_det": 9000}
        for found, wanted in zip(Detector(path, **options).batch(images), Detector(small, **options).batch(images),
                                 strict=True):  # fmt: skip
            assert abs(len(found) - len(wanted)) <= 1 + len(wanted) // 100
            np.testing.assert_allclose(found.scores[:20], wanted.scores[:20], atol=2e-4)


# --- fault 32: interrupted exports; failed proofs --------------------------------------------------------------------


OUTPUTS = [*SUFFIXES, ".safetensors", ".cfg", ".weights"]


def save(model: Model, path: Path) -> None:
    if path.suffix in SUFFIXES:
        written(model, path)
    else:
        save_model(model, path)


@pytest.mark.parametrize("suffix", OUTPUTS)
@pytest.mark.parametrize("fault", ["interrupted", "another answer", "nonsense"])
def test_fault_32_nothing_is_left_and_the_old_file_stays(
    suffix: str, fault: str, small: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while it is compared, or a file that gives something else than the model: with and without an old one."""

    def compare(*arguments: object) -> Figures:
        if fault == "interrupted":
            raise KeyboardInterrupt
        return Figures(8, 0.5 if fault == "another answer" else float("nan"), float("nan"), 0.5)

    path = tmp_path / f"small{suffix}"
    for before in ({}, None):
        if before is None:
            save(random_model(small_spec(), seed=5), path)
            before = files(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr("yolov3.export.exporting.compare", compare)
            error = KeyboardInterrupt if fault == "interrupted" else ModelError
            with pytest.raises(error) as caught:
                save(small, path)
        if fault != "interrupted":
            assert "failed its proof on 8 pictures" in str(caught.value) and "no file was written" in str(caught.value)
        assert files(tmp_path) == before


KILLED = """
import sys, time
sys.path.insert(0, TESTS)
from pathlib import Path
from models import random_model, small_spec
import yolov3.export.exporting as exporting
from yolov3.export import export_model, signature_for
def compare(*arguments):
    print("written", flush=True)
    time.sleep(60)
exporting.compare = compare
model = random_model(small_spec())
export_model(model, PATH, signature_for(PATH, model))
"""


def test_fault_32_killed_before_the_proof(exports: dict[str, Path], tmp_path: Path) -> None:
    """What stays under the final name is the file from before, whole."""
    path = copied(exports[".param"], tmp_path)
    before = files(tmp_path)
    code = KILLED.replace("TESTS", repr(str(Path(__file__).parent.parent))).replace("PATH", repr(str(path)))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"written\n"
        process.kill()
    left = files(tmp_path)
    assert {name: left.pop(name) for name in before} == before
    assert all(name.startswith(".small.param.") and name.endswith(".tmp") for name in left)
    load_exported(path)


def test_a_proof_that_loses_ap_leaves_no_file(small: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "small.onnx"
    monkeypatch.setattr("yolov3.export.exporting.compare_ap", lambda *arguments: (0.5, 0.49))
    dataset = object()
    with pytest.raises(ModelError, match=r"AP 0.4900 instead of 0.5000, a loss of at most 0.001 expected; no file"):
        export_model(small, path, signature_for(path, small), dataset=dataset)  # type: ignore[arg-type]
    assert not files(tmp_path)


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        (Figures(8, 2e-3, 0, 0), "raw heads differ by up to 0.002, at most 0.001 expected"),
        (Figures(8, float("nan"), 0, 0), "raw heads differ by up to nan"),
        (Figures(8, None, 0.2, 0), "boxes differ by up to 0.2 pixels, at most 0.05 expected"),
        (Figures(8, None, 0, 1e-3), "scores differ by up to 0.001, at most 0.0001 expected"),
        (Figures(8, None, 0, 0, wrong=3), "3 boxes are kept or dropped wrongly"),
        (Figures(8, 2e-3, 0, 0, peak=100), None),  # relative to logits beyond the usual 25
        (Figures(8, 2e-3, 0, 0, peak=30), "raw heads differ"),
    ],
)
def test_what_is_too_much(figures: Figures, expected: str | None) -> None:
    excess = Tolerance(AP=0.001, raw=1e-3, box=0.05, score=1e-4).excess(figures)
    assert excess is None if expected is None else expected in str(excess)


# --- what stands in the way, and odd names ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["a b.onnx", "größe 100%.onnx", "-x.onnx", "{0}.onnx", "UPPER.ONNX", "a.b.c.onnx", "日本.param", "x.y.param"],
)
def test_odd_names(name: str, cli: Cli, small: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small.save("small.safetensors")
    result = cli("convert", "--", "small.safetensors", name)
    assert (result.code, result.err) == (0, ""), result.err
    assert load_exported(tmp_path / name).spec == small.spec
    assert {path.name for path in tmp_path.iterdir()} == {
        "small.safetensors", name, *(each.name for each in companions(Path(name)))
    }  # fmt: skip


@pytest.mark.parametrize("suffix", OUTPUTS)
def test_a_folder_or_nothing_where_the_output_should_go(
    suffix: str, cli: Cli, small: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small.save("small.safetensors")
    Path(f"folder{suffix}").mkdir()
    before = files(tmp_path)
    for name in (f"folder{suffix}", f"none/x{suffix}", f"small.safetensors/x{suffix}"):
        result = cli("convert", "small.safetensors", name)
        assert result.code in (1, 2) and len(result.err.splitlines()) == 1 and name in result.err
        assert files(tmp_path) == before
        assert result.out == ""


@pytest.mark.parametrize("suffix", [suffix for suffix in OUTPUTS if suffix in (".xml", ".param", ".cfg")])
def test_a_folder_where_a_companion_should_go(
    suffix: str, cli: Cli, small: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small.save("small.safetensors")
    name = "x.weights" if suffix == ".cfg" else "x.bin"
    for old in (False, True):
        if old:
            assert cli("convert", "small.safetensors", f"x{suffix}").code == 0
            Path(name).unlink()
        Path(name).mkdir()
        before = files(tmp_path)
        result = cli("convert", "small.safetensors", f"x{suffix}")
        assert result.code in (1, 2) and len(result.err.splitlines()) == 1 and name in result.err
        assert files(tmp_path) == before
        Path(name).rmdir()


def test_a_full_disk(small: Model, tmp_path: Path) -> None:
    small.save(tmp_path / "small.safetensors")
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))\n"
        "from yolov3.cli import main\n"
        "main(['convert', 'small.safetensors', sys.argv[1]])"
    )
    for suffix in OUTPUTS:
        before = files(tmp_path)
        command = [sys.executable, "-c", code, f"x{suffix}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and done.stdout == ""
        assert len(done.stderr.splitlines()) == 1 and ": could not be written" in done.stderr, done.stderr
        assert done.stderr.startswith("yolov3: error: x."), done.stderr  # by its own name, not by a temporary one
        assert files(tmp_path) == before
