"""State dicts: tensors by the names that several programs give, the network from a cfg or a YAML beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from darknet.engines import load
from darknet.family import family_text
from darknet.writer import cfg_text, conv, head, maxpool, net, read_arrays, weight_bytes
from yolov3.checkpoints import read_checkpoint
from yolov3.errors import ModelError, UsageError
from yolov3.graph import lower
from yolov3.graph.onnx import emit_onnx
from yolov3.modelfile import BatchNorm, Model
from yolov3.spec import write_spec

from .networks import foreign_model, state_dict
from .writer import Call, Global, write_checkpoint

PARTS = {"scales": "weight", "biases": "bias", "mean": "running_mean", "variance": "running_var"}
# Program → names of a convolution and its batch normalisation.
PROGRAMS: dict[str, Callable[[int], tuple[str, str]]] = {
    "PyTorch-YOLOv3": lambda index: (f"module_list.{index}.conv_{index}", f"module_list.{index}.batch_norm_{index}"),
    "ultralytics 8": lambda index: (f"module_list.{index}.Conv2d", f"module_list.{index}.BatchNorm2d"),
    "others": lambda index: (f"models.{index}.conv{index + 1}", f"models.{index}.bn{index + 1}"),
}
HABITS = {"PyTorch-YOLOv3": (1e-5, 0), "ultralytics 8": (1e-4, 114), "others": (1e-5, 127)}


def foreign_tensors(text: str, data: bytes, program: str) -> dict[str, np.ndarray]:
    """What the program's state dict holds for the weights of a Darknet file."""
    tensors = {}
    for stored, arrays in read_arrays(text, data):
        convolution, normalisation = PROGRAMS[program](stored.layer)
        tensors[f"{convolution}.weight"] = arrays["weights"]
        if "scales" in arrays:
            for name, part in PARTS.items():
                tensors[f"{normalisation}.{part}"] = arrays[name]
            tensors[f"{normalisation}.num_batches_tracked"] = np.array(3)
        else:
            tensors[f"{convolution}.bias"] = arrays["biases"]
    return tensors


def small(tmp_path: Path, name: str = "yolov3-tiny") -> tuple[Path, dict[str, np.ndarray], Model]:
    """A cfg file, PyTorch-YOLOv3's tensors, and the model that Darknet's files make."""
    text = family_text(name, divide=16, width=96, height=96)
    data = weight_bytes(text)
    return tmp_path / "net.cfg", foreign_tensors(text, data, "PyTorch-YOLOv3"), load(tmp_path, text, data).model


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", ["yolov3", "yolov3-spp", "yolov3-tiny"])
def test_with_a_cfg(name: str, program: str, tmp_path: Path) -> None:
    """The tensors are those that Darknet's files give, an SPP's channels in our order; padding is the program's."""
    cfg, _, expected = small(tmp_path, name)
    text = cfg.read_text()
    path = write_checkpoint(tmp_path / "x.pth", foreign_tensors(text, weight_bytes(text), program))
    model, notes = read_checkpoint(path, cfg=cfg)
    assert all(np.array_equal(model.tensors[tensor], array) for tensor, array in expected.tensors.items())
    epsilon, grey = HABITS[program]
    assert (model.batch_norm, model.preprocess.pad) == (BatchNorm(epsilon, inside=True), grey)
    zero_pads = [row.index for row in model.spec.rows if row.module == "nn.ZeroPad2d"]
    assert zero_pads == ([11] if name == "yolov3-tiny" and program != "others" else [])
    assert len(model.spec.rows) == len(expected.spec.rows)
    assert model.names == expected.names
    assert len(notes) == 1 and f"epsilon {epsilon:g}, pictures letterboxed with grey {grey}" in notes[0]
    assert [file["name"] for file in model.source["files"]] == ["x.pth", "net.cfg"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: {"state_dict": tensors, "epoch": 3},
        lambda tensors: {"model": tensors, "optimizer": {"state": {}}, "training_results": "text"},
        lambda tensors: {"ema": tensors, "model": {"x.0.weight": np.zeros((1, 1, 1, 1))}},
        lambda tensors: {f"module.{name}": array for name, array in tensors.items()},
        lambda tensors: {"model_state_dict": Call(Global("collections.OrderedDict"), ([*map(list, tensors.items())],))},
    ],
    ids=["state_dict", "model", "ema", "in parallel", "ordered"],
)
def test_where_the_tensors_are(wrap: Callable[[dict[str, np.ndarray]], object], tmp_path: Path) -> None:
    cfg, tensors, expected = small(tmp_path)
    model, _ = read_checkpoint(write_checkpoint(tmp_path / "x.pth", wrap(tensors)), cfg=cfg)
    assert all(np.array_equal(model.tensors[name], array) for name, array in expected.tensors.items())


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name,
        lambda name: f"model.{name.replace('.heads.', '.m.')}",
        lambda name: f"module.model.{name.replace('.heads.', '.m.')}",
    ],
    ids=["ours", "ultralytics", "in parallel"],
)
def test_with_a_yaml(rename: Callable[[str], str], tmp_path: Path) -> None:
    expected = foreign_model()
    (tmp_path / "net.yaml").write_text(write_spec(expected.spec))
    tensors = state_dict(expected, rename) | {rename("11.anchors"): np.ones((2, 2, 2))}
    model, _ = read_checkpoint(
        write_checkpoint(tmp_path / "x.pt", tensors), cfg=tmp_path / "net.yaml", names=("a", "b")
    )
    assert model.spec == expected.spec
    assert model.names == ("a", "b")
    assert all(np.array_equal(model.tensors[name], array) for name, array in expected.tensors.items())
    ultralytics = "model." in rename("0.x")
    assert model.batch_norm.epsilon == (1e-3 if ultralytics else 1e-5)
    assert model.preprocess.pad == (114 if ultralytics else 127)


def test_one_of_the_family_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"doesn't fit yolov3-tiny.yaml: 0.bn.weight is missing; .* and \d+ more"):
        read_checkpoint(
            write_checkpoint(tmp_path / "x.pt", {"0.conv.weight": np.zeros((16, 3, 3, 3))}), cfg="yolov3-tiny"
        )


def test_without_a_network(tmp_path: Path) -> None:
    _, tensors, _ = small(tmp_path)
    with pytest.raises(UsageError, match=r"a state dict, which doesn't say the network; give the .cfg or .yaml"):
        read_checkpoint(write_checkpoint(tmp_path / "x.pth", tensors))


Tensors = dict[str, np.ndarray]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda tensors: tensors.pop("module_list.0.conv_0.weight"), "layer 0 [convolutional] (row 0): 0.conv.weight"),
        (lambda tensors: tensors.pop("module_list.0.batch_norm_0.running_var"), "0.bn.running_var is missing"),
        (lambda tensors: tensors.pop("module_list.15.conv_15.bias"), "20.heads.1.bias is missing"),
        (lambda tensors: [tensors.pop(name) for name in list(tensors) if ".13." in name],
         "doesn't fit net.cfg: layer 13 [convolutional] has no tensors"),
        (lambda tensors: tensors.update({"module_list.1.conv_1.weight": np.zeros((1, 1, 1, 1))}),
         "'module_list.1.conv_1.weight' belongs to no convolution"),
        (lambda tensors: tensors.update({"module_list.0.conv_0.extra": np.zeros(3)}), "has no place in it"),
        (lambda tensors: tensors.update({"classifier.weight": np.zeros(3)}), "'classifier.weight' is of no layer"),
        (lambda tensors: tensors.update({"module_list.0.conv_0.weight": np.zeros((1, 4, 3, 3))}),
         "module_list.0.conv_0.weight has shape [1, 4, 3, 3], expected [1, 3, 3, 3]"),
        (lambda tensors: tensors.update({"module_list.0.conv_0.weight": np.full((1, 3, 3, 3), np.inf)}),
         "module_list.0.conv_0.weight has values that are not finite"),
        (lambda tensors: tensors.update({"module_list.99999999999999999999.x": np.zeros(1)}), "to no convolution"),
    ],
)  # fmt: skip
def test_fault_22_what_does_not_fit_is_named(
    change: Callable[[Tensors], object], expected: str, tmp_path: Path
) -> None:
    cfg, tensors, _ = small(tmp_path)
    change(tensors)
    with pytest.raises(ModelError) as caught:
        read_checkpoint(write_checkpoint(tmp_path / "x.pth", tensors), cfg=cfg)
    assert expected.replace("net.cfg", str(cfg)) in str(caught.value)


@pytest.mark.parametrize("description", ["cfg", "yaml"])
def test_fault_22_other_classes_and_how_to_fine_tune(description: str, tmp_path: Path) -> None:
    cfg, tensors, expected = small(tmp_path)
    if description == "cfg":
        text = cfg.read_text().replace("classes=80", "classes=3").replace("filters=255", "filters=24")
        (tmp_path / "three.cfg").write_text(text)
    else:
        tensors = dict(expected.tensors)
        (tmp_path / "three.yaml").write_text(write_spec(expected.spec).replace("nc: 80", "nc: 3"))
    with pytest.raises(ModelError) as caught:
        read_checkpoint(write_checkpoint(tmp_path / "x.pth", tensors), cfg=tmp_path / f"three.{description}")
    message = str(caught.value)
    assert "has 255 channels, expected 24: trained for other classes" in message
    assert "fine-tune that: yolov3 train DATA --model FILE" in message


def test_the_weights_of_another_cfg(tmp_path: Path) -> None:
    _, tensors, _ = small(tmp_path)
    (tmp_path / "other.cfg").write_text(family_text("yolov3", divide=16, width=96, height=96))
    with pytest.raises(
        ModelError, match=r"doesn't fit .*other.cfg: layer 1 \[convolutional\] has no tensors; .* and \d+ more"
    ):
        read_checkpoint(write_checkpoint(tmp_path / "x.pth", tensors), cfg=tmp_path / "other.cfg")


# --- with PyTorch itself ---------------------------------------------------------------------------------------------


def test_files_of_torch_itself(tmp_path: Path) -> None:
    """Parameters, views, half precision and every integer type as torch.save writes them."""
    torch = pytest.importorskip("torch")
    from yolov3.checkpoints.archive import Archive
    from yolov3.checkpoints.values import Tensor

    base = torch.arange(24, dtype=torch.float32)
    values = {
        "parameter": torch.nn.Parameter(base.reshape(2, 3, 4)),
        "transposed": base.reshape(4, 6).T,
        "part": base[3:9:2],
        "channels last": base.reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(3.5),
        **{str(kind): base.to(kind) for kind in (torch.float64, torch.float16, torch.int64, torch.int32, torch.int16,
                                                torch.int8, torch.uint8, torch.bool)},
    }  # fmt: skip
    torch.save(values, tmp_path / "x.pt")
    torch.save({"x": base.to(torch.bfloat16)}, tmp_path / "bfloat16.pt")
    with Archive(tmp_path / "x.pt") as archive:
        found = archive.read()
        assert isinstance(found, dict) and found.keys() == values.keys()
        for name, value in values.items():
            assert isinstance(found[name], Tensor), name
            assert np.array_equal(archive.array(found[name]), value.detach().numpy()), name
    with Archive(tmp_path / "bfloat16.pt") as archive:
        found = archive.read()
        assert isinstance(found, dict)
        assert np.array_equal(archive.array(found["x"]), base.numpy())


def test_torchs_old_format(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"x": torch.zeros(3)}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match=r"written by PyTorch before 1.6"):
        read_checkpoint(tmp_path / "x.pt")


def test_torchscript(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), tmp_path / "x.pt")
    with pytest.raises(ModelError, match="a TorchScript program"):
        read_checkpoint(tmp_path / "x.pt")


def test_raw_heads_of_a_small_network_in_torch(tmp_path: Path) -> None:
    """Built as PyTorch-YOLOv3 builds its layers from a cfg: epsilon 1e-5, zeros before the max-pool of stride 1."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    (tmp_path / "net.cfg").write_text(cfg_text([net(32, 32), conv(8, 3, 2), maxpool(2, 1), *head((0, 1), 2)]))
    nn = torch.nn
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8, eps=1e-5)
    nn.init.normal_(norm.bias, -0.5)  # values below zero, so that the padding shows
    nn.init.uniform_(norm.running_var, 1e-5, 1e-4)  # small, so that the epsilon shows
    first = nn.Sequential()
    first.add_module("conv_0", nn.Conv2d(3, 8, 3, 2, 1, bias=False))
    first.add_module("batch_norm_0", norm)
    first.add_module("leaky_0", nn.LeakyReLU(0.1))
    pool = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 1))
    last = nn.Sequential()
    last.add_module("conv_2", nn.Conv2d(8, 14, 1))
    network = nn.Module()
    network.module_list = nn.ModuleList([first, pool, last])
    network.eval()
    torch.save(network.state_dict(), tmp_path / "x.pth")
    model, _ = read_checkpoint(tmp_path / "x.pth", cfg=tmp_path / "net.cfg")
    image = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
    with torch.no_grad():
        expected = last(pool(first(torch.from_numpy(image)))).numpy()
    import onnxruntime

    session = onnxruntime.InferenceSession(emit_onnx(lower(model)).SerializeToString())
    assert np.abs(session.run(None, {"images": image})[0] - expected).max() < 1e-4 * np.abs(expected).max()
