"""Every row's shapes, the parameters and operations of the three networks, input sizes; `yolov3 show`."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov3.errors import ModelError
from yolov3.spec import FAMILY, check_size, load_spec, read_spec, summarise

from .networks import TEXTS, odd_spec, random_spec

LAYER_KEYS = ["index", "from", "number", "module", "args", "inputs", "outputs", "parameters", "multiply_adds"]

# The output of each row at 256×256, as channels and side.
YOLOV3 = [
    (32, 256), (64, 128), (64, 128), (128, 64), (128, 64), (256, 32), (256, 32), (512, 16), (512, 16), (1024, 8),
    (1024, 8), (1024, 8), (512, 8), (1024, 8), (512, 8), (1024, 8), (256, 8), (256, 16), (768, 16), (512, 16),
    (512, 16), (256, 16), (512, 16), (128, 16), (128, 32), (384, 32), (256, 32), (256, 32),
]  # fmt: skip
TINY = [
    (16, 256), (16, 128), (32, 128), (32, 64), (64, 64), (64, 32), (128, 32), (128, 16), (256, 16), (256, 8),
    (512, 8), (512, 9), (512, 8), (1024, 8), (256, 8), (512, 8), (128, 8), (128, 16), (384, 16), (256, 16),
]  # fmt: skip
SHAPES = {"yolov3": YOLOV3, "yolov3-spp": YOLOV3, "yolov3-tiny": TINY}
DETECT = {
    "yolov3": [[1, 3, 32, 32, 85], [1, 3, 16, 16, 85], [1, 3, 8, 8, 85]],
    "yolov3-spp": [[1, 3, 32, 32, 85], [1, 3, 16, 16, 85], [1, 3, 8, 8, 85]],
    "yolov3-tiny": [[1, 3, 16, 16, 85], [1, 3, 8, 8, 85]],
}


@pytest.mark.parametrize(
    ("name", "size", "parameters", "billions"),
    [
        ("yolov3", 416, 61_949_149, 65.864),
        ("yolov3-spp", 608, 62_998_749, 141.449),
        ("yolov3-tiny", 416, 8_852_366, 5.565),
    ],
)
def test_parameters_and_operations(name: str, size: int, parameters: int, billions: float) -> None:
    summary = summarise(load_spec(name), (size, size))
    assert summary.parameters == parameters == sum(layer.parameters for layer in summary.layers)
    assert round(2 * summary.multiply_adds / 1e9, 3) == billions
    assert summary.multiply_adds == sum(layer.multiply_adds for layer in summary.layers)


@pytest.mark.parametrize("name", FAMILY)
def test_every_row_at_256(name: str) -> None:
    layers = summarise(load_spec(name), (256, 256)).layers
    assert [layer.outputs for layer in layers[:-1]] == [[[1, c, side, side]] for c, side in SHAPES[name]]
    assert layers[-1].outputs == DETECT[name]
    assert layers[0].inputs == [[1, 3, 256, 256]]
    for layer in layers[1:]:
        assert layer.inputs == [layers[source].outputs[0] for source in layer.row.sources]


@pytest.mark.parametrize("name", FAMILY)
def test_rows_count_what_a_slow_formula_counts(name: str) -> None:
    """Convolutions written out by hand: out · in · k² weights, scale and shift (or a bias in Detect)."""
    for layer in summarise(load_spec(name), (256, 256)).layers:
        (_, given_channels, *_), area = layer.inputs[0], layer.outputs[0][2] * layer.outputs[0][3]
        weights, extras = 0, 0
        if layer.row.module == "Conv":
            out, kernel = layer.row.args[0], layer.row.args[1]
            side = kernel[0] if isinstance(kernel, list) else kernel
            weights, extras = out * given_channels * side**2, 2 * out
        elif layer.row.module == "Bottleneck":
            out = layer.row.args[0]
            for repetition in range(layer.row.number):
                entry = given_channels if repetition == 0 else out
                weights, extras = weights + entry * out // 2 + 9 * out * out // 2, extras + 3 * out
        elif layer.row.module == "SPP":
            half = given_channels // 2
            weights, extras = half * given_channels + 4 * half * 512, 2 * half + 2 * 512
        elif layer.row.module == "Detect":
            weights = sum(shape[1] * 255 for shape in layer.inputs)
            extras = 255 * len(layer.inputs)
            operations = sum(shape[1] * 255 * shape[2] * shape[3] for shape in layer.inputs)
            assert layer.multiply_adds == operations
        assert layer.parameters == weights + extras, layer.row
        assert layer.row.module == "Detect" or layer.multiply_adds == weights * area, layer.row


@pytest.mark.parametrize("size_wh", [(320, 192), (96, 640), (32, 32), (1280, 736)])
@pytest.mark.parametrize("name", FAMILY)
def test_sides_may_differ(name: str, size_wh: tuple[int, int]) -> None:
    layers = summarise(load_spec(name), size_wh).layers
    strides = [256 // shape[2] for shape in DETECT[name]]
    assert layers[-1].outputs == [[1, 3, size_wh[1] // stride, size_wh[0] // stride, 85] for stride in strides]


@pytest.mark.parametrize(
    ("size_wh", "message"),
    [
        ((415, 416), r"415 must be a multiple of 32 up to 16,384; 416 is one"),
        ((416, 400), r"400 must be a multiple of 32 .*; (384|416) is one"),
        ((1, 416), "32 is one"),
        ((0, 416), "0 must .*; 32 is one"),
        ((-32, 416), "-32 must .*; 32 is one"),
        ((416, 16_416), "16416 .*; 16384 is one"),
        ((10**9, 416), "16384 is one"),
    ],
)
@pytest.mark.parametrize("name", FAMILY)
def test_other_sizes_are_refused_naming_the_nearest(name: str, size_wh: tuple[int, int], message: str) -> None:
    spec = load_spec(name)
    for check in (check_size, summarise):
        with pytest.raises(ModelError, match=rf"^{name}\.yaml: the input size .*{message}"):
            check(spec, size_wh)


def test_a_stride_that_is_no_power_of_two() -> None:
    spec = read_spec(
        """
nc: 1
anchors: [[10, 13], [10, 13]]
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [0, 1, Conv, [8, 3, 3]]
head:
  - [0, 1, Conv, [8, 3, 5]]
  - [[1, 2], 1, Detect, [nc, anchors]]
""",
        "odd.yaml",
    )
    assert spec.network.max_stride == 30
    assert [head.stride for head in spec.network.heads] == [6, 10]
    assert summarise(spec, (60, 30)).layers[-1].outputs == [[1, 1, 5, 10, 6], [1, 1, 3, 6, 6]]
    with pytest.raises(ModelError, match=r"62 must be a multiple of 30 .* 60 is one"):
        check_size(spec, (62, 60))


def test_sizes_that_meet_no_more_are_refused_with_their_row() -> None:
    """A kernel of 2 adds a cell: strides agree, sizes don't."""
    text = """
nc: 1
anchors: [[10, 13]]
backbone:
  - [-1, 1, Conv, [8, 3, 1]]
  - [0, 1, Conv, [8, 2, 1]]
  - [[0, 1], 1, Concat, [1]]
head:
  - [-1, 1, Detect, [nc, anchors]]
"""
    with pytest.raises(ModelError, match=r"^odd\.yaml:7: row 2 \(Concat\): its inputs have 32×32 and 33×33 cells"):
        summarise(read_spec(text, "odd.yaml"), (32, 32))


def test_a_map_that_vanishes_is_refused_with_its_row() -> None:
    text = """
nc: 1
anchors: [[10, 13]]
backbone:
  - [-1, 1, nn.MaxPool2d, [50, 1]]
head:
  - [-1, 1, Detect, [nc, anchors]]
"""
    with pytest.raises(ModelError, match=r"^odd\.yaml:5: row 0 \(nn\.MaxPool2d\): gives -17×-17 cells"):
        summarise(read_spec(text, "odd.yaml"), (32, 32))


def test_a_map_too_large_for_memory_is_refused_before_it_is_made() -> None:
    text = """
nc: 1
anchors: [[10, 13]]
backbone:
  - [-1, 1, Conv, [60000, 1, 1]]
head:
  - [-1, 1, Detect, [nc, anchors]]
"""
    with pytest.raises(ModelError, match=r"odd\.yaml:5: row 0 \(Conv\): .*values pass 1,000,000,000"):
        summarise(read_spec(text, "odd.yaml"), (16384, 16384))


@given(st.integers(0, 10**9))
@settings(deadline=None, max_examples=60)
def test_layers_of_any_network_add_up(seed: int) -> None:
    spec = random_spec(random.Random(seed))
    size = spec.network.max_stride * 3
    summary = summarise(spec, (size, size))
    assert [layer.row for layer in summary.layers] == list(spec.rows)
    for layer in summary.layers[1:-1]:
        assert layer.inputs == [summary.layers[source].outputs[0] for source in layer.row.sources]
    for head, output in zip(spec.network.heads, summary.layers[-1].outputs, strict=True):
        assert output == [1, len(head.anchors), size // head.stride, size // head.stride, 5 + spec.nc]
    assert summary.parameters == sum(convolution.parameters for convolution in spec.network.convolutions)
    json.dumps(summary.to_dict(), allow_nan=False)


# --- yolov3 show -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size"), [("yolov3", 416), ("yolov3-spp", 608), ("yolov3-tiny", 416)])
def test_show_json(cli: Callable[..., Any], name: str, size: int) -> None:
    result = cli("show", name, "--json")
    given = json.loads(result.out)
    spec = load_spec(name)
    assert result.code == 0 and result.err == ""
    assert list(given) == ["layers", "total"] and list(given["total"]) == ["parameters", "multiply_adds"]
    assert all(list(layer) == LAYER_KEYS for layer in given["layers"])
    assert given == summarise(spec, (size, size)).to_dict()
    for layer, row in zip(given["layers"], spec.rows, strict=True):
        assert layer["index"] == row.index and layer["module"] == row.module and layer["args"] == list(row.args)
        assert layer["from"] == (list(row.from_) if isinstance(row.from_, tuple) else row.from_)
        assert layer["number"] == row.number
    first, last = given["layers"][0], given["layers"][-1]
    assert first["inputs"] == [1, 3, size, size], "one shape stands alone"
    assert len(last["inputs"]) == len(last["outputs"]) == len(spec.network.heads), "several are a list"
    assert given["total"]["parameters"] == sum(layer["parameters"] for layer in given["layers"])


def test_show_json_is_strict_where_a_row_pads_with_infinity(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(TEXTS["slices"])
    result = cli("show", tmp_path / "net.yaml", "--json")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    given = json.loads(result.out, parse_constant=refuse)
    assert given["layers"][10]["args"] == [[0, 1, 0, 1], "-inf"]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "yolov3",
            [
                "row  from n module args input output parameters multiply-adds",
                "0 -1 1 Conv [32, 3, 1] 1×3×416×416 1×32×416×416 928 149,520,384",
                "8 -1 8 Bottleneck [512] 1×512×26×26 1×512×26×26 10,498,048 7,088,373,760",
                "18 [-1, 8] 1 Concat [1] 1×256×26×26 1×512×26×26 1×768×26×26 0 0",
                "anchors at stride 8: 10×13 16×30 33×23",
                "anchors at stride 32: 116×90 156×198 373×326",
                "80 classes, 29 rows at 416×416: 61,949,149 parameters, 65.864 billion operations (two a multiply-add)",
            ],
        ),
        (
            "yolov3-tiny",
            [
                "11 -1 1 nn.ZeroPad2d [[0, 1, 0, 1]] 1×512×13×13 1×512×14×14 0 0",
                "17 -1 1 nn.Upsample [None, 2, 'nearest'] 1×128×13×13 1×128×26×26 0 0",
                "20 [19, 15] 1 Detect [nc, anchors] 1×256×26×26 1×512×13×13 "
                "1×3×26×26×85 1×3×13×13×85 196,350 66,193,920",
            ],
        ),
    ],
)
def test_show_text(cli: Callable[..., Any], name: str, lines: list[str]) -> None:
    result = cli("show", name)
    shown = [line.split() for line in result.out.splitlines()]
    assert result.code == 0
    for line in lines:
        assert line.split() in shown
    assert len([line for line in shown if line and line[0].isdigit()]) == len(load_spec(name).rows) + 1


def test_show_columns_line_up(cli: Callable[..., Any]) -> None:
    lines = cli("show", "yolov3-spp").out.splitlines()[:30]
    head = lines[0]
    for column in ("from", "module", "args", "input", "output"):
        place = head.index(column)
        assert all(line[place - 1] == " " and line[place] != " " for line in lines[1:])
    assert len({len(line) for line in lines}) == 1, "numbers end together"


@pytest.mark.parametrize(("size", "shape"), [("320", [1, 3, 320, 320]), ("640x384", [1, 3, 384, 640])])
def test_show_size(cli: Callable[..., Any], size: str, shape: list[int]) -> None:
    given = json.loads(cli("show", "yolov3-tiny", "--size", size, "--json").out)
    assert given["layers"][0]["inputs"] == shape


def test_show_of_a_size_that_does_not_fit(cli: Callable[..., Any]) -> None:
    result = cli("show", "yolov3", "--size", "400")
    assert (result.code, result.out) == (2, "")
    assert "400 must be a multiple of 32" in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize("name", list(TEXTS))
def test_show_of_any_network(cli: Callable[..., Any], tmp_path: Path, name: str) -> None:
    (tmp_path / "net.yaml").write_text(TEXTS[name])
    stride = odd_spec(name).network.max_stride
    result = cli("show", tmp_path / "net.yaml", "--size", str(4 * stride))
    assert result.code == 0 and f"{len(odd_spec(name).rows)} rows" in result.out


def test_show_of_a_stride_that_does_not_divide_416(cli: Callable[..., Any], tmp_path: Path) -> None:
    """The nearest side that it can take, where the file says none and nobody asked for one."""
    rows = ["  - [-1, 1, Conv, [8, 3, 2]]"] * 7
    (tmp_path / "net.yaml").write_text(
        "\n".join(["anchors: [[10,14]]", "backbone:", *rows, "head:", "  - [[6], 1, Detect, [nc, anchors]]"])
    )
    result = cli("show", tmp_path / "net.yaml")
    assert result.code == 0 and "8 rows at 384×384" in result.out


@pytest.mark.parametrize("reference", ["net.weights", "net.onnx", "net.pt", "photo.jpg"])
def test_show_of_another_kind_of_file_says_what_it_takes(cli: Callable[..., Any], reference: str) -> None:
    result = cli("show", reference)
    assert (result.code, result.out) == (2, "")
    assert result.err.endswith(
        f"{reference}: expected yolov3, yolov3-spp, yolov3-tiny, or a file that ends in .yaml, .cfg or .safetensors\n"
    )


@pytest.mark.parametrize(
    ("file", "parameters"),
    [("yolov3.cfg", 61_949_149), ("yolov3-spp.cfg", 62_998_749), ("yolov3-tiny.cfg", 8_852_366)],
)
def test_show_of_a_cfg_counts_the_same(cli: Callable[..., Any], shared: Path, file: str, parameters: int) -> None:
    given = json.loads(cli("show", shared / "darknet" / file, "--json").out)
    assert given["total"]["parameters"] == parameters
    family = summarise(load_spec(file.removesuffix(".cfg")), tuple(given["layers"][0]["inputs"][:1:-1])).to_dict()
    assert [layer["outputs"] for layer in given["layers"]] == [layer["outputs"] for layer in family["layers"]]


@pytest.mark.parametrize("reference", ["nowhere.yaml", "yolov3-large", "."])
def test_show_of_what_is_not_there(cli: Callable[..., Any], reference: str) -> None:
    result = cli("show", reference)
    assert result.code == 4 and result.err.startswith("yolov3: error: ") and result.err.count("\n") == 1


def test_show_needs_neither_engine_nor_pytorch() -> None:
    code = (
        "import sys; from yolov3.cli import main\n"
        "try: main(['show', 'yolov3', '--json'])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "print(sorted({'torch', 'ncnn', 'onnx', 'onnxruntime'} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"
