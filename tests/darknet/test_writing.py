"""Models written as cfg and weights: read again by us, by OpenCV's importer, and by the slow reference."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import random_model, small_spec
from yolov3.darknet import import_cfg, save_darknet, to_darknet
from yolov3.darknet.emitting import emit_cfg
from yolov3.errors import ModelError, UsageError
from yolov3.modelfile import BatchNorm, Model, Preprocess
from yolov3.runtime.loading import DarknetOptions, load_model
from yolov3.spec import read_spec
from yolov3.spec.reading import family_spec
from yolov3.zoo import recognise_weights

from .engines import OpenCVNet, assert_close, engine_heads, load, numpy_heads, random_image
from .family import family_text
from .test_custom import CASES, NOT_IN_OPENCV, size_wh
from .test_properties import modest, networks
from .writer import cfg_text, conv, head, net, weight_bytes

FAMILY = ("yolov3", "yolov3-spp", "yolov3-tiny")


def weight_data(model: Model, **options: str) -> bytes:
    return b"".join(to_darknet(model, **options).weight_chunks())


def through_a_file(model: Model, folder: Path) -> Model:
    model.save(folder / "kept.safetensors")
    return Model.load(folder / "kept.safetensors")


def forget_source(model: Model) -> Model:
    return replace(model, source={})


def yaml_model(*rows: str, activation: str = "leaky", detect: str = "[nc, anchors]", **options: object) -> Model:
    """A model of a stem, `rows` and one head."""
    stem = ["[-1, 1, Conv, [8, 3, 2]]", "[-1, 1, Conv, [8, 3, 2]]"]
    listed = "".join(f"  - {row}\n" for row in (*stem, *rows, f"[-1, 1, Detect, {detect}]"))
    text = f"nc: 2\nactivation: {activation}\nanchors:\n  - [10,13, 16,30.5]\nbackbone:\n{listed}head: []\n"
    return random_model(read_spec(text, "net.yaml"), **options)  # type: ignore[arg-type]


# --- what came from Darknet goes back unchanged ---------------------------------------------------------------------


def test_the_official_weights_come_back_byte_for_byte(shared: Path, tmp_path: Path) -> None:
    cfg, weights = shared / "darknet" / "yolov3-tiny-mask123.cfg", shared / "darknet" / "yolov3-tiny.weights"
    model = through_a_file(load_model(cfg, DarknetOptions(weights)).model, tmp_path)
    files = save_darknet(model, tmp_path / "out.cfg")
    data = (tmp_path / "out.weights").read_bytes()
    assert recognise_weights(len(data), hashlib.sha256(data).hexdigest())
    assert (tmp_path / "out.cfg").read_bytes() == cfg.read_bytes()
    assert (tmp_path / "out.names").read_text().splitlines() == list(model.names)
    assert not files.notes


@pytest.mark.parametrize("name", ["yolov3", "yolov3-spp", "yolov3-tiny", "yolov3-voc", "yolov3-openimages"])
def test_the_official_cfgs_are_written_with_the_same_meaning(name: str, shared: Path) -> None:
    network = import_cfg((shared / "darknet" / f"{name}.cfg").read_text(), name)
    text, order = emit_cfg(network.spec, network.size_wh, network.resize)
    again = import_cfg(text, "again")
    assert (again.spec, again.size_wh, again.resize) == (network.spec, network.size_wh, network.resize)
    assert order == network.order == again.order
    assert not again.notes


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("version", [(0, 1, 0), (0, 2, 5), (1000, 0, 0)])
def test_fault_18_save_load_save_is_byte_identical(name: str, version: tuple[int, int, int], tmp_path: Path) -> None:
    """With the kept cfg's order and without; fault 13: both headers come back; fault 14: `seen` beyond 32 bits."""
    text = family_text(name, divide=16, width=96, height=64).replace("\n", "\r\n").replace("[yolo]", "# here\n[yolo]")
    data = weight_bytes(text.replace("\r\n", "\n"), version=version, seen=(1 << 33) + 5 if version == (0, 2, 5) else 7)
    (tmp_path / "net.cfg").write_bytes(text.encode())
    (tmp_path / "net.weights").write_bytes(data)
    model = load_model(tmp_path / "net.cfg", DarknetOptions(tmp_path / "net.weights")).model
    model = through_a_file(model, tmp_path)
    save_darknet(model, tmp_path / "out.cfg")
    assert (tmp_path / "out.cfg").read_bytes() == text.encode()
    assert (tmp_path / "out.weights").read_bytes() == data
    without_cfg = {"darknet": {key: value for key, value in model.source["darknet"].items() if key != "cfg"}}
    regenerated = replace(model, source=without_cfg)
    assert weight_data(regenerated) == data
    assert import_cfg(to_darknet(regenerated).cfg, "again").spec == model.spec


@settings(modest, max_examples=60)
@given(text=networks())
def test_fault_18_any_network_is_written_and_read_again(text: str) -> None:
    network = import_cfg(text, "x.cfg")
    written, order = emit_cfg(network.spec, network.size_wh, network.resize)
    again = import_cfg(written, "again.cfg")
    assert again.spec == network.spec
    assert again.order == order
    assert emit_cfg(again.spec, again.size_wh, again.resize) == (written, order)


@settings(modest, max_examples=25)
@given(text=networks(), seed=st.integers(0, 3))
def test_written_networks_compute_the_same(text: str, seed: int, tmp_path: Path) -> None:
    """The slow reference, which shares no code with the package, on both pairs of files."""
    data = weight_bytes(text, seed)
    files = to_darknet(forget_source(load(tmp_path, text, data).model))
    image = random_image(64, 32)
    written = numpy_heads(files.cfg, b"".join(files.weight_chunks()), image)
    for given_head, expected in zip(written, numpy_heads(text, data, image), strict=True):
        np.testing.assert_allclose(given_head, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", [*CASES, *NOT_IN_OPENCV])
def test_custom_networks_are_written(case: str, tmp_path: Path) -> None:
    text = cfg_text((CASES | NOT_IN_OPENCV)[case])
    data = weight_bytes(text)
    model = load(tmp_path, text, data).model
    assert (to_darknet(model).cfg, weight_data(model)) == (text, data)
    files = to_darknet(forget_source(model))
    written = b"".join(files.weight_chunks())
    image = random_image(*size_wh(text))
    expected = numpy_heads(text, data, image)
    assert_close(numpy_heads(files.cfg, written, image), expected, 1e-6)
    if "relu6" not in case:
        assert_close(OpenCVNet(files.cfg, written).heads(image), expected, 5e-5)


# --- when the cfg that a model came with no longer says what it is --------------------------------------------------


def retrained(model: Model) -> Model:
    """The same structure for two classes."""
    spec = replace(model.spec, nc=2)
    return replace(random_model(spec, size_wh=model.size_wh), source=model.source)


TOUCHES: dict[str, Callable[[Model], Model]] = {
    "classes": retrained,
    "size": lambda model: replace(model, size_wh=(64, 64)),
    "resize": lambda model: replace(model, preprocess=Preprocess(resize="stretch")),
    "masks": lambda model: replace(
        model, spec=replace(model.spec, anchors=replace(model.spec.anchors, masks=((1, 2, 3), (3, 4, 5))))
    ),
    "broken text": lambda model: replace(model, source={"darknet": {**model.source["darknet"], "cfg": "[net]\n"}}),
    "no text": lambda model: replace(model, source={"darknet": {**model.source["darknet"], "cfg": 7}}),
}


@pytest.mark.parametrize("touch", TOUCHES)
def test_a_touched_model_gets_a_cfg_of_its_own(touch: str, tmp_path: Path) -> None:
    text = family_text("yolov3-tiny", divide=16, width=96, height=96)
    model = TOUCHES[touch](load(tmp_path, text).model)
    files = save_darknet(model, tmp_path / "out.cfg")
    assert files.cfg != text
    names = tmp_path / "out.names"
    again = load_model(tmp_path / "out.cfg", DarknetOptions(tmp_path / "out.weights", names)).model
    assert (again.spec, again.names, again.size_wh) == (model.spec, model.names, model.size_wh)
    assert again.preprocess == model.preprocess
    assert again.source["darknet"]["seen"] == model.source["darknet"]["seen"] == 32_013_312
    assert all(np.array_equal(again.tensors[name], model.tensors[name]) for name in model.tensors)


def test_masks_given_on_the_way_in_are_in_the_cfg_on_the_way_out(tmp_path: Path) -> None:
    text = family_text("yolov3-tiny", divide=16, width=96, height=96)
    model = load(tmp_path, text, masks="1,2,3").model
    assert "mask=1,2,3" in to_darknet(model).cfg
    assert import_cfg(to_darknet(model).cfg, "again").spec == model.spec


# --- models of ours -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["ncnn", "onnxruntime"])
@pytest.mark.parametrize(
    "batch_norm",
    [BatchNorm(), BatchNorm(1e-3, True), BatchNorm(1e-5, True), BatchNorm(1e-4, False), BatchNorm(2e-6, False)],
    ids=str,
)
def test_raw_heads_through_opencv(batch_norm: BatchNorm, engine: str) -> None:
    """Every kind of row, residual blocks, SPP and a shared backbone; other epsilons absorbed: logits within 1e-3."""
    model = random_model(small_spec(), batch_norm=batch_norm)
    files = to_darknet(model)
    image = random_image(64, 64)
    heads = engine_heads(model, image, engine)
    assert_close(heads, OpenCVNet(files.cfg, b"".join(files.weight_chunks())).heads(image), 1e-3)
    assert_close(heads, numpy_heads(files.cfg, b"".join(files.weight_chunks()), image), 2e-5)


@pytest.mark.parametrize("name", ["yolov3", "yolov3-spp"])
def test_a_family_network_trained_here_is_the_official_cfg(name: str) -> None:
    text, order = emit_cfg(family_spec(name), (416, 416), "letterbox")
    assert import_cfg(text, "again").spec == replace(family_spec(name), origin="again")
    expected = import_cfg(family_text(name), "official")
    assert [stored.layer for stored in order] == [stored.layer for stored in expected.order]
    assert [stored.permutation for stored in order] == [stored.permutation for stored in expected.order]


def test_half_precision_is_written_as_it_is() -> None:
    model = random_model(small_spec()).half()
    files = to_darknet(model)
    image = random_image(64, 64)
    data = b"".join(files.weight_chunks())
    assert_close(engine_heads(model, image, "ncnn"), numpy_heads(files.cfg, data, image), 2e-5)
    assert files.notes == ["the model's weights are float16; they are written as float32 of the same values"]


def test_scaled_decoding_is_written() -> None:
    model = yaml_model(activation="silu", detect="[nc, anchors, {xy_scale: 2.0, wh: square}]")
    files = to_darknet(model)
    again = import_cfg(files.cfg, "again").spec
    assert again.network == model.spec.network
    assert [(item.xy_scale, item.wh) for item in again.network.heads] == [(2.0, "square")]
    assert "activation=logistic\n\n[yolo]" in files.cfg and "new_coords=1" in files.cfg
    assert files.notes == ["pjreddie's Darknet can't load it: net.yaml:6: row 0 (Conv): activation silu, which "
                           "pjreddie's Darknet can't read"]  # fmt: skip


def test_a_sum_of_three_and_a_slice_read_twice() -> None:
    rows = ["[-1, 1, Conv, [8, 3, 1]]", "[-1, 1, Conv, [8, 3, 1]]", "[[1, 2, -1], 1, Add, [{activation: mish}]]"]
    rows += ["[-1, 1, Slice, [2, 1]]", "[[-1, -1, 5], 1, Concat, [1]]", "[4, 1, Slice, [1, 0]]"]
    model = yaml_model(*rows)
    files = to_darknet(model)
    data = b"".join(files.weight_chunks())
    image = random_image(64, 64)
    expected = engine_heads(model, image, "onnxruntime")
    assert_close(numpy_heads(files.cfg, data, image), expected, 2e-5)
    assert_close(OpenCVNet(files.cfg, data).heads(image), expected, 5e-5)


def test_a_shortcut_of_three_is_kept_only_for_who_reads_it(tmp_path: Path) -> None:
    text = cfg_text(NOT_IN_OPENCV["shortcut of three"])
    model = load(tmp_path, text).model
    assert to_darknet(model).cfg == text
    files = to_darknet(model, dialect="pjreddie")
    assert "from=-2,-3" not in files.cfg
    assert weight_data(model) == b"".join(files.weight_chunks())


def test_heads_of_one_stride_keep_their_order() -> None:
    """The first head hangs on a later row than the second."""
    text = """
nc: 1
anchors: [[1,2], [3,4]]
backbone: [[-1, 1, Conv, [8, 3, 2]], [-1, 1, Conv, [8, 3, 1]], [-1, 1, Conv, [8, 3, 1]]]
head: [[[2, 0], 1, Detect, [nc, anchors]]]
"""
    spec = read_spec(text, "net.yaml")
    written, _ = emit_cfg(spec, (32, 32), "letterbox")
    assert import_cfg(written, "again").spec.rows == spec.rows


def test_a_head_on_the_picture() -> None:
    text = cfg_text([net(32, 32), *head((0,), 1)])
    network = import_cfg(text, "x")
    assert import_cfg(emit_cfg(network.spec, (32, 32), "letterbox")[0], "again").spec == network.spec


# --- refused, naming the row ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["[-1, 1, nn.ZeroPad2d, [[0, 1, 0, 1]]]", "[-1, 1, nn.MaxPool2d, [2, 1, 0]]"],
         "net.yaml:8: row 2 (nn.ZeroPad2d): pads by 0, which no Darknet can; expected padding by -.inf"),
        (["[-1, 1, nn.ConstantPad2d, [[1, 0, 1, 0], -.inf]]", "[-1, 1, nn.MaxPool2d, [2, 1, 0]]"],
         "net.yaml:9: row 3 (nn.MaxPool2d): padded 1, 0, 1, 0 (left, right, top, bottom), but Darknet pads all"),
        (["[-1, 1, nn.ConstantPad2d, [[0, 1, 1, 0], -.inf]]", "[-1, 1, nn.MaxPool2d, [2, 1, 0]]"],
         "row 3 (nn.MaxPool2d): padded 0, 1, 1, 0"),
        (["[-1, 1, Conv, [8, [1, 3], 1]]"], "row 2 (Conv): kernel 1×3, but Darknet's convolutions are square"),
    ],
)  # fmt: skip
def test_what_no_darknet_can_say(rows: list[str], expected: str) -> None:
    with pytest.raises(ModelError) as caught:
        to_darknet(yaml_model(*rows))
    assert expected in str(caught.value)


def test_a_second_head_on_the_picture() -> None:
    text = "nc: 1\nanchors: [[1,2], [3,4]]\nbackbone: []\nhead: [[[-1, -1], 1, Detect, [nc, anchors]]]\n"
    with pytest.raises(ModelError, match=r"net.yaml:4: row 0 \(Detect\): reads the picture, which in Darknet only the"):
        emit_cfg(read_spec(text, "net.yaml"), (32, 32), "letterbox")


@pytest.mark.parametrize(
    ("model", "dialect", "expected"),
    [
        (lambda: yaml_model(activation="silu"), "pjreddie", "row 0 (Conv): activation silu, which pjreddie's Darknet"),
        (lambda: yaml_model("[-1, 1, Conv, [8, 1, 1, {activation: relu6}]]"), "opencv",
         "row 2 (Conv): activation relu6, which OpenCV 4 can't read"),
        (lambda: yaml_model("[-1, 1, Slice, [2, 0]]"), "pjreddie", "row 2 (Slice): a part of the channels"),
        (lambda: yaml_model("[[-1, 1], 1, Add, [{activation: mish}]]"), "pjreddie", "row 2 (Add): activation mish"),
        (lambda: yaml_model(detect="[nc, anchors, {xy_scale: 1.05}]"), "pjreddie",
         "row 2 (Detect): scaled decoding (xy_scale 1.05, wh exp), which pjreddie's Darknet can't read"),
        (lambda: yaml_model(detect="[nc, anchors, {wh: square}]"), "pjreddie", "row 2 (Detect): scaled decoding"),
        (lambda: yaml_model(preprocess=Preprocess(resize="stretch")), "pjreddie", "stretches pictures, but pjreddie's"),
        (lambda: yaml_model(preprocess=Preprocess(scale=1.0)), "alexeyab", "multiplies pixels by 1, but Darknet"),
    ],
)  # fmt: skip
def test_what_a_dialect_lacks(model: Callable[[], Model], dialect: str, expected: str) -> None:
    with pytest.raises(ModelError) as caught:
        to_darknet(model(), dialect=dialect)
    assert expected in str(caught.value)


def test_an_unknown_dialect_and_suffix(tmp_path: Path) -> None:
    model = yaml_model()
    with pytest.raises(UsageError, match="dialect 'yolo': expected one of alexeyab, pjreddie, opencv"):
        to_darknet(model, dialect="yolo")
    with pytest.raises(UsageError, match=r"expected a name that ends in .cfg or .weights"):
        save_darknet(model, tmp_path / "net.txt")


def test_other_greys_are_noted() -> None:
    notes = to_darknet(yaml_model(preprocess=Preprocess(pad=114))).notes
    assert notes == ["the model letterboxes with grey 114, Darknet does with 127"]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ({"major": -1}, "no Darknet header"),
        ({"major": 0, "minor": 1, "seen": 1 << 32}, "no Darknet header"),
        ({"seen": 1 << 64}, "no Darknet header"),
        ({"seen": "many"}, "no Darknet header"),
        ({"revision": 10_000}, "no Darknet header"),
    ],
)
def test_a_damaged_header_in_the_model_file(kept: dict[str, object], expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        to_darknet(replace(yaml_model(), source={"darknet": kept}))


@pytest.mark.parametrize(
    ("tensor", "value", "batch_norm", "expected"),
    [
        ("0.conv.weight", np.nan, BatchNorm(), "0 has values that are not finite"),
        ("0.bn.running_var", -1, BatchNorm(), "0.bn.running_var has negative or missing values"),
        ("0.bn.running_var", 0, BatchNorm(1e-7, False), "0.bn.running_var is too small: Darknet adds 1e-06"),
    ],
)
def test_fault_15_values_that_a_weight_file_must_not_hold(
    tensor: str, value: float, batch_norm: BatchNorm, expected: str, tmp_path: Path
) -> None:
    model = yaml_model(batch_norm=batch_norm)
    array = model.tensors[tensor].copy()
    array.flat[0] = value
    model = replace(model, tensors={**model.tensors, tensor: array})
    with pytest.raises(ModelError, match=expected):
        save_darknet(model, tmp_path / "out.cfg")
    assert not list(tmp_path.iterdir()), "files whole or not at all"


def test_weights_alone(tmp_path: Path) -> None:
    model = yaml_model()
    save_darknet(model, tmp_path / "OUT.WEIGHTS")
    assert [path.name for path in tmp_path.iterdir()] == ["OUT.WEIGHTS"]
    assert (tmp_path / "OUT.WEIGHTS").read_bytes() == weight_data(model)


def test_the_order_is_that_of_the_layers() -> None:
    text = cfg_text([net(32, 32), conv(4), *head((0,), 1)])
    assert [stored.layer for stored in import_cfg(text, "x").order] == [
        "layer 0 [convolutional] (row 0)",
        "layer 1 [convolutional] (row 1)",
    ]
