"""Rows taken apart: operations, their sizes, the names and shapes of tensors, Darknet's order."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov3.spec import FAMILY, Spec, load_spec, read_spec
from yolov3.spec.primitives import (
    Add,
    Concat,
    Convolution,
    MaxPool,
    Operation,
    Pad,
    Slice,
    Upsample,
    output_hw,
)
from yolov3.spec.shapes import operation_sizes

from .networks import TEXTS, odd_spec, random_spec


def one_row(row: str, more: str = "") -> Spec:
    """A network of 8 channels at stride 2, then this row, then Detect."""
    return read_spec(
        f"nc: 1\n{more}\nanchors: [[1, 1]]\nbackbone:\n  - [-1, 1, Conv, [8, 3, 2]]\n  - {row}\n"
        "head:\n  - [-1, 1, Detect, [nc, anchors]]\n",
        "net.yaml",
    )


def operations(row: str, more: str = "") -> list[Operation]:
    return [operation for operation in one_row(row, more).network.operations if operation.row == 1]


def described(operation: Operation) -> tuple[object, ...]:
    """Kind, channels and what is special about it."""
    if isinstance(operation, Convolution):
        settings_ = (operation.kernel_hw, operation.stride, operation.padding_hw, operation.groups)
        return ("conv", operation.channels, *settings_, operation.batch_norm, operation.activation)
    if isinstance(operation, MaxPool):
        return ("pool", operation.channels, operation.kernel, operation.stride, operation.padding)
    special = {Pad: "padding", Upsample: "scale", Concat: "inputs", Add: "activation", Slice: "start"}[type(operation)]
    return (type(operation).__name__, operation.channels, getattr(operation, special))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("[-1, 1, Conv, [16]]", [("conv", 16, (1, 1), 1, (0, 0), 1, True, "leaky")]),
        ("[-1, 1, Conv, [16, 3]]", [("conv", 16, (3, 3), 1, (1, 1), 1, True, "leaky")]),
        ("[-1, 1, Conv, [16, 3, 2]]", [("conv", 16, (3, 3), 2, (1, 1), 1, True, "leaky")]),
        ("[-1, 1, Conv, [16, [1, 5]]]", [("conv", 16, (1, 5), 1, (0, 2), 1, True, "leaky")]),
        (
            "[-1, 1, Conv, [16, 3, 1, {groups: 4, activation: nn.SiLU(), bn: false, padding: 0}]]",
            [("conv", 16, (3, 3), 1, (0, 0), 4, False, "silu")],
        ),
        ("[-1, 2, Conv, [16, 3]]", [("conv", 16, (3, 3), 1, (1, 1), 1, True, "leaky")] * 2),
        (
            "[-1, 1, Bottleneck, [8]]",
            [
                ("conv", 4, (1, 1), 1, (0, 0), 1, True, "leaky"),
                ("conv", 8, (3, 3), 1, (1, 1), 1, True, "leaky"),
                ("Add", 8, "linear"),
            ],
        ),
        (
            "[-1, 1, Bottleneck, [12, False, {activation: mish}]]",
            [("conv", 6, (1, 1), 1, (0, 0), 1, True, "mish"), ("conv", 12, (3, 3), 1, (1, 1), 1, True, "mish")],
        ),
        (
            "[-1, 1, SPP, [16, [5, 9]]]",
            [
                ("conv", 4, (1, 1), 1, (0, 0), 1, True, "leaky"),
                ("pool", 4, 5, 1, (2, 2, 2, 2)),
                ("pool", 4, 9, 1, (4, 4, 4, 4)),
                ("Concat", 12, (1, 2, 3)),
                ("conv", 16, (1, 1), 1, (0, 0), 1, True, "leaky"),
            ],
        ),
        ("[-1, 1, nn.MaxPool2d, [2]]", [("pool", 8, 2, 2, (0, 0, 0, 0))]),
        ("[-1, 1, nn.MaxPool2d, [3, 1, 1]]", [("pool", 8, 3, 1, (1, 1, 1, 1))]),
        ("[-1, 1, nn.ZeroPad2d, [[1, 2, 3, 4]]]", [("Pad", 8, (1, 3, 2, 4))]),
        ("[-1, 1, nn.ConstantPad2d, [[0, 1, 0, 1], 0.5]]", [("Pad", 8, (0, 0, 1, 1))]),
        ("[-1, 1, nn.Upsample, [None, 2, 'nearest']]", [("Upsample", 8, 2)]),
        ("[[0, 0], 1, Concat, [1]]", [("Concat", 16, (0, 0))]),
        ("[[0, 0], 1, Add, []]", [("Add", 8, "linear")]),
        ("[[0, 0], 1, Add, [{activation: leaky}]]", [("Add", 8, "leaky")]),
        ("[-1, 1, Slice, [4, 3]]", [("Slice", 2, 6)]),
    ],
)
def test_what_each_row_means(row: str, expected: list[tuple[object, ...]]) -> None:
    assert [described(operation) for operation in operations(row)] == expected


def test_a_residual_adds_its_input() -> None:
    entry, inner, outer, total = one_row("[-1, 1, Bottleneck, [8]]").network.operations[:4]
    assert (entry.inputs, inner.inputs, outer.inputs, total.inputs) == ((-1,), (0,), (1,), (0, 2))


def test_repetitions_follow_each_other() -> None:
    network = one_row("[-1, 3, Bottleneck, [8]]").network
    assert [o.inputs for o in network.operations[1:10:3]] == [(0,), (3,), (6,)]
    names = [convolution.name for convolution in network.convolutions]
    assert names == ["0", "1.0.cv1", "1.0.cv2", "1.1.cv1", "1.1.cv2", "1.2.cv1", "1.2.cv2", "2.heads.0"]


@pytest.mark.parametrize("name", FAMILY)
def test_tensors_are_named_by_row(name: str) -> None:
    network = load_spec(name).network
    shapes = network.tensor_shapes()
    last = len(load_spec(name).rows) - 1
    assert shapes["0.conv.weight"] == (16 if name == "yolov3-tiny" else 32, 3, 3, 3)
    assert {key: shapes[key] for key in shapes if key.startswith("0.bn")} == {
        f"0.bn.{part}": (shapes["0.conv.weight"][0],) for part in ("weight", "bias", "running_mean", "running_var")
    }
    heads = {key: shape for key, shape in shapes.items() if key.startswith(f"{last}.")}
    inputs = {"yolov3-tiny": (256, 512)}.get(name, (256, 512, 1024))
    expected = {f"{last}.heads.{place}.weight": (255, count, 1, 1) for place, count in enumerate(inputs)}
    assert heads == expected | {f"{last}.heads.{place}.bias": (255,) for place in range(len(inputs))}
    if name != "yolov3-tiny":
        assert shapes["4.1.cv2.conv.weight"] == (128, 64, 3, 3) and shapes["15.conv.weight"] == (1024, 512, 3, 3)
    if name == "yolov3-spp":
        assert shapes["12.cv1.conv.weight"] == (512, 1024, 1, 1) and shapes["12.cv2.conv.weight"] == (512, 2048, 1, 1)


@pytest.mark.parametrize(
    ("name", "values"), [("yolov3", 62_001_757), ("yolov3-spp", 63_052_381), ("yolov3-tiny", 8_858_734)]
)
def test_values_of_the_official_weight_files(name: str, values: int) -> None:
    """(248,007,048 bytes − 20) / 4, (252,209,544 − 20) / 4, (35,434,956 − 20) / 4."""
    assert sum(convolution.stored_values for convolution in load_spec(name).network.convolutions) == values


def slow_size(side: int, low: int, high: int, kernel: int, stride: int) -> int:
    """How many windows fit, counted one by one."""
    return sum(1 for start in range(-low, side + high) if start + kernel <= side + high and (start + low) % stride == 0)


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 7),
    st.integers(1, 7),
    st.integers(1, 4),
    st.tuples(*[st.integers(0, 3)] * 4),
)
@settings(deadline=None, max_examples=200)
def test_output_sizes_are_those_counted(
    height: int, width: int, kernel: int, other: int, stride: int, padding: tuple[int, int, int, int]
) -> None:
    left, top, right, bottom = padding
    common = {"row": 0, "inputs": (-1,), "channels": 1, "reduction": Fraction(1)}
    conv = Convolution(
        **common, name="0", in_channels=1, kernel_hw=(kernel, other), stride=stride, padding_hw=(top, left)
    )
    pool = MaxPool(**common, kernel=kernel, stride=stride, padding=padding)
    pad = Pad(**common, padding=padding, value=0)
    up = Upsample(**common, scale=stride)
    if height + 2 * top >= kernel and width + 2 * left >= other:
        expected = slow_size(height, top, top, kernel, stride), slow_size(width, left, left, other, stride)
        assert output_hw(conv, (height, width)) == expected
    if height + top + bottom >= kernel and width + left + right >= kernel:
        expected = slow_size(height, top, bottom, kernel, stride), slow_size(width, left, right, kernel, stride)
        assert output_hw(pool, (height, width)) == expected
    assert output_hw(pad, (height, width)) == (height + top + bottom, width + left + right)
    assert output_hw(up, (height, width)) == (height * stride, width * stride)


@pytest.mark.parametrize("name", [*FAMILY, *TEXTS])
def test_heads_know_their_stride_and_anchors(name: str) -> None:
    spec = odd_spec(name) if name in TEXTS else load_spec(name)
    network = spec.network
    size = network.max_stride * 4
    sizes = operation_sizes(network, (size, size))
    for place, (head, index) in enumerate(zip(network.heads, network.head_operations, strict=True)):
        assert head.anchors == spec.anchors.of_head(place)
        assert sizes[index] == (size // head.stride, size // head.stride)
        assert network.operations[index].channels == len(head.anchors) * (5 + spec.nc)


def test_decoding_options_reach_their_heads() -> None:
    first, second = odd_spec("slices").network.heads
    assert (first.xy_scale, first.wh, second.xy_scale, second.wh) == (1.05, "exp", 1.0, "square")


@given(st.integers(0, 10**9))
@settings(deadline=None, max_examples=60)
def test_operations_of_any_network_hang_together(seed: int) -> None:
    network = random_spec(random.Random(seed)).network
    for index, operation in enumerate(network.operations):
        assert all(-1 <= source < index for source in operation.inputs)
        if isinstance(operation, Convolution):
            source = operation.inputs[0]
            assert operation.in_channels == (3 if source < 0 else network.operations[source].channels)
            stored = sum(math.prod(shape) for shape in operation.tensor_shapes().values())
            assert operation.stored_values == stored
            running = sum(
                math.prod(shape) for name, shape in operation.tensor_shapes().items() if ".bn.running" in name
            )
            assert operation.parameters == stored - running
    names = [name for convolution in network.convolutions for name in convolution.tensor_shapes()]
    assert len(names) == len(set(names)) == len(network.tensor_shapes())
