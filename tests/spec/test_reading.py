"""Spec files: what is read, how it is written back, and one line for everything that can't be meant."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yolov3.errors import ModelError
from yolov3.spec import FAMILY, Anchors, Row, Spec, load_spec, read_spec, row_text, write_spec
from yolov3.spec.modules import ACTIVATIONS, activation_name

from .networks import TEXTS, odd_spec, random_spec

NET = """\
nc: 3
anchors:
  - [10,13, 16,30]
  - [30,61]
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 2, Bottleneck, [16]]
  - [-1, 1, Conv, [32, 3, 2]]
head:
  - [-1, 1, nn.Upsample, [None, 2, 'nearest']]
  - [[-1, 1], 1, Concat, [1]]
  - [[4, 2], 1, Detect, [nc, anchors]]
"""


def changed(old: str, new: str) -> str:
    assert NET.count(old) == 1, old
    return NET.replace(old, new)


def row(text: str) -> str:
    """NET with another row 2 (line 8)."""
    return changed("[-1, 1, Conv, [32, 3, 2]]", text)


def test_rows_are_read_as_written() -> None:
    spec = read_spec(NET, "net.yaml")
    assert spec.nc == 3 and spec.activation == "leaky" and (spec.depth_multiple, spec.width_multiple) == (1, 1)
    assert [row.index for row in spec.rows] == list(range(6))
    assert spec.backbone[1] == Row(1, -1, 2, "Bottleneck", (16,))
    assert spec.head == (
        Row(3, -1, 1, "nn.Upsample", (None, 2, "nearest")),
        Row(4, (-1, 1), 1, "Concat", (1,)),
        Row(5, (4, 2), 1, "Detect", ("nc", "anchors")),
    )
    assert spec.rows[4].sources == (3, 1) and spec.rows[4].line == 11
    assert spec.anchors == Anchors.per_head((((10, 13), (16, 30)), ((30, 61),)))


@pytest.mark.parametrize(
    ("row", "sources"),
    [
        (Row(0, -1, 1, "Conv", ()), (-1,)),
        (Row(5, -2, 1, "Conv", ()), (3,)),
        (Row(16, -2, 1, "Conv", ()), (14,)),
        (Row(18, (-1, 8), 1, "Concat", ()), (17, 8)),
        (Row(28, (27, 22, 15), 1, "Detect", ()), (27, 22, 15)),
        (Row(5, 0, 1, "Conv", ()), (0,)),
    ],
)
def test_negative_sources_count_back_from_the_row(row: Row, sources: tuple[int, ...]) -> None:
    assert row.sources == sources


@pytest.mark.parametrize("name", FAMILY)
def test_the_family_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = load_spec(name)
    assert spec == load_spec(f"{name}.yaml") and spec.nc == 80 and spec.rows[-1].module == "Detect"
    Path(f"{name}.yaml").write_text(NET)
    assert load_spec(f"{name}.yaml").nc == 3, "a file of that name wins"
    assert load_spec(name) == spec


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("nc: 3\n", "nc: 3\nactivation: nn.SiLU()\n"),
        ("nc: 3\n", "activation: SiLU\nnc: 3\ndepth_multiple: 1\nwidth_multiple: 1.0\n"),
        ("nc: 3\n", "# ultralytics-style\nnc: 3  # number of classes\nactivation: nn.SiLU()\n"),
        ("'nearest'", '"nearest"'),
        ("'nearest'", "nearest"),
        ("[None, 2, 'nearest']", "[null, 2, nearest]"),
        ("[None, 2, 'nearest']", "[~, 2]"),
        ("[16]]", "[16, True]]"),
        ("[16]]", "[16, true]]"),
        ("[16, 3, 2]", "[16, [3, 3], 2]"),
        ("[nc, anchors]", "[3, anchors]"),
        ("  - [10,13, 16,30]\n", "  - [10.0,13, 16,30.0]  # P1/2\n"),
        ("\n  - [30,61]\n", "\n  - [30,\n     61]\n"),
        ("backbone:\n", "backbone:  # [from, number, module, args]\n\n"),
    ],
)
def test_other_spellings_of_the_same(old: str, new: str) -> None:
    spec, usual = read_spec(changed(old, new), "net.yaml"), read_spec(NET, "net.yaml")
    assert spec.network.operations == usual.network.operations or "SiLU" in new
    assert spec.anchors == usual.anchors and len(spec.rows) == len(usual.rows)
    if "SiLU" in new:
        assert spec.activation == "silu"
        assert {c.activation for c in spec.network.convolutions if not c.is_head} == {"silu"}


def test_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_bytes(b"\xef\xbb\xbf" + NET.replace("\n", "\r\n").encode())
    assert load_spec(tmp_path / "net.yaml") == read_spec(NET, "net.yaml")


def test_nc_is_80_unless_given() -> None:
    assert read_spec(changed("nc: 3\n", ""), "net.yaml").nc == 80


@pytest.mark.parametrize(("given", "name"), ACTIVATIONS.items())
def test_activations(given: str, name: str) -> None:
    for spelling in (given, given.upper(), f"nn.{given}()" if "(" not in given else f"nn.{given}"):
        assert activation_name(spelling) == name
        spec = read_spec(changed("nc: 3\n", f"nc: 3\nactivation: '{spelling}'\n"), "net.yaml")
        assert spec.activation == name


def test_activations_spelt_out() -> None:
    assert activation_name(" nn.LeakyReLU(negative_slope=0.1) ") == "leaky"
    for other in ("leakyrelu(0.2)", "eval('1')", "", None, True, 1, [], "nn."):
        assert activation_name(other) is None


def test_a_pool_of_anchors_with_masks() -> None:
    anchors = "anchors:\n  pool: [1,2, 3,4, 5,6]\n  masks: [[1, 2], [0, 1]]\n"
    spec = read_spec(changed("anchors:\n  - [10,13, 16,30]\n  - [30,61]\n", anchors), "net.yaml")
    assert [spec.anchors.of_head(head) for head in (0, 1)] == [((3, 4), (5, 6)), ((1, 2), (3, 4))]
    assert not spec.anchors.is_per_head and read_spec(write_spec(spec), "again") == spec


@pytest.mark.parametrize(
    ("depth", "numbers"),
    [(1, [1, 3, 9]), (0.33, [1, 1, 3]), (0.67, [1, 2, 6]), (1.33, [1, 4, 12]), (0.01, [1, 1, 1]), (2, [1, 6, 18])],
)
def test_depth_multiple_scales_numbers_above_one(depth: float, numbers: list[int]) -> None:
    rows = "".join(f"  - [-1, {number}, Conv, [16, 3, 1]]\n" for number in (1, 3, 9))
    spec = read_spec(f"depth_multiple: {depth}\nanchors: [[1,1]]\nbackbone:\n{rows}head: [[-1, 1, Detect, []]]\n", "n")
    found = [sum(c.row == index for c in spec.network.convolutions) for index in range(3)]
    assert found == numbers


@pytest.mark.parametrize(
    ("width", "channels"),
    [(1, [16, 100, 7]), (0.5, [8, 56, 8]), (0.25, [8, 32, 8]), (1.25, [24, 128, 16]), (0.001, [8, 8, 8])],
)
def test_width_multiple_scales_channels_to_multiples_of_8(width: float, channels: list[int]) -> None:
    rows = "".join(f"  - [-1, 1, Conv, [{count}, 3, 1]]\n" for count in (16, 100, 7))
    text = f"width_multiple: {width}\nnc: 3\nanchors: [[1,1]]\nbackbone:\n{rows}head: [[-1, 1, Detect, []]]\n"
    found = [convolution.channels for convolution in read_spec(text, "n").network.convolutions]
    assert found == [*channels, 8], "the heads' 5 + nc stays"


# --- what is refused ---------------------------------------------------------------------------------------------


def behind_row_4(*rows: str) -> str:
    """Rows 5 and on, before Detect."""
    return changed("  - [[4, 2], 1, Detect", "".join(f"  - {text}\n" for text in rows) + "  - [[4, 2], 1, Detect")


ROW_2 = r"^net\.yaml:8: row 2"
REFUSED = {
    "unknown module": (
        row("[-1, 1, Focus, [32]]"),
        ROW_2 + r" \(Focus\): unknown module, expected one of Conv, Bott.*",
    ),
    "code for a module": (row("[-1, 1, \"__import__('os')\", [32]]"), ROW_2 + ".*unknown module"),
    "an attribute": (row("[-1, 1, nn.Linear, [32]]"), ROW_2 + r" \(nn\.Linear\): unknown module"),
    "Detect inside": (row("[-1, 1, Detect, [nc, anchors]]"), ROW_2 + r" \(Detect\): stands once, as the last row"),
    "itself": (row("[2, 1, Conv, [32]]"), ROW_2 + r".*input comes from row 2, expected a row from 0 to 1"),
    "a later row": (row("[4, 1, Conv, [32]]"), ROW_2 + r".*from row 4, expected a row from 0 to 1"),
    "a row that isn't there": (row("[99, 1, Conv, [32]]"), ROW_2 + r".*from row 99"),
    "before the picture": (row("[-4, 1, Conv, [32]]"), ROW_2 + r".*from row -2"),
    "the picture": (row("[-3, 1, Conv, [32]]"), ROW_2 + r".*from row -1"),
    "a huge row number": (row("[1000000000000, 1, Conv, [32]]"), ROW_2 + r".*from is 1000000000000"),
    "True as a row": (row("[true, 1, Conv, [32]]"), ROW_2 + r": from is True, expected a row number or a list"),
    "a float as a row": (row("[-1.0, 1, Conv, [32]]"), ROW_2 + r": from is -1\.0"),
    "no rows": (row("[[], 1, Concat, [1]]"), ROW_2 + r": from is \[\]"),
    "two inputs of a Conv": (row("[[0, 1], 1, Conv, [32]]"), ROW_2 + r" \(Conv\): has 2 inputs, expected one"),
    "number 0": (row("[-1, 0, Conv, [32]]"), ROW_2 + r": number is 0, expected 1 to 1,000"),
    "number 1e9": (row("[-1, 1000000000, Conv, [32]]"), ROW_2 + r": number is 1000000000"),
    "True as a number": (row("[-1, yes, Conv, [32]]"), ROW_2 + r": number is True"),
    "a repeated Concat": (row("[-1, 2, Concat, [1]]"), ROW_2 + r".*its number is 2, expected 1"),
    "three entries": (row("[-1, 1, Conv]"), ROW_2 + r": \[-1, 1, 'Conv'\], expected \[from, number, module, args\]"),
    "no list": (row("Conv"), ROW_2 + r": 'Conv', expected"),
    "args without a list": (row("[-1, 1, Conv, 32]"), ROW_2 + r": args are 32, expected a list"),
    "a number for a module": (row("[-1, 1, 7, [32]]"), ROW_2 + r": module is 7, expected a name such as Conv"),
    "a module of two lines": (row('[-1, 1, "Conv\\nx", [32]]'), ROW_2 + r": module is 'Conv\\nx'"),
    "a module of many letters": (row(f"[-1, 1, {'x' * 5000}, [32]]"), ROW_2 + ": module is 'x{70,90}…, expected"),
    "no args": (row("[-1, 1, Conv, []]"), ROW_2 + r".*args\[0\], the output channels, is missing"),
    "four args": (row("[-1, 1, Conv, [32, 3, 1, 1]]"), ROW_2 + r".*4 args, expected at most 3"),
    "channels 0": (row("[-1, 1, Conv, [0]]"), ROW_2 + r".*args\[0\], the output channels, is 0, expected a whole"),
    "True as channels": (row("[-1, 1, Conv, [true]]"), ROW_2 + r".*is True, expected a whole number from 1 to"),
    "channels as text": (row("[-1, 1, Conv, ['32']]"), ROW_2 + r".*is '32', expected a whole number"),
    "channels as a float": (row("[-1, 1, Conv, [32.0]]"), ROW_2 + r".*is 32\.0, expected a whole number"),
    "huge channels": (row("[-1, 1, Conv, [2000000000]]"), ROW_2 + r".*is 2000000000, expected .* to 65,536|65536"),
    "stride 0": (row("[-1, 1, Conv, [32, 3, 0]]"), ROW_2 + r".*args\[2\], the stride, is 0"),
    "kernel 65": (row("[-1, 1, Conv, [32, 65]]"), ROW_2 + r".*args\[1\], the kernel, is 65"),
    "three kernels": (row("[-1, 1, Conv, [32, [3, 3, 3]]]"), ROW_2 + r".*expected a number or \[height, width\]"),
    "True as a kernel": (row("[-1, 1, Conv, [32, true]]"), ROW_2 + r".*the kernel, is True"),
    "unknown option": (
        row("[-1, 1, Conv, [32, 3, 1, {act: x}]]"),
        ROW_2 + r".*unknown option 'act', expected one of g",
    ),
    "an option of no options": (
        row("[-1, 1, Concat, [1, {a: 1}]]"),
        ROW_2 + r".*unknown option 'a', expected one of none",
    ),
    "groups that don't divide": (
        row("[-1, 1, Conv, [32, 3, 2, {groups: 5}]]"),
        ROW_2 + r".*5 groups don't divide 16 in",
    ),
    "bn as a number": (row("[-1, 1, Conv, [32, 3, 2, {bn: 0}]]"), ROW_2 + r".*option bn is 0, expected true or false"),
    "an unknown activation": (
        row("[-1, 1, Conv, [32, 3, 2, {activation: gelu}]]"),
        ROW_2 + r".*activation is 'gelu', expected one of leaky, ",
    ),
    "no activation": (row("[-1, 1, Conv, [32, 3, 2, {activation: null}]]"), ROW_2 + r".*activation is None"),
    "a residual of other channels": (
        row("[-1, 1, Bottleneck, [32]]"),
        ROW_2 + r".*adds 32 channels to an input of 16, e",
    ),
    "an odd bottleneck": (row("[-1, 1, Bottleneck, [15, False]]"), ROW_2 + r".*is 15, expected an even number"),
    "a shortcut of 0": (row("[-1, 1, Bottleneck, [16, 0]]"), ROW_2 + r".*the shortcut, is 0, expected True or False"),
    "an even SPP": (row("[-1, 1, SPP, [32, [4]]]"), ROW_2 + r".*the kernels, is \[4\], expected a list of odd numbers"),
    "an SPP of True": (row("[-1, 1, SPP, [32, [true]]]"), ROW_2 + r".*the kernels, is \[True\]"),
    "an SPP of one number": (row("[-1, 1, SPP, [32, 5]]"), ROW_2 + r".*the kernels, is 5"),
    "a pool padded too far": (row("[-1, 1, nn.MaxPool2d, [2, 2, 2]]"), ROW_2 + r".*the padding, is 2, .* from 0 to 1"),
    "three sides": (row("[-1, 1, nn.ZeroPad2d, [[0, 1, 0]]]"), ROW_2 + r".*expected \[left, right, top, bottom\]"),
    "True as a side": (row("[-1, 1, nn.ZeroPad2d, [[0, true, 0, 1]]]"), ROW_2 + r".*\[0, True, 0, 1\], expected"),
    "padded with NaN": (row("[-1, 1, nn.ConstantPad2d, [[0, 1, 0, 1], .nan]]"), ROW_2 + r".*the value, is nan"),
    "lowest padding before a convolution": (
        behind_row_4("[2, 1, nn.ConstantPad2d, [[0, 1, 0, 1], -.inf]]", "[-1, 1, Conv, [8, 2]]"),
        r"row 5 \(nn\.ConstantPad2d\): pads by -\.inf, which only a max-pool can read, but row 6 \(Conv\) does$",
    ),
    "windows of nothing": (
        behind_row_4("[2, 1, nn.ConstantPad2d, [[0, 1, 0, 2], -.inf]]", "[-1, 1, nn.MaxPool2d, [2, 1]]"),
        r"row 5 \(nn\.ConstantPad2d\): pads more than the max-pool behind it spans \(2×2\)",
    ),
    "padded with infinity": (row("[-1, 1, nn.ConstantPad2d, [[0, 1, 0, 1], .inf]]"), ROW_2 + r".*is inf"),
    "padded with 400 digits": (
        row(f"[-1, 1, nn.ConstantPad2d, [[0, 1, 0, 1], {'9' * 400}]]"),
        ROW_2 + r".*the value, is 9+…, expected a number up to 1,000,000 or -\.inf",
    ),
    "an upsample to a size": (row("[-1, 1, nn.Upsample, [52, 2]]"), ROW_2 + r".*the size, is 52, expected None"),
    "a linear upsample": (
        row("[-1, 1, nn.Upsample, [None, 2, bilinear]]"),
        ROW_2 + r".*is 'bilinear', expected 'nearest'",
    ),
    "a Concat of heights": (row("[-1, 1, Concat, [2]]"), ROW_2 + r".*the dimension, is 2"),
    "an Add of one": (row("[-1, 1, Add, []]"), ROW_2 + r".*has one input, expected two or more"),
    "a Slice in thirds": (row("[-1, 1, Slice, [3, 0]]"), ROW_2 + r".*3 groups don't divide 16 channels"),
    "a Slice too far": (row("[-1, 1, Slice, [2, 2]]"), ROW_2 + r".*the group, is 2, .* from 0 to 1"),
    "strides that don't meet": (
        changed("[[-1, 1], 1, Concat, [1]]", "[[-1, 2], 1, Concat, [1]]"),
        r"^net\.yaml:11: row 4 \(Concat\): inputs have strides 2 and 4, expected the same stride",
    ),
    "channels that don't add": (
        changed("[[-1, 1], 1, Concat, [1]]", "[[-1, 1], 1, Add, []]"),
        r"^net\.yaml:11: row 4 \(Add\): inputs have 32 and 16 channels, expected the same number",
    ),
    "more inputs than anchors": (
        changed("[[4, 2], 1, Detect", "[[4, 2, 0], 1, Detect"),
        r"^net\.yaml:12: row 5 \(Detect\): has 3 inputs but anchors for 2 scales",
    ),
    "another nc": (changed("[nc, anchors]", "[80, anchors]"), r"^net\.yaml:12: .*is 80, expected nc \(which is 3\)"),
    "True for nc": (
        changed("[nc, anchors]", "[true, anchors]").replace("nc: 3", "nc: 1"),
        r"^net\.yaml:12: .*args\[0\] is True",
    ),
    "anchors in the row": (changed("[nc, anchors]", "[nc, 3]"), r"^net\.yaml:12: .*args\[1\] is 3, expected anchors"),
    "xy_scale below 1": (
        changed("[nc, anchors]", "[nc, anchors, {xy_scale: 0.5}]"),
        r"12: .*xy_scale is 0\.5, expected",
    ),
    "xy_scale NaN": (changed("[nc, anchors]", "[nc, anchors, {xy_scale: .nan}]"), r"12: .*xy_scale is nan"),
    "three xy_scales": (
        changed("[nc, anchors]", "[nc, anchors, {xy_scale: [1, 1, 1]}]"),
        "12: .*one for each of 2 heads",
    ),
    "an unknown wh": (
        changed("[nc, anchors]", "[nc, anchors, {wh: cube}]"),
        "12: .*wh is 'cube', expected exp or square",
    ),
    "no Detect": (
        changed("  - [[4, 2], 1, Detect, [nc, anchors]]\n", ""),
        r"net\.yaml:11: row 4 \(Concat\): the last row",
    ),
    "no rows at all": ("anchors: [[1,1]]\nbackbone: []\nhead: []\n", r"^net\.yaml: the last row must be Detect"),
    "an unknown key": (
        changed("nc: 3", "nc: 3\nanchor: 1"),
        r"^net\.yaml:2: unknown key 'anchor', did you mean anchors\?",
    ),
    "a key like none": (changed("nc: 3", "nc: 3\nzzz: 1"), r"^net\.yaml:2: unknown key 'zzz', expected one of nc, act"),
    "a number for a key": (changed("nc: 3", "nc: 3\n7: 1"), r"^net\.yaml:2: unknown key 7, "),
    "a key missing": (
        changed("backbone:", "head:").replace("head:\n  - [-1, 1, nn", "x:\n  - [-1, 1, nn"),
        "unknown key 'x'",
    ),
    "no anchors": (
        NET.split("anchors:")[0] + NET[NET.index("backbone") :],
        r"^net\.yaml:1: the key anchors is missing",
    ),
    "a key twice": (NET + "nc: 3\n", r"^net\.yaml:13: the key 'nc' stands here for the second time"),
    "nc 0": (changed("nc: 3", "nc: 0"), r"^net\.yaml:1: nc is 0, expected the number of classes, 1 to 65,536"),
    "True as nc": (changed("nc: 3", "nc: true"), r"^net\.yaml:1: nc is True"),
    "nc as a float": (changed("nc: 3", "nc: 3.0"), r"^net\.yaml:1: nc is 3\.0"),
    "nc as a list": (changed("nc: 3", "nc: [3]"), r"^net\.yaml:1: nc is \[3\]"),
    "nothing for nc": (changed("nc: 3", "nc:"), r"^net\.yaml:1: nc is None"),
    "a million digits": (changed("nc: 3", f"nc: {'9' * 10_000}"), r"^net\.yaml:1: "),
    "a million hex digits": (
        changed("nc: 3", f"nc: 0x{'f' * 10_000}"),
        r"^net\.yaml:1: nc is a number of thousands of dig",
    ),
    "an activation that isn't": (
        changed("nc: 3", "activation: gelu"),
        r"^net\.yaml:1: unknown activation 'gelu', expected one",
    ),
    "nothing for activation": (changed("nc: 3", "activation:"), r"^net\.yaml:1: unknown activation None"),
    "code as activation": (
        changed("nc: 3", "activation: nn.SiLU(inplace=exit())"),
        r"^net\.yaml:1: unknown activation",
    ),
    "a depth of 0": (
        changed("nc: 3", "depth_multiple: 0"),
        r"^net\.yaml:1: depth_multiple is 0, expected a number above 0",
    ),
    "a depth of NaN": (changed("nc: 3", "depth_multiple: .nan"), r"^net\.yaml:1: depth_multiple is nan"),
    "a width of True": (changed("nc: 3", "width_multiple: true"), r"^net\.yaml:1: width_multiple is True"),
    "a width of 1e9": (changed("nc: 3", "width_multiple: 1.0e+9"), r"^net\.yaml:1: width_multiple is 1000000000\.0"),
    "NaN anchors": (changed("[30,61]", "[.nan,61]"), r"^net\.yaml:4: anchors \[nan, 61\], expected up to .* pairs w,h"),
    "infinite anchors": (changed("[30,61]", "[30,.inf]"), r"^net\.yaml:4: anchors \[30, inf\]"),
    "True as an anchor": (changed("[30,61]", "[30,true]"), r"^net\.yaml:4: anchors \[30, True\]"),
    "anchors of 0": (changed("[30,61]", "[30,0]"), r"^net\.yaml:4: anchors \[30, 0\]"),
    "half an anchor": (changed("[30,61]", "[30,61, 7]"), r"^net\.yaml:4: anchors \[30, 61, 7\]"),
    "text as an anchor": (changed("[30,61]", "['30',61]"), r"^net\.yaml:4: anchors \['30', 61\]"),
    "no anchors of a head": (changed("[30,61]", "[]"), r"^net\.yaml:4: anchors \[\]"),
    "an anchor of 400 digits": (
        changed("[30,61]", f"[30,1{'0' * 400}]"),
        r"^net\.yaml:4: anchors \[30, 10+…, expected",
    ),
    "anchors as a number": (
        changed("  - [10,13, 16,30]\n  - [30,61]\n", "  3\n"),
        r"^net\.yaml:2: anchors are 3, expected",
    ),
    "masks missing": (
        changed("  - [10,13, 16,30]\n  - [30,61]\n", "  pool: [1,2]\n"),
        r"^net\.yaml:2: anchors as a mapping must have the keys pool and masks",
    ),
    "a mask too far": (
        changed("  - [10,13, 16,30]\n  - [30,61]\n", "  pool: [1,2]\n  masks: [[0], [1]]\n"),
        r"^net\.yaml:4: mask \[1\], expected indices from 0 to 0",
    ),
    "backbone as a mapping": (
        "anchors: [[1,1]]\nbackbone: {a: 1}\nhead: []\n",
        r"^net\.yaml:2: backbone must be a list of",
    ),
    "a list": ("- 1\n- 2\n", r"^net\.yaml:1: expected the keys nc, "),
    "nothing": ("", r"^net\.yaml:1: expected the keys nc, "),
    "two documents": (NET + "---\n" + NET, r"^net\.yaml:13: not valid YAML: .*document"),
    "an alias": (changed("[30,61]", "&a [30,61]"), r"^net\.yaml:4: YAML anchors and aliases"),
    "an object": (changed("nc: 3", "nc: !!python/object/apply:os.system ['x']"), r"^net\.yaml:1: .*not accepted"),
    "a tag": (changed("nc: 3", "nc: !include x"), r"^net\.yaml:1: the tag !include is not accepted"),
    "a tag of YAML's own": (changed("nc: 3", "nc: !!bool maybe"), r"^net\.yaml:1: the tag !!bool is not"),
    "an empty int": (changed("nc: 3", "nc: !!int ''"), r"^net\.yaml:1: the tag !!int is not"),
    "a time that isn't": (changed("nc: 3", "nc: !!timestamp x"), r"^net\.yaml:1: the tag !!timestamp is not"),
    "a date": (changed("nc: 3", "nc: 2018-04-08"), r"^net\.yaml:1: nc is datetime\.date"),
    "a date that isn't": (changed("nc: 3", "nc: 2018-99-99"), r"^net\.yaml:1: '2018-99-99' can't be read: month"),
    "a key that is no date": (changed("nc: 3", "2018-99-99: 3"), r"^net\.yaml:1: '2018-99-99' can't be read: month"),
    "a merge": (changed("nc: 3", "<<: {nc: 3}"), r"^net\.yaml:1: "),
    "a list for a key": (changed("nc: 3", "? [1]\n: 3"), r"^net\.yaml:1: a key must be"),
    "tabs": (changed("backbone:", "\tbackbone:"), r"^net\.yaml:\d+: not valid YAML"),
    "an open bracket": (changed("[16]]", "[16]"), r"^net\.yaml:\d+: not valid YAML"),
    "a control character": (changed("nc: 3", "nc: \x07"), r"^net\.yaml: not valid YAML"),
    "brackets in brackets": (row("[" * 500), r"^net\.yaml:8: nested too deeply"),
    "a file of 2 MB": (NET + "#" * (2 << 20), r"^net\.yaml: .* characters, expected at most 1,048,576"),
    "20,000 rows": (
        changed("  - [-1, 1, Conv, [32, 3, 2]]\n", "  - [-1, 1000, Conv, [1]]\n" * 20),
        r"^net\.yaml:\d+: row \d+ \(Conv\): the network has more than 10,000 operations",
    ),
    "a billion parameters": (
        changed("  - [-1, 1, Conv, [32, 3, 2]]\n", "  - [-1, 9, Conv, [30000, 3, 1]]\n"),
        r"^net\.yaml:8: row 2 \(Conv\): the network passes 1,000,000,000 parameters here",
    ),
    "strides without end": (
        changed("  - [-1, 1, Conv, [32, 3, 2]]\n", "  - [-1, 900, nn.MaxPool2d, [64, 64]]\n"),
        r"^net\.yaml:8: row 2 \(nn\.MaxPool2d\): .*stride",
    ),
    "finer without end": (
        changed("  - [-1, 1, Conv, [32, 3, 2]]\n", "  - [-1, 1, nn.Upsample, [None, 64]]\n" * 30),
        r"^net\.yaml:\d+: row \d+ \(nn\.Upsample\): .*stride",
    ),
    "a head between cells": (
        changed("[-1, 1, Conv, [16, 3, 2]]", "[-1, 1, nn.Upsample, [None, 2]]").replace("[16]]", "[4, False]]"),
        r"^net\.yaml:\d+: row \d",
    ),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_one_line_names_file_line_row_and_what_was_expected(name: str) -> None:
    text, message = REFUSED[name]
    with pytest.raises(ModelError, match=message) as error:
        read_spec(text, "net.yaml")
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_fault_34_nothing_in_a_file_runs(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for text in (
        changed("nc: 3", f"nc: !!python/object/apply:os.system ['touch {canary}']"),
        row(f"[-1, 1, \"__import__('os').system('touch {canary}')\", [32]]"),
        row(f"[-1, 1, Conv, [\"__import__('os').system('touch {canary}')\"]]"),
        changed("nc: 3", f"activation: __import__('os').system('touch {canary}')"),
    ):
        with pytest.raises(ModelError):
            read_spec(text, "net.yaml")
    assert not canary.exists()


def test_fault_35_an_alias_bomb_is_refused() -> None:
    bomb = "\n".join([f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" if n else "a0: &a0 [1]" for n in range(40)])
    with pytest.raises(ModelError, match=r"^net\.yaml:1: YAML anchors and aliases"):
        read_spec(bomb, "net.yaml")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "can't be read"),
        (lambda path: path.mkdir(), "can't be read"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "not a text file"),
        (lambda path: path.write_bytes(bytes(100)), "not valid YAML"),
        (lambda path: path.write_bytes(b"#" * (5 << 20)), "expected at most"),
        (lambda path: path.symlink_to("/dev/zero"), "can't be read .*device"),
    ],
)
def test_files_that_are_no_spec(tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    path = tmp_path / "net.yaml"
    make(path)
    with pytest.raises(ModelError, match=message) as error:
        load_spec(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


# --- writing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FAMILY, *TEXTS])
def test_what_is_written_is_read_again(name: str) -> None:
    spec = odd_spec(name) if name in TEXTS else load_spec(name)
    text = write_spec(spec)
    assert read_spec(text, "again") == spec
    assert write_spec(read_spec(text, "again")) == text


@given(st.integers(0, 10**9), st.floats(1e-9, 16), st.floats(1e-9, 16))
@settings(deadline=None, max_examples=150)
def test_any_spec_is_written_and_read_again(seed: int, depth: float, width: float) -> None:
    made = random_spec(random.Random(seed))
    spec = Spec(made.backbone, made.head, made.nc, made.anchors, made.activation, made.depth_multiple, 1.0)
    assert read_spec(write_spec(spec), "again") == spec
    scaled = Spec((), (Row(0, -1, 1, "Detect", ("nc", "anchors")),), 1, Anchors.per_head((((depth, width),),)), "mish")
    scaled = Spec(scaled.backbone, scaled.head, 1, scaled.anchors, "mish", depth, width)
    assert read_spec(write_spec(scaled), "again") == scaled


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (Row(0, -1, 1, "Conv", (32, 3, 1)), "[-1, 1, Conv, [32, 3, 1]]"),
        (Row(0, -1, 1, "nn.Upsample", (None, 2, "nearest")), "[-1, 1, nn.Upsample, [None, 2, 'nearest']]"),
        (Row(0, (-1, 8), 1, "Concat", (1,)), "[[-1, 8], 1, Concat, [1]]"),
        (Row(0, -1, 1, "Bottleneck", (1024, False)), "[-1, 1, Bottleneck, [1024, False]]"),
        (Row(0, -1, 1, "SPP", (512, [5, 9, 13])), "[-1, 1, SPP, [512, [5, 9, 13]]]"),
        (Row(0, (27, 22, 15), 1, "Detect", ("nc", "anchors")), "[[27, 22, 15], 1, Detect, [nc, anchors]]"),
        (
            Row(0, -1, 1, "nn.ConstantPad2d", ([0, 1, 0, 1], float("-inf"))),
            "[-1, 1, nn.ConstantPad2d, [[0, 1, 0, 1], -.inf]]",
        ),
        (
            Row(0, -1, 1, "Conv", (8, {"groups": 2, "activation": "mish", "bn": False})),
            "[-1, 1, Conv, [8, {groups: 2, activation: mish, bn: False}]]",
        ),
        (Row(0, -1, 1, "x", ("it's", "null", "no", "1", 1e-7)), "[-1, 1, x, ['it''s', 'null', 'no', '1', 1.0e-07]]"),
    ],
)
def test_rows_are_spelt_as_in_the_files(row: Row, text: str) -> None:
    import yaml

    assert row_text(row) == text
    args = yaml.safe_load(text)[3]
    assert [None if arg == "None" else arg for arg in args] == list(row.args)


# --- mutations ---------------------------------------------------------------------------------------------------

PIECES = [
    "[", "]", "{", "}", ":", ",", "-", "-1", "0", "1", "99", "1e9", ".inf", ".nan", "null", "true", "None", "'", '"',
    "#", "&a", "*a", "!!int", "!!bool", "!!float", "!!timestamp", "!!binary", "!!set", "!!omap", "!x", "<<", "=", "?",
    "|", ">", "%", "@", "\t", "\n", "\n  - ", "\x00", "\ud7ff", "Conv", "Concat", "Detect", "SPP", "Slice",
    "nn.Upsample", "nc", "anchors", "backbone", "head", "2018-01-01", "1:30", "0x_", "0b", "._", "1_0", "{groups: 3}",
    "[1, 1]", "6" * 5000,
]  # fmt: skip


@given(
    st.sampled_from([NET, *TEXTS.values()]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(PIECES)), min_size=1, max_size=4),
)
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_fault_36_37_mutated_files_raise_nothing_but_our_error(text: str, edits: list[tuple[float, int, str]]) -> None:
    if len(text) > 3000:
        text = NET
    for where, length, piece in edits:
        place = int(where * len(text))
        text = text[:place] + piece + text[place + length :]
    try:
        spec = read_spec(text, "net.yaml")
    except ModelError as error:
        assert str(error).startswith("net.yaml") and "\n" not in str(error) and len(str(error)) < 400
    else:
        assert read_spec(write_spec(spec), "again") == spec


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=200)
def test_any_text_raises_nothing_but_our_error(text: str) -> None:
    with pytest.raises(ModelError):
        read_spec(text, "net.yaml")
