"""Checkpoints and Darknet files through everything that opens a model; pickles that would act are refused by all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import CliResult
from darknet.engines import load, write
from darknet.family import family_text
from darknet.writer import weight_bytes
from yolov3 import Detector
from yolov3.checkpoints import read_checkpoint
from yolov3.darknet import import_cfg, load_cfg, read_backbone, read_names
from yolov3.errors import ModelError, UsageError, Yolov3Error
from yolov3.modelfile import Model
from yolov3.runtime.loading import DarknetOptions, load_model
from yolov3.spec import load_spec, write_spec

from .canaries import canaries
from .networks import Builder, foreign_model
from .test_statedict import foreign_tensors
from .writer import write_checkpoint, write_zip

Cli = Callable[..., CliResult]
TINY = family_text("yolov3-tiny", divide=16, width=96, height=96)


def load_weights(path: Path) -> object:
    return import_cfg(TINY, "x.cfg").read_weights(path)


LOADERS: dict[str, Callable[[Path], object]] = {
    "read_checkpoint": read_checkpoint,
    "read_checkpoint with a network": lambda path: read_checkpoint(path, cfg="yolov3-tiny"),
    "load_model": load_model,
    "load_model, as weights": lambda path: load_model("yolov3-tiny", DarknetOptions(path)),
    "load_model, as names": lambda path: load_model("yolov3-tiny", DarknetOptions(names=path)),
    "Detector": Detector,
    "Model.load": Model.load,
    "load_spec": load_spec,
    "load_cfg": load_cfg,
    "read_names": read_names,
    "read_weights": load_weights,
    "read_backbone": lambda path: read_backbone(path, import_cfg(TINY, "x.cfg").order),
}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".safetensors", ".cfg", ".weights", ".yaml", ""])
@pytest.mark.parametrize("loader", LOADERS)
def test_faults_19_and_20_no_loader_runs_a_pickle(loader: str, suffix: str, tmp_path: Path) -> None:
    """Bare, in a checkpoint's zip and inside a whole network; refused by each, and no other way is tried."""
    target = tmp_path / "canary"
    pickles = canaries(target)
    path = tmp_path / f"x{suffix}"
    for name in ("os.system, protocol 2", "eval, protocol 4", "inst", "in a checkpoint"):
        for data in (pickles[name], write_zip(path, {"data.pkl": pickles[name]}).read_bytes()):
            path.write_bytes(data)
            with pytest.raises(Yolov3Error) as caught:
                LOADERS[loader](path)
            assert len(str(caught.value).splitlines()) == 1
            assert not target.exists()


def test_fault_19_a_whole_network_with_a_canary_in_it(tmp_path: Path, cli: Cli) -> None:
    target = tmp_path / "canary"
    good = write_checkpoint(tmp_path / "good.pt", {"model": Builder(foreign_model()).network()})
    assert cli("convert", good, tmp_path / "good.safetensors").code == 0
    from .writer import Call, Checkpoint, Global

    call = Call(Global("os.system"), (f"touch {target}",))
    checkpoint = Checkpoint()
    pickled = checkpoint.pickle({"model": Builder(foreign_model()).network(), "wandb_id": call})
    entries = {"data.pkl": pickled, **{f"data/{key}": data for key, data in enumerate(checkpoint.storages)}}
    write_zip(tmp_path / "bad.pt", entries)
    result = cli("convert", tmp_path / "bad.pt", tmp_path / "bad.safetensors")
    assert result.code == 4
    assert "bad.pt: its pickle names os.system, which has no place in a model (nothing of it was run)" in result.err
    assert not target.exists() and not (tmp_path / "bad.safetensors").exists()


# --- load_model and convert ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.pt", "x.pth", "best", "x.bin"])
def test_checkpoints_are_told_by_suffix_and_by_content(name: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / name, {"model": Builder(foreign_model()).network()})
    loaded = load_model(path)
    assert loaded.model.names == ("cat", "dog") and not loaded.notes


@pytest.mark.parametrize("name", ["x", "x.bin", "x.model", "x.pt"])
def test_model_files_are_told_by_content_too(name: str, tmp_path: Path, cli: Cli) -> None:
    expected = foreign_model()
    expected.save(tmp_path / name)
    assert load_model(tmp_path / name).model.spec == expected.spec
    assert cli("convert", tmp_path / name, tmp_path / "again.safetensors").code == 0
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / name).read_bytes()


def test_names_for_a_checkpoint(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "x.pt", {"model": Builder(foreign_model()).network(names=7)})
    (tmp_path / "x.names").write_text("left\nright\n")
    with pytest.raises(ModelError, match="give --names"):
        load_model(path)
    assert load_model(path, DarknetOptions(names=tmp_path / "x.names")).model.names == ("left", "right")


def test_options_that_do_not_go_with_a_checkpoint(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "x.pt", {"model": Builder(foreign_model()).network()})
    with pytest.raises(UsageError, match=r"--masks goes with a Darknet .cfg as the model"):
        load_model(path, DarknetOptions(masks="1,2,3"))
    with pytest.raises(UsageError, match=r"--masks goes with Darknet weights, not with .*x.pt"):
        load_model("yolov3", DarknetOptions(path, masks="1,2,3"))
    with pytest.raises(UsageError, match=r"holds its whole network, so yolov3 has no say"):
        load_model("yolov3", DarknetOptions(path))


def test_convert_a_checkpoint(tmp_path: Path, cli: Cli) -> None:
    expected = foreign_model()
    path = write_checkpoint(tmp_path / "best.pt", {"model": Builder(expected).network()})
    result = cli("convert", path, tmp_path / "out.safetensors")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"{tmp_path / 'out.safetensors'}: 12 rows, 2 classes, 640×640, ")
    assert Model.load(tmp_path / "out.safetensors").spec == expected.spec


@pytest.mark.parametrize("description", ["net.cfg", "net.yaml"])
def test_convert_a_state_dict(description: str, tmp_path: Path, cli: Cli) -> None:
    data = weight_bytes(TINY)
    (tmp_path / "net.cfg").write_text(TINY)
    expected = load(tmp_path, TINY, data).model
    (tmp_path / "net.yaml").write_text(write_spec(expected.spec))
    tensors = foreign_tensors(TINY, data, "PyTorch-YOLOv3") if description == "net.cfg" else dict(expected.tensors)
    path = write_checkpoint(tmp_path / "x.pth", tensors)
    result = cli("convert", tmp_path / description, path, tmp_path / "out.safetensors")
    assert result.code == 0 and "note: " in result.err and "a state dict, named as" in result.err
    model = Model.load(tmp_path / "out.safetensors")
    assert all(np.array_equal(model.tensors[name], array) for name, array in expected.tensors.items())
    result = cli("convert", path, tmp_path / "out.safetensors")
    assert result.code == 2 and "give the .cfg or .yaml that it belongs to" in result.err


def test_convert_there_and_back(tmp_path: Path, cli: Cli) -> None:
    """cfg and weights → model file → cfg, weights and names, byte for byte; and the weights alone."""
    data = weight_bytes(TINY)
    cfg, weights = write(tmp_path, TINY, data)
    (tmp_path / "net.names").write_text("".join(f"thing {index}\n" for index in range(80)))
    kept = tmp_path / "kept.safetensors"
    assert cli("convert", cfg, weights, kept, "--names", tmp_path / "net.names").code == 0
    result = cli("convert", kept, tmp_path / "back.cfg")
    assert (result.code, result.err) == (0, "")
    for suffix in (".cfg", ".weights", ".names"):
        assert (tmp_path / f"back{suffix}").read_bytes() == (tmp_path / f"net{suffix}").read_bytes()
    assert cli("convert", kept, tmp_path / "alone.weights").code == 0
    assert (tmp_path / "alone.weights").read_bytes() == data
    assert not (tmp_path / "alone.cfg").exists()


def test_convert_the_bundled_model_to_darknet(tmp_path: Path, cli: Cli) -> None:
    result = cli("convert", "yolov3-tiny", tmp_path / "tiny.cfg", "--dialect", "pjreddie")
    assert result.code == 0 and "are float16; they are written as float32" in result.err
    again = load_model(tmp_path / "tiny.cfg", DarknetOptions(tmp_path / "tiny.weights", tmp_path / "tiny.names")).model
    bundled = load_model("yolov3-tiny").model
    assert again.spec == bundled.spec and again.names == bundled.names
    assert all(np.array_equal(again.tensors[name], array) for name, array in bundled.tensors.items())


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["x.pt", "out.cfg"], 4, "row 4 (nn.ZeroPad2d): pads by 0, which no Darknet can"),
        (
            ["x.pt", "out.cfg", "--dialect", "darkest"],
            2,
            "dialect 'darkest': expected one of alexeyab, pjreddie, opencv",
        ),
        (["x.pt", "out.tflite"], 2, "expected an output that ends in .safetensors, .cfg, .weights, .onnx"),
        (["x.pt", "out.weights", "--half"], 2, "--half goes with a .safetensors or an export as OUT"),
        (["x.cfg", "x.weights", "x.cfg"], 2, "x.cfg: is also an input, which is never changed"),
        (["y.cfg", "x.weights", "x.cfg"], 2, "x.weights: is also an input, which is never changed"),
        (["x.names", "x.cfg"], 2, "x.names: is also an input, which is never changed"),
    ],
)
def test_convert_refuses(arguments: list[str], code: int, expected: str, tmp_path: Path, cli: Cli,
                         monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_checkpoint(Path("x.pt"), {"model": Builder(foreign_model()).network()})
    before = sorted(Path().iterdir())
    result = cli("convert", *arguments)
    assert result.code == code and expected in result.err
    assert sorted(Path().iterdir()) == before
