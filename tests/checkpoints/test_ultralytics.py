"""Whole pickled networks of ultralytics/yolov3, real ones against that software's own raw heads, and made ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yolov3.checkpoints import read_checkpoint
from yolov3.errors import ModelError, UsageError
from yolov3.graph import lower
from yolov3.graph.onnx import emit_onnx
from yolov3.modelfile import BatchNorm, Model, Preprocess
from yolov3.runtime.engines import make_engine

from .networks import Builder, foreign_model, module
from .writer import Call, Checkpoint, Global, View, write_checkpoint, write_zip

Heads = list[np.ndarray]


def run_floats(model: Model, image: np.ndarray) -> Heads:
    """Raw heads of (1, 3, H, W) float32, in ONNX Runtime."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(emit_onnx(lower(model)).SerializeToString())
    return session.run(None, {"images": image})  # type: ignore[no-any-return]


# --- the real things -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "activation", "names"),
    [
        ("ultralytics-yolov3-tiny-silu", "silu", ("class 0", "class 1", "class 2")),
        ("ultralytics-bccd-leaky", "leaky", ("RBC", "WBC", "Platelets")),
    ],
)
def test_raw_heads_of_real_checkpoints(
    name: str, activation: str, names: tuple[str, ...], shared: Path, tmp_path: Path
) -> None:
    model, notes = read_checkpoint(shared / "checkpoints" / f"{name}.pt")
    assert not notes
    model.save(tmp_path / "x.safetensors")
    model = Model.load(tmp_path / "x.safetensors")
    expected = np.load(shared / "checkpoints" / f"{name}.heads.npz")
    image = expected["image"].astype(np.float32)
    for place, head in enumerate(run_floats(model, image)):
        assert np.abs(head - expected[f"head{place}"]).max() < 1e-4
    pixels = np.ascontiguousarray(np.rint(image * 255).astype(np.uint8).transpose(0, 2, 3, 1))
    for ours, other in zip(
        *(make_engine(engine, lower(model), 1)(pixels) for engine in ("ncnn", "onnxruntime")), strict=True
    ):
        assert np.abs(ours - other).max() < 1e-4
    assert (model.spec.activation, model.names[:3]) == (activation, names)
    assert model.batch_norm == BatchNorm(1e-3, inside=True)
    assert [(head.xy_scale, head.wh, head.stride) for head in model.spec.network.heads] == [
        (2.0, "square", 16),
        (2.0, "square", 32),
    ]


def test_real_anchors_come_from_the_yaml_or_from_training(shared: Path) -> None:
    """The buffer is float16 in units of cells, so that 37 / 16 reads 2.312."""
    tiny, _ = read_checkpoint(shared / "checkpoints" / "ultralytics-yolov3-tiny-silu.pt")
    assert tiny.spec.anchors.of_head(0) == ((10, 14), (23, 27), (37, 58))
    cells, _ = read_checkpoint(shared / "checkpoints" / "ultralytics-bccd-leaky.pt")
    assert cells.spec.anchors.of_head(0) == ((23, 27), (37, 58), (81, 82))


def test_the_decoding_is_theirs() -> None:
    """`(2σ - 0.5 + cell) · stride` and `anchor · (2σ)²`, for every cell of random heads."""
    from yolov3.postprocess import Thresholds, head_candidates

    head = foreign_model().spec.network.heads[1]
    raw = np.random.default_rng(1).normal(0, 2, (len(head.anchors) * 7, 3, 4)).astype(np.float32)
    boxes, _, _ = head_candidates(raw, head, 2, Thresholds(conf=0))
    values = 1 / (1 + np.exp(-raw.reshape(len(head.anchors), 7, 3, 4).astype(np.float64)))
    cells_y, cells_x = np.mgrid[:3, :4]
    centre = np.stack([values[:, 0] * 2 - 0.5 + cells_x, values[:, 1] * 2 - 0.5 + cells_y], axis=-1) * head.stride
    size = np.array(head.anchors)[:, None, None] * np.stack([values[:, 2] * 2, values[:, 3] * 2], axis=-1) ** 2
    expected = np.concatenate([centre - size / 2, centre + size / 2], axis=-1).reshape(-1, 4)
    assert np.allclose(np.sort(boxes, axis=0), np.sort(expected, axis=0), atol=1e-3)


# --- made ones -------------------------------------------------------------------------------------------------------


def assert_same(found: Model, expected: Model) -> None:
    assert found.spec == expected.spec
    assert (found.names, found.preprocess, found.batch_norm) == (
        expected.names,
        expected.preprocess,
        expected.batch_norm,
    )
    assert found.tensors.keys() == expected.tensors.keys()
    for name, array in expected.tensors.items():
        assert found.tensors[name].dtype == array.dtype, name
        assert np.array_equal(found.tensors[name], array), name


@pytest.mark.parametrize("activation", ["silu", "leaky"])
def test_a_network_of_every_row(activation: str, tmp_path: Path) -> None:
    expected = foreign_model(activation)
    value = {"epoch": 7, "model": Builder(expected).network(), "optimizer": None}
    model, notes = read_checkpoint(write_checkpoint(tmp_path / "x.pt", value))
    assert_same(model, expected)
    assert model.size_wh == (640, 640)
    assert not notes
    assert model.source["checkpoint"] == {"kind": "ultralytics", "class": "models.yolo.Model", "epoch": 7}
    assert [file["name"] for file in model.source["files"]] == ["x.pt"]


def test_half_precision_stays_in_the_weights_alone(tmp_path: Path) -> None:
    expected = foreign_model(half=True)
    model, _ = read_checkpoint(write_checkpoint(tmp_path / "x.pt", {"model": Builder(expected, half=True).network()}))
    assert model.tensors["0.conv.weight"].dtype == np.float16
    assert model.tensors["0.bn.bias"].dtype == np.float32
    assert np.array_equal(model.tensors["0.conv.weight"], expected.tensors["0.conv.weight"])
    assert model.spec == expected.spec


def other(model: Model) -> Model:
    return replace(model, tensors={name: array + 1 for name, array in model.tensors.items()})


@pytest.mark.parametrize(
    "wrap",
    [
        lambda network, worse: network,
        lambda network, worse: {"model": worse, "ema": network},
        lambda network, worse: {"model": network, "ema": None},
        lambda network, worse: {
            "model": module("torch.nn.parallel.distributed.DistributedDataParallel", {"module": network})
        },
        lambda network, worse: module("models.common.AutoShape", {"model": network}),
    ],
    ids=["bare", "ema first", "no ema", "in parallel", "auto shape"],
)
def test_where_the_network_is(wrap: Callable[[Call, Call], object], tmp_path: Path) -> None:
    expected = foreign_model()
    value = wrap(Builder(expected).network(), Builder(other(expected)).network())
    assert_same(read_checkpoint(write_checkpoint(tmp_path / "x.pt", value))[0], expected)


@pytest.mark.parametrize(
    ("options", "side"),
    [({"imgsz": 416}, 416), ({"img_size": [320, 320]}, 320), ({"imgsz": 100}, 104), ({"imgsz": "big"}, 640),
     ({"imgsz": -1}, 640), (Call(Global("argparse.Namespace"), (), True, {"imgsz": 96}), 96), (None, 640)],
)  # fmt: skip
def test_the_size_that_it_was_trained_at(options: object, side: int, tmp_path: Path) -> None:
    value = {"model": Builder(foreign_model()).network(), "opt": options}
    assert read_checkpoint(write_checkpoint(tmp_path / "x.pt", value))[0].size_wh == (side, side)


@pytest.mark.parametrize("names", [["cat", "dog"], {0: "cat", 1: "dog"}, {1: "dog", 0: "cat"}])
def test_class_names(names: object, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "x.pt", {"model": Builder(foreign_model()).network(names=names)})
    assert read_checkpoint(path)[0].names == ("cat", "dog")
    assert read_checkpoint(path, names=("a", "b"))[0].names == ("a", "b")
    with pytest.raises(ModelError, match="1 class names for 2 classes"):
        read_checkpoint(path, names=("a",))


def test_anchors_that_training_found(tmp_path: Path) -> None:
    """`anchors: 2` in the YAML asks for it; other shapes than the YAML's win as well."""
    builder = Builder(foreign_model())
    for written in (2, [[1, 2, 3, 4], [5, 6, 7, 8]], [[1, 2]], None):
        network = builder.network(yaml={**builder.yaml(), "anchors": written})
        model, _ = read_checkpoint(write_checkpoint(tmp_path / "x.pt", {"model": network}))
        assert model.spec.anchors == foreign_model().spec.anchors


def test_multiples_are_applied(tmp_path: Path) -> None:
    """A YAML of twice the depth and width with multiples of a half is the same network."""
    expected = foreign_model()
    builder = Builder(expected)
    yaml = builder.yaml()
    for row in yaml["backbone"] + yaml["head"]:
        if row[2] in ("Conv", "Bottleneck", "SPP"):
            row[3] = [row[3][0] * 2, *row[3][1:]]
        row[1] = row[1] * 2 if row[1] > 1 else 1
    yaml |= {"depth_multiple": 0.5, "width_multiple": 0.5}
    model, _ = read_checkpoint(write_checkpoint(tmp_path / "x.pt", {"model": builder.network(yaml=yaml)}))
    assert model.spec.network == expected.spec.network
    assert (model.spec.depth_multiple, model.spec.width_multiple) == (0.5, 0.5)


# --- refused ---------------------------------------------------------------------------------------------------------

Tree = dict[str, Any]


def at(network: Call, path: str) -> Tree:
    """The state of a module by its path below the rows."""
    current = network.state["_modules"]["model"]  # type: ignore[index]
    for name in path.split("."):
        current = current.state["_modules"][name]
    return current.state  # type: ignore[no-any-return]


def setting(path: str, key: str, value: object) -> Callable[[Call], None]:
    return lambda network: at(network, path).__setitem__(key, value)


def replacing(path: str, name: str, value: object) -> Callable[[Call], None]:
    return lambda network: at(network, path)["_modules"].__setitem__(name, value)


def row_of_yaml(index: int, place: int, value: object) -> Callable[[Call], None]:
    def change(network: Call) -> None:
        yaml = network.state["yaml"]  # type: ignore[index]
        (yaml["backbone"] + yaml["head"])[index][place] = value

    return change


def of_yaml(key: str, value: object) -> Callable[[Call], None]:
    return lambda network: network.state["yaml"].__setitem__(key, value)  # type: ignore[index]


BROKEN: dict[str, tuple[Callable[[Call], object], str]] = {
    "activation": (replacing("0", "act", module("torch.nn.modules.activation.Hardswish")),
                   "model.0.act: activation torch.nn.modules.activation.Hardswish is not supported"),
    "slope": (replacing("0", "act", module("torch.nn.modules.activation.LeakyReLU", negative_slope=0.01)),
              "model.0.act: activation LeakyReLU of slope 0.01 is not supported"),
    "several activations": (replacing("2", "act", module("torch.nn.modules.activation.ReLU")),
                            "model: has several activations (silu, relu), expected one for all rows"),
    "no activation": (lambda network: at(network, "0")["_modules"].pop("act"), "model: 0.act is missing"),
    "stride": (setting("0.conv", "stride", (1, 1)), "model.0.conv: stride is (1, 1), but its row says (2, 2)"),
    "kernel": (setting("0.conv", "kernel_size", (5, 5)), "kernel_size is (5, 5), but its row says (3, 3)"),
    "padding": (setting("0.conv", "padding", (0, 0)), "padding is (0, 0), but its row says (1, 1)"),
    "groups": (setting("2.conv", "groups", 8), "model.2.conv: groups is 8, but its row says 1"),
    "dilation": (setting("2.conv", "dilation", (2, 2)), "dilation is (2, 2), but its row says (1, 1)"),
    "reflecting": (setting("2.conv", "padding_mode", "reflect"), "padding_mode is 'reflect', but its row says zeros"),
    "shortcut": (setting("1.0", "add", False), "model.1.0: add is False, but its row says True"),
    "no shortcut": (setting("10", "add", True), "model.10: add is True, but its row says False"),
    "pool": (setting("3", "kernel_size", 3), "model.3: kernel_size is 3, but its row says 2"),
    "ceil": (setting("3", "ceil_mode", True), "model.3: ceil_mode is True, but its row says False"),
    "pad": (setting("4", "padding", (1, 1, 1, 1)), "model.4: padding is (1, 1, 1, 1), but its row says (0, 1, 0, 1)"),
    "class": (replacing("0", "conv", Call(Global("torch.Tensor"))), "model.0.conv: kernel_size is None, but its"),
    "other module": (lambda network: network.state["_modules"]["model"].state["_modules"].__setitem__(
                         "6", module("models.common.SPPF")),
                     "model.6: is a models.common.SPPF, but row 6 says SPP"),
    "rows": (of_yaml("head", []), "model: 12 modules for the 6 rows of yaml, expected as many"),
    "no backbone": (of_yaml("backbone", 7), "model: yaml has no backbone"),
    "unknown row": (row_of_yaml(6, 2, "C3"), "row 6 (C3): unknown module, expected one of Conv"),
    "a row of two": (row_of_yaml(6, 3, [16, [3, 5], 1, 1]), "row 6 (SPP): 4 args, expected at most 2"),
    "no Detect": (row_of_yaml(11, 2, "Segment"), "ends in [[10, 7], 1, 'Segment', ['nc', 'anchors']], expected Detect"),
    "classes": (of_yaml("nc", 3), "model.11.m.0.weight has shape [14, 16, 1, 1], expected [16, 16, 1, 1]"),
    "object in yaml": (of_yaml("anchors", Global("os.path")), "names os.path, which has no place in a model"),
    "inert in yaml": (of_yaml("anchors", Global("a.b")), "(model.yaml): holds a Name, expected plain values"),
    "anchor-free": (lambda network: at(network, "11").__setitem__("_buffers", {}),
                    "model.11: models.yolo.Detect has no anchors; expected YOLOv3's Detect, not anchor-free"),
    "anchor shape": (lambda network: at(network, "11")["_buffers"].__setitem__("anchors", np.ones((2, 4), np.float32)),
                     "anchors have shape [2, 4], expected [heads, anchors, 2]"),
    "anchor values": (lambda network: at(network, "11")["_buffers"].__setitem__(
                          "anchors", np.full((2, 2, 2), np.nan, np.float32)), "values that are not above 0"),
    "huge anchors": (lambda network: at(network, "11")["_buffers"].__setitem__(
                         "anchors", np.ones((2, 9999, 2), np.float32)), "anchors is missing, expected a small tensor"),
    "strides": (lambda network: at(network, "11").__setitem__("stride", np.array([8, 32], np.float32)),
                "its heads have strides [8.0, 32.0], the rows give [4, 8]"),
    "epsilons": (setting("0.bn", "eps", 1e-5), "model.1.0.cv1.bn: eps is 0.001, elsewhere 1e-05"),
    "epsilon": (lambda network: [at(network, f"{name}.bn").__setitem__("eps", 2.0) for name in (
                    "0", "1.0.cv1", "1.0.cv2", "1.1.cv1", "1.1.cv2", "2", "6.cv1", "6.cv2", "7", "10.cv1", "10.cv2")],
                "model.0.bn: eps is 2.0, expected a number from 0 to 1"),
    "missing tensor": (lambda network: at(network, "0.bn")["_buffers"].pop("running_var"),
                       "model.0.bn.running_var is missing, expected a tensor of shape [8]"),
    "fused": (lambda network: at(network, "0")["_modules"].pop("bn"), "model: 0.bn is missing, expected a module"),
    "shape": (lambda network: at(network, "0.bn")["_buffers"].__setitem__("running_var", np.ones(9, np.float32)),
              "model.0.bn.running_var has shape [9], expected [8]"),
    "infinite": (lambda network: at(network, "0.bn")["_buffers"].__setitem__(
                     "running_mean", np.full(8, 1e300)), "model.0.bn.running_mean has values that are not finite"),
    "names": (lambda network: network.state.__setitem__("names", ["cat"]), "expected 2 class names; give --names"),
    "odd names": (lambda network: network.state.__setitem__("names", {0: "cat", 2: "dog"}), "expected 2 class names"),
    "numbers as names": (lambda network: network.state.__setitem__("names", [1, 2]), "expected 2 class names"),
    "no rows": (lambda network: network.state["_modules"].pop("model"), "model: model is missing, expected the rows'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_networks_that_are_refused(case: str, tmp_path: Path) -> None:
    change, expected = BROKEN[case]
    network = Builder(foreign_model()).network()
    change(network)
    with pytest.raises(ModelError) as caught:
        read_checkpoint(write_checkpoint(tmp_path / "x.pt", {"model": network}))
    assert expected in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "yaml",
    [
        pytest.param([], id="no mapping"),
        pytest.param({"backbone": [[]], "head": []}, id="empty row"),
        pytest.param({"backbone": [[[[[[[[[[1]]]]]]]]]], "head": []}, id="deep"),
    ],
)
def test_descriptions_that_are_none(yaml: object, tmp_path: Path) -> None:
    value = {"model": Builder(foreign_model()).network(yaml=yaml)}
    with pytest.raises(ModelError):
        read_checkpoint(write_checkpoint(tmp_path / "x.pt", value))


def test_a_description_that_shares_itself_into_gigabytes(tmp_path: Path) -> None:
    """Five levels of a hundred references to the level below: small in the pickle, 10¹⁰ values when written out."""
    emit = Checkpoint().emit
    levels = (b"](" + (b"h" + bytes([level])) * 100 + b"eq" + bytes([level + 1]) for level in range(5))
    yaml = b"}(" + emit("backbone") + b"]q\x000" + b"0".join(levels) + emit("head") + b"]u"
    rows = emit({"model": module("torch.nn.modules.container.Sequential")})
    state = b"}(" + emit("yaml") + yaml + emit("_modules") + rows + b"u"
    pickled = b"\x80\x02}" + emit("model") + emit(Global("models.yolo.Model")) + b")\x81" + state + b"bs."
    with pytest.raises(ModelError, match="too large or nested too deeply for a description of a network"):
        read_checkpoint(write_zip(tmp_path / "x.pt", {"data.pkl": pickled}))


def test_a_network_of_another_family(tmp_path: Path) -> None:
    value = {"model": module("ssd.SSD300", {"backbone": module("ssd.ResNet")})}
    with pytest.raises(ModelError, match=r"x.pt: holds a ssd.SSD300, expected a network of ultralytics/yolov3"):
        read_checkpoint(write_checkpoint(tmp_path / "x.pt", value))


def test_a_cfg_has_no_say(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "x.pt", {"model": Builder(foreign_model()).network()})
    with pytest.raises(UsageError, match="holds its whole network, so yolov3 has no say"):
        read_checkpoint(path, cfg="yolov3")


def test_values_that_no_spec_asks_for_are_not_read(tmp_path: Path) -> None:
    """The optimiser's state may hold types that the reader doesn't know."""
    value = {
        "model": Builder(foreign_model()).network(),
        "optimizer": [View(np.zeros(4, "f4"), 9, (9,), (9,), "QInt8Storage")],
    }
    assert read_checkpoint(write_checkpoint(tmp_path / "x.pt", value))[0].preprocess == Preprocess(pad=114)
