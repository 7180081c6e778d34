"""Networks of other people: every supported layer, activation and head, against numpy and OpenCV's importer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yolov3.darknet import import_cfg
from yolov3.graph import lower
from yolov3.postprocess import Thresholds, head_candidates
from yolov3.spec import read_spec, write_spec

from .engines import ENGINES, OpenCVNet, assert_close, engine_heads, load, numpy_heads, random_image
from .family import TINY_ANCHORS, tiny_sections, yolov3_sections, yolov4_sections, yolov4_tiny_sections
from .oracle import sigmoid
from .writer import (
    Section,
    cfg_text,
    conv,
    dropout,
    head,
    maxpool,
    net,
    parse,
    route,
    shortcut,
    upsample,
    weight_bytes,
)

ONE_HEAD = head((0, 1, 2), 2)


def stem(side: int = 64) -> list[Section]:
    """Two convolutions to 16 channels at stride 4."""
    return [net(side, side), conv(8, 3, 2), conv(16, 3, 2)]


def three_scale_tiny() -> list[Section]:
    third = [route(-4), conv(16, 1), upsample(), route(-1, 6), conv(32), *head((0, 1, 2), 3, TINY_ANCHORS)]
    return [*tiny_sections(classes=3, divide=8, width=128, height=96, small_mask=(1, 2, 3)), *third]


def thinner_layer() -> list[Section]:
    """The structure of yolov3, but the first convolution of a pair in a head has not half of the second's channels."""
    sections = yolov3_sections(classes=2, divide=16, width=96, height=64)
    sections[76][1]["filters"] = 24
    return sections


def five_heads() -> list[Section]:
    """Strides 4 to 64, small first as in the yolov4 family, other numbers of anchors a head."""
    sections = [net(128, 128), conv(8, 3, 2), conv(8, 3, 2)]
    for mask in ((0, 1), (2,), (3, 4), (5,), (6, 7, 8)):
        sections += [*head(mask, 2), route(-3), conv(8, 3, 2)]
    return sections[:-2]


def without_mask(sections: list[Section]) -> list[Section]:
    del sections[-1][1]["mask"]
    return sections


def pyramid(
    *kernels: int, order: tuple[int, ...], behind: list[Section] | None = None, channels: int = 8
) -> list[Section]:
    """An SPP whose route joins its parts in the given order, and what follows the route."""
    pools: list[Section] = [maxpool(kernels[0], 1)]
    for place, kernel in enumerate(kernels[1:], 1):
        pools += [route(-2 * place), maxpool(kernel, 1)]
    return [*stem(), conv(channels, 1), *pools, route(*order), *(behind or [conv(16, 1), conv(8)]), *ONE_HEAD]


CASES: dict[str, list[Section]] = {
    "yolov4": yolov4_sections(classes=2, divide=16, width=96, height=64),
    "yolov4-tiny": yolov4_tiny_sections(classes=2, divide=8, width=96, height=64),
    "one class, two anchors": [*stem(), *head((1, 0), 1, (8.5, 9.25, 40, 60))],
    "three scales": three_scale_tiny(),
    "five heads": five_heads(),
    "more convolutions": [*stem(), conv(24, 1), conv(16, 5), conv(12, 7), conv(8), *ONE_HEAD],
    "fewer convolutions": [net(64, 64), conv(8, 3, 2), *ONE_HEAD],
    "own padding": [net(64, 64), conv(8, 4, 2, pad=0, padding=1), conv(8, 5, pad=0, padding=2), *ONE_HEAD],
    "odd sides inside": [net(64, 64), conv(8, 2), maxpool(), conv(8, 2, pad=0), *ONE_HEAD],
    "no batch normalisation": [*stem(), conv(16, batch_normalize=None), *ONE_HEAD],
    "grouped convolution": [*stem(), conv(24, groups=4), conv(24, groups=24), conv(8, 1), *ONE_HEAD],
    "grouped routes": [*stem(), route(-1, groups=2, group_id=1), conv(8), conv(8), route(-1, -2), *ONE_HEAD],
    "first group": [*stem(), route(-1, groups=4, group_id=0), conv(8), *ONE_HEAD],
    "route of a route": [*stem(), conv(8), conv(8), route(-1, -2), route(-1, 1), conv(8), *ONE_HEAD],
    "route by number": [*stem(), conv(8), conv(8), route(1), conv(8), *ONE_HEAD],
    "residual blocks": [*stem(), *[conv(8, 1), conv(16), shortcut(-3)] * 3, *ONE_HEAD],
    "shortcut with activation": [*stem(), conv(16), shortcut(-2, "leaky"), *ONE_HEAD],
    "residual block with activation": [*stem(), conv(8, 1), conv(16), shortcut(-3, "mish"), *ONE_HEAD],
    "dropout": [*stem(), conv(16), dropout(), conv(16), route(-2), conv(8), *ONE_HEAD],
    "upsample by 4": [*stem(), conv(8, 3, 2), conv(8, 3, 2), upsample(4), route(-1, 1), *ONE_HEAD],
    "wide picture": [net(160, 64), *stem()[1:], conv(16), shortcut(-2), *ONE_HEAD],
    "pyramid 13 9 5": pyramid(5, 9, 13, order=(-1, -3, -5, -6)),
    "pyramid 5 9 13": pyramid(5, 9, 13, order=(-6, -5, -3, -1)),
    "pyramid of two, mixed": pyramid(3, 7, order=(-3, -1, -4)),
    "pyramid, large first": pyramid(9, 5, order=(-4, -3, -1)),
    "pyramid before groups": pyramid(3, 5, order=(-1, -3, -4), behind=[conv(16, 1, groups=4)]),
    "pyramid feeds a head": pyramid(3, 5, order=(-1, -3, -4), behind=[route(-1)]),
    "pyramid feeds a head and more": pyramid(
        3, 5, order=(-1, -3, -4), behind=[*ONE_HEAD, route(-3), conv(8, 1), conv(8, 3, 2)]
    ),
    "pyramid with a pool read elsewhere": pyramid(3, 5, order=(-1, -3, -4), behind=[conv(16, 1), route(-1, 3)]),
    "pyramid with its input read elsewhere": pyramid(3, 5, order=(-1, -3, -4), behind=[conv(16, 1), route(-1, 2)]),
    "pyramid with its route read elsewhere": pyramid(3, 5, order=(-1, -3, -4), behind=[conv(16, 1), route(-1, -2)]),
    "pyramid with two readers": pyramid(
        3, 5, order=(-1, -3, -4), behind=[conv(16, 1), route(-2), conv(8, 1), route(-1, -3)]
    ),
    "pyramid not of half its input": pyramid(3, 5, order=(-1, -3, -4), channels=6),
    "the family with one thinner layer": thinner_layer(),
    "pyramid joined twice": pyramid(3, 5, order=(-1, -3, -4, -4)),
    **{f"max-pool {size}/{stride}": [net(96, 96), conv(8, 3, 2), maxpool(size, stride), conv(8), *ONE_HEAD]
       for size, stride in ((2, 1), (3, 1), (4, 1), (5, 1), (2, 2), (3, 2), (4, 2), (1, 2), (2, 3), (3, 3))},
    "max-pool without padding": [net(96, 96), conv(8, 3, 2), maxpool(2, 2, padding=0), conv(8), *ONE_HEAD],
    **{f"activation {name}": [*stem(), conv(8, activation=name), conv(8, activation=name, batch_normalize=None),
                              *ONE_HEAD]
       for name in ("leaky", "linear", "relu", "swish", "mish", "logistic", "tanh")},
}  # fmt: skip
# What OpenCV's importer can't read, or reads wrongly.
NOT_IN_OPENCV: dict[str, list[Section]] = {
    "all anchors without a mask": [*stem(), *without_mask(head((0, 1, 2, 3), 4, (5, 5, 9, 7, 20, 30, 60, 50)))],
    "activation relu6": [*stem(), conv(8, activation="relu6"), *ONE_HEAD],
    "shortcut of three": [*stem(), conv(16), conv(16), ("shortcut", {"from": "-2,-3"}), *ONE_HEAD],
    "grouped route of two": [*stem(), conv(16), route(-1, -2, groups=2, group_id=1), conv(8), *ONE_HEAD],
}


def size_wh(text: str) -> tuple[int, int]:
    values = parse(text)[0][1]
    return int(values["width"]), int(values["height"])


@pytest.mark.parametrize("case", [*CASES, *NOT_IN_OPENCV])
def test_custom_network(case: str, tmp_path: Path) -> None:
    text = cfg_text((CASES | NOT_IN_OPENCV)[case])
    data = weight_bytes(text)
    model = load(tmp_path, text, data).model
    image = random_image(*size_wh(text))
    expected = numpy_heads(text, data, image)
    for engine in ENGINES:
        assert_close(engine_heads(model, image, engine), expected, 2e-5)
    assert read_spec(write_spec(model.spec), "again") == model.spec
    if case in CASES:
        assert_close(OpenCVNet(text, data).heads(image), expected, 5e-5)


@pytest.mark.parametrize(
    ("sections", "layers", "size", "strides"),
    [(yolov4_sections(), 162, 257_717_640, [8, 16, 32]), (yolov4_tiny_sections(), 38, 24_251_276, [16, 32])],
    ids=["yolov4", "yolov4-tiny"],
)
def test_the_yolov4_family_has_the_size_of_its_published_weights(
    sections: list[Section], layers: int, size: int, strides: list[int]
) -> None:
    network = import_cfg(cfg_text(sections), "x.cfg")
    assert len(sections) == 1 + layers
    assert 20 + 4 * sum(stored.convolution.stored_values for stored in network.order) == size
    assert [item.stride for item in network.spec.network.heads] == strides
    assert network.spec.anchors.masks == (
        ((0, 1, 2), (3, 4, 5), (6, 7, 8)) if layers == 162 else ((1, 2, 3), (3, 4, 5))
    )
    assert len(network.notes) == 1 and "stretches pictures unless letter_box=1" in network.notes[0]


def our_boxes(heads: list[np.ndarray], model_heads: tuple, nc: int, width: int, height: int) -> list[np.ndarray]:
    """Boxes of all cells as OpenCV's region layer lists them: (cells · anchors, 4) cx, cy, w, h, parts of the input."""
    found = []
    for raw, described in zip(heads, model_heads, strict=True):
        boxes, _, _ = head_candidates(raw.astype(np.float32), described, nc, Thresholds(conf=0))
        corners = boxes.reshape(len(described.anchors), -1, 4).transpose(1, 0, 2).reshape(-1, 4)
        centre, size = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        found.append(np.hstack([centre, size]) / [width, height, width, height])
    return found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("activation", "options"),
    [
        ("linear", ({}, {})),
        ("linear", ({"scale_x_y": 1.05}, {"scale_x_y": 1.2})),
        ("logistic", ({"new_coords": 1, "scale_x_y": 2.0}, {"new_coords": 1, "scale_x_y": 2.0})),
    ],
)
def test_decoded_boxes_equal_opencvs(
    activation: str, options: tuple[dict[str, object], dict[str, object]], engine: str, tmp_path: Path
) -> None:
    small, large = options
    sections = [*stem(), *head((0, 1, 2), 2, activation=activation, **small), route(-3), conv(16, 3, 2)]
    text = cfg_text([*sections, *head((6, 7, 8), 2, activation=activation, **large)])
    data = weight_bytes(text)
    model = load(tmp_path, text, data).model
    image = random_image(64, 64)
    heads = engine_heads(model, image, engine)
    opencv = OpenCVNet(text, data)
    if activation == "logistic":
        assert_close([sigmoid(head) for head in heads], opencv.heads(image, logistic=True), 5e-5)
    boxes = our_boxes(heads, lower(model).heads, 2, 64, 64)
    for ours, theirs in zip(boxes, opencv.regions(image), strict=True):
        np.testing.assert_allclose(ours, theirs[:, :4], rtol=1e-4, atol=1e-5)


def test_one_head_with_new_coords_among_others(tmp_path: Path) -> None:
    second = [route(-3), conv(16, 3, 2), *head((6, 7, 8), 2)]
    sections = [*stem(), *head((0, 1, 2), 2, activation="logistic", new_coords=1, scale_x_y=1.5), *second]
    model = load(tmp_path, cfg_text(sections)).model
    assert [(item.wh, item.xy_scale) for item in model.spec.network.heads] == [("square", 1.5), ("exp", 1.0)]
    assert read_spec(write_spec(model.spec), "again") == model.spec


def test_smallest_stride_comes_first_whatever_the_cfgs_order(tmp_path: Path) -> None:
    network = load(tmp_path, cfg_text(five_heads())).model.spec.network
    assert [item.stride for item in network.heads] == [4, 8, 16, 32, 64]
    assert [len(item.anchors) for item in network.heads] == [2, 1, 2, 1, 3]


@pytest.mark.parametrize("version", [(0, 1, 0), (0, 2, 0), (0, 2, 5), (1000, 0, 0)])
def test_tensors_do_not_depend_on_the_header(version: tuple[int, int, int], tmp_path: Path) -> None:
    text = cfg_text([*stem(), *ONE_HEAD])
    (tmp_path / "other").mkdir()
    first = load(tmp_path, text).model
    second = load(tmp_path / "other", text, weight_bytes(text, version=version, seen=7)).model
    assert all(np.array_equal(first.tensors[name], second.tensors[name]) for name in first.tensors)
    assert second.source["darknet"]["seen"] == 7
