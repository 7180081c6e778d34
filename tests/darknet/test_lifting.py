"""Flat layers become the document's rows where they are the family's, and other networks keep their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yolov3.darknet import DarknetNetwork, import_cfg, load_cfg
from yolov3.spec import Row, Spec, load_spec, read_spec, row_text, summarise, write_spec
from yolov3.spec.reading import MAX_NUMBER
from yolov3.zoo import OFFICIAL_WEIGHTS, OfficialWeights

from .engines import load
from .family import TINY_ANCHORS, family_text, tiny_sections, yolov3_sections
from .writer import (
    Section,
    cfg_text,
    conv,
    dropout,
    head,
    header,
    layout,
    maxpool,
    net,
    route,
    shortcut,
    upsample,
)

FAMILY = ("yolov3", "yolov3-spp", "yolov3-tiny")
TINY_PAD = Row(11, -1, 1, "nn.ConstantPad2d", ([0, 1, 0, 1], float("-inf")))


def expected_rows(name: str) -> tuple[Row, ...]:
    """The document's rows; Darknet's max-pool of tiny pads by −∞ where the document's row 11 pads zeros."""
    rows = load_spec(name).rows
    assert name != "yolov3-tiny" or rows[11].module == "nn.ZeroPad2d"
    return tuple(TINY_PAD if row.module == "nn.ZeroPad2d" else row for row in rows)


def imported(sections: list[Section]) -> DarknetNetwork:
    return import_cfg(cfg_text(sections), "x.cfg")


def texts(spec: Spec) -> list[str]:
    return [row_text(row) for row in spec.rows]


def assert_arrives(network: DarknetNetwork, name: str) -> None:
    spec = network.spec
    family = load_spec(name)
    assert spec.rows == expected_rows(name)
    assert (len(spec.backbone), len(spec.head)) == (len(family.backbone), len(family.head))
    assert spec.activation == "leaky" and not network.notes
    assert spec.network.tensor_shapes().keys() == family.network.tensor_shapes().keys()
    assert read_spec(write_spec(spec), "again") == spec


@pytest.mark.parametrize("name", FAMILY)
def test_generated_family_arrives_at_the_documents_rows(name: str) -> None:
    network = import_cfg(family_text(name), "x.cfg")
    assert_arrives(network, name)
    assert network.spec.anchors == load_spec(name).anchors
    assert network.spec.nc == 80
    assert network.spec.network.tensor_shapes() == load_spec(name).network.tensor_shapes()


@pytest.mark.parametrize(
    ("file", "name", "classes", "side"),
    [
        ("yolov3.cfg", "yolov3", 80, 608),
        ("yolov3-voc.cfg", "yolov3", 20, 416),
        ("yolov3-openimages.cfg", "yolov3", 601, 608),
        ("yolov3-spp.cfg", "yolov3-spp", 80, 608),
        ("yolov3-tiny.cfg", "yolov3-tiny", 80, 416),
        ("yolov3-tiny-mask123.cfg", "yolov3-tiny", 80, 416),
    ],
)
def test_official_cfgs_arrive_at_the_documents_rows(
    file: str, name: str, classes: int, side: int, shared: Path
) -> None:
    network = load_cfg(shared / "darknet" / file)
    assert_arrives(network, name)
    assert (network.spec.nc, network.size_wh, network.resize) == (classes, (side, side), "letterbox")
    if "mask123" not in file:
        assert network.spec.anchors == load_spec(name).anchors


@pytest.mark.parametrize("name", FAMILY)
def test_generated_cfgs_are_the_official_ones(name: str, shared: Path) -> None:
    ours, official = import_cfg(family_text(name), "x.cfg"), load_cfg(shared / "darknet" / f"{name}.cfg")
    assert ours.spec == official.spec
    assert [stored.convolution for stored in ours.order] == [stored.convolution for stored in official.order]
    assert [stored.permutation for stored in ours.order] == [stored.permutation for stored in official.order]


@pytest.mark.parametrize("known", OFFICIAL_WEIGHTS, ids=lambda known: known.name)
def test_official_weight_files_have_the_size_that_the_structure_needs(known: OfficialWeights) -> None:
    text = family_text(known.name)
    network = import_cfg(text, "x.cfg")
    floats = sum(stored.count for stored in layout(text))
    assert floats == sum(stored.convolution.stored_values for stored in network.order)
    assert len(header()) + 4 * floats == known.size


@pytest.mark.parametrize(
    ("name", "side", "parameters", "billion_operations"),
    [
        ("yolov3", 416, 61_949_149, 65.864),
        ("yolov3-spp", 608, 62_998_749, 141.449),
        ("yolov3-tiny", 416, 8_852_366, 5.565),
    ],
)
def test_totals_are_the_published_ones(name: str, side: int, parameters: int, billion_operations: float) -> None:
    summary = summarise(import_cfg(family_text(name), "x.cfg").spec, (side, side))
    assert summary.parameters == parameters
    assert round(2 * summary.multiply_adds / 1e9, 3) == billion_operations


def test_tiny_rows_are_spelt_as_the_document_has_them() -> None:
    rows = texts(import_cfg(family_text("yolov3-tiny"), "x.cfg").spec)
    assert rows[1] == "[-1, 1, nn.MaxPool2d, [2, 2, 0]]"
    assert rows[11] == "[-1, 1, nn.ConstantPad2d, [[0, 1, 0, 1], -.inf]]"
    assert rows[12] == "[-1, 1, nn.MaxPool2d, [2, 1, 0]]"
    assert rows[16:19] == ["[-2, 1, Conv, [128, 1, 1]]", "[-1, 1, nn.Upsample, [None, 2, 'nearest']]",
                           "[[-1, 8], 1, Concat, [1]]"]  # fmt: skip
    assert rows[20] == "[[19, 15], 1, Detect, [nc, anchors]]"


@pytest.mark.parametrize("name", ["yolov3", "yolov3-spp"])
def test_weights_come_in_darknets_order(name: str) -> None:
    """Heads' convolutions stand right after rows 15, 22 and 27, large objects first."""
    names = [stored.convolution.name for stored in import_cfg(family_text(name), "x.cfg").order]
    for feeder, place in (("15", 2), ("22", 1), ("27.1.cv2", 0)):
        assert names[names.index(feeder) + 1] == f"28.heads.{place}"
    twelve = ["12.cv1", "12.cv2"] if name == "yolov3-spp" else ["12"]
    assert names[names.index("11.cv2") + 1 : names.index("13")] == twelve
    assert names[:4] == ["0", "1", "2.cv1", "2.cv2"] and names[5:9] == ["4.0.cv1", "4.0.cv2", "4.1.cv1", "4.1.cv2"]


def test_tiny_weights_come_in_darknets_order() -> None:
    names = [stored.convolution.name for stored in import_cfg(family_text("yolov3-tiny"), "x.cfg").order]
    assert names == ["0", "2", "4", "6", "8", "10", "13", "14", "15", "20.heads.1", "16", "19", "20.heads.0"]


def numbered_channels(text: str, layer: int) -> bytes:
    """Weights whose values at one 1×1 convolution say their input channel."""
    values = [np.ones(stored.count, "<f4") for stored in layout(text)]
    place, chosen = next((place, stored) for place, stored in enumerate(layout(text)) if stored.layer == layer)
    rows = np.tile(np.arange(chosen.weight_shape[1], dtype="<f4"), chosen.filters)
    values[place][-rows.size :] = rows
    return header() + b"".join(value.tobytes() for value in values)


def test_spp_input_channels_are_permuted(tmp_path: Path) -> None:
    """Darknet joins the pools 13, 9, 5 and the input; the row joins the input and 5, 9, 13."""
    sections = yolov3_sections(classes=1, divide=16, spp=True, width=96, height=96)
    last = next(place for place, (name, values) in enumerate(sections[1:]) if values.get("layers") == "-1,-3,-5,-6") + 1
    text = cfg_text(sections)
    model = load(tmp_path, text, numbered_channels(text, last)).model
    weight = model.tensors["12.cv2.conv.weight"]
    part = weight.shape[1] // 4
    expected = [*range(3 * part, 4 * part), *range(2 * part, 3 * part), *range(part, 2 * part), *range(part)]
    np.testing.assert_array_equal(weight[:, :, 0, 0], [expected] * weight.shape[0])


@pytest.mark.parametrize(("mask", "masks"), [((1, 2, 3), ((1, 2, 3), (3, 4, 5))), ((0, 1, 2), ((0, 1, 2), (3, 4, 5)))])
def test_tiny_masks_share_one_pool(mask: tuple[int, ...], masks: tuple[tuple[int, ...], ...]) -> None:
    spec = imported(tiny_sections(divide=8, small_mask=mask)).spec
    assert spec.anchors.pool == tuple(zip(TINY_ANCHORS[::2], TINY_ANCHORS[1::2], strict=True))
    assert spec.anchors.masks == masks
    assert spec.network.heads[0].anchors == tuple(spec.anchors.pool[index] for index in mask)


@pytest.mark.parametrize("masks", [((3, 4, 5), (0, 1, 2)), ((0, 2, 1), (3, 4, 5)), ((0, 1, 2), (0, 1, 2))])
def test_masks_stay_as_the_cfg_has_them(masks: tuple[tuple[int, ...], ...]) -> None:
    sections = tiny_sections(divide=8, small_mask=masks[0])
    for _, values in sections:
        if values.get("mask") == "3,4,5" and masks[1] != (3, 4, 5):
            values["mask"] = "0,1,2"
            break
    spec = imported(sections).spec
    assert (len(spec.anchors.pool), spec.anchors.masks) == (6, masks)
    assert read_spec(write_spec(spec), "again") == spec


def test_family_structure_with_other_widths_and_classes_keeps_the_numbering() -> None:
    spec = imported(yolov3_sections(classes=3, divide=8, width=96, height=64)).spec
    assert texts(spec)[:3] == ["[-1, 1, Conv, [4, 3, 1]]", "[-1, 1, Conv, [8, 3, 2]]", "[-1, 1, Bottleneck, [8]]"]
    assert [(row.from_, row.number, row.module) for row in spec.rows] == [
        (row.from_, row.number, row.module) for row in load_spec("yolov3").rows
    ]


@pytest.mark.parametrize("activation", ["mish", "swish", "relu"])
def test_family_structure_with_another_activation_keeps_the_numbering(activation: str) -> None:
    text = family_text("yolov3", divide=8).replace("activation=leaky", f"activation={activation}")
    spec = import_cfg(text, "x.cfg").spec
    assert [row.module for row in spec.rows] == [row.module for row in load_spec("yolov3").rows]
    assert spec.activation == {"swish": "silu"}.get(activation, activation)


def test_a_file_called_like_an_architecture_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FAMILY:
        (tmp_path / name).write_bytes(b"\xff")
        (tmp_path / f"{name}.yaml").write_text("nc: 1")
    monkeypatch.chdir(tmp_path)
    assert len(import_cfg(family_text("yolov3"), "x.cfg").spec.rows) == 29


# --- other networks ------------------------------------------------------------------------------------------------

STEM: list[Section] = [net(64, 64), conv(8, 3, 2), conv(16, 3, 2)]
BLOCK: list[Section] = [conv(8, 1), conv(16), shortcut(-3)]
HEAD = head((0, 1, 2), 2)
STEM_ROWS = ["[-1, 1, Conv, [8, 3, 2]]", "[-1, 1, Conv, [16, 3, 2]]"]
DETECT = "[[{}], 1, Detect, [nc, anchors]]"


def generic_rows(*sections: Section) -> list[str]:
    """The rows behind the stem."""
    spec = imported([*STEM, *sections, *HEAD]).spec
    rows = texts(spec)
    assert rows[:2] == STEM_ROWS and rows[-1].endswith("Detect, [nc, anchors]]")
    assert read_spec(write_spec(spec), "again") == spec
    return rows[2:-1]


def test_residual_blocks_are_lifted_and_numbered() -> None:
    assert generic_rows(*BLOCK * 3, conv(8, 1)) == ["[-1, 3, Bottleneck, [16]]", "[-1, 1, Conv, [8, 1, 1]]"]


def test_backbone_ends_with_the_last_block_that_shrinks() -> None:
    spec = imported([*STEM, *BLOCK, conv(32, 3, 2), conv(16, 1), upsample(), conv(8), *HEAD]).spec
    assert (len(spec.backbone), len(spec.head)) == (4, 4)


def test_blocks_are_numbered_only_up_to_what_a_row_takes() -> None:
    spec = imported([*STEM, *BLOCK * (MAX_NUMBER + 2), *HEAD]).spec
    assert texts(spec)[2:] == ["[-1, 1000, Bottleneck, [16]]", "[-1, 2, Bottleneck, [16]]", DETECT.format(3)]
    assert read_spec(write_spec(spec), "again") == spec


def test_a_chain_is_cut_where_a_route_taps_it() -> None:
    rows = generic_rows(*BLOCK * 3, route(-4, -1), conv(8, 1))
    assert rows[:3] == ["[-1, 2, Bottleneck, [16]]", "[-1, 1, Bottleneck, [16]]", "[[2, -1], 1, Concat, [1]]"]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ([conv(4, 1), conv(16), shortcut(-3)], ["Conv", "Conv", "Add"]),  # not half the channels
        ([conv(8, 1), conv(16), shortcut(-3, "leaky")], ["Conv", "Conv", "Add"]),
        ([conv(8, 1), conv(16, activation="mish"), shortcut(-3)], ["Conv", "Conv", "Add"]),
        ([conv(8, 1), conv(16, batch_normalize=None), shortcut(-3)], ["Conv", "Conv", "Add"]),
        ([conv(8, 1), conv(16, groups=2), shortcut(-3)], ["Conv", "Conv", "Add"]),
        ([conv(8, 1), conv(16), shortcut(-4)], ["Conv", "Conv", "Add"]),  # adds something else
        ([conv(8, 1), route(-2), conv(16), shortcut(-4)], ["Conv", "Conv", "Add"]),  # reads something else
        ([conv(8, 1), conv(16), shortcut(-3), route(-3), conv(8)], ["Conv", "Conv", "Add", "Conv"]),  # read inside
    ],
)
def test_what_is_not_a_bottleneck_stays_flat(block: list[Section], expected: list[str]) -> None:
    sections = [net(64, 64), conv(16, 3, 2), conv(16), *block, *HEAD]
    assert [row.module for row in imported(sections).spec.rows] == ["Conv", "Conv", *expected, "Detect"]


def test_blocks_with_their_own_activation_say_so() -> None:
    block = [conv(8, 1, activation="mish"), conv(16, activation="mish"), shortcut(-3)]
    rows = generic_rows(conv(16), conv(16), conv(16), *block)
    assert rows[3] == "[-1, 1, Bottleneck, [16, {activation: mish}]]"


def test_options_of_a_convolution_stand_in_its_row() -> None:
    rows = generic_rows(
        conv(16, groups=4),
        conv(16, activation="logistic"),
        conv(16, batch_normalize=None),
        conv(16, 5, pad=0, padding=1),
        conv(8, 3, pad=0, padding=2),
    )
    assert rows == [
        "[-1, 1, Conv, [16, 3, 1, {groups: 4}]]",
        "[-1, 1, Conv, [16, 3, 1, {activation: sigmoid}]]",
        "[-1, 1, Conv, [16, 3, 1, {bn: False}]]",
        "[-1, 1, Conv, [16, 5, 1, {padding: 1}]]",
        "[-1, 1, Conv, [8, 3, 1, {padding: 2}]]",
    ]


def test_routes_dropout_and_pools() -> None:
    rows = generic_rows(
        *(conv(8), dropout(), route(-2, -3), route(-1, groups=2, group_id=1), conv(8)),
        *(maxpool(3, 1), maxpool(2, 1), route(6), shortcut(2, "relu"), conv(8)),
    )
    assert rows == [
        "[-1, 1, Conv, [8, 3, 1]]",
        "[[-1, 1], 1, Concat, [1]]",
        "[-1, 1, Slice, [2, 1]]",
        "[-1, 1, Conv, [8, 3, 1]]",
        "[-1, 1, nn.MaxPool2d, [3, 1, 1]]",
        "[-1, 1, nn.ConstantPad2d, [[0, 1, 0, 1], -.inf]]",
        "[-1, 1, nn.MaxPool2d, [2, 1, 0]]",
        "[[2, 5], 1, Add, [{activation: relu}]]",
        "[-1, 1, Conv, [8, 3, 1]]",
    ]


@pytest.mark.parametrize("order", [(-1, -3, -5, -6), (-6, -5, -3, -1), (-5, -1, -6, -3)])
def test_a_pyramid_is_lifted_in_whatever_order_it_is_joined(order: tuple[int, ...]) -> None:
    pools = [maxpool(3, 1), route(-2), maxpool(7, 1), route(-4), maxpool(5, 1)]
    rows = generic_rows(conv(8, 1), *pools, route(*order), conv(12, 1))
    assert rows == ["[-1, 1, SPP, [12, [3, 5, 7]]]"]


@pytest.mark.parametrize(
    "last", [conv(12, 3), conv(12, 1, activation="mish"), conv(12, 1, batch_normalize=None), conv(12, 1, groups=2)]
)
def test_a_pyramid_before_another_convolution_stays_flat(last: Section) -> None:
    pools = [maxpool(3, 1), route(-2), maxpool(5, 1)]
    spec = imported([*STEM, conv(8, 1), *pools, route(-4, -3, -1), last, *HEAD]).spec
    assert [row.module for row in spec.rows[3:-1]] == ["nn.MaxPool2d", "nn.MaxPool2d", "Concat", "Conv"]


def test_small_anchors_survive_being_written() -> None:
    spec = imported([*STEM, *head((0, 1), 2, (0.00001, 1e-5, 2.5, 65536))]).spec
    assert spec.anchors.pool == ((1e-5, 1e-5), (2.5, 65536))
    assert read_spec(write_spec(spec), "again") == spec


def test_a_pyramid_joined_twice_keeps_every_channel() -> None:
    pools = [maxpool(3, 1), route(-2), maxpool(5, 1)]
    network = imported([*STEM, conv(8, 1), *pools, route(-1, -3, -4, -4), conv(12, 1), *HEAD])
    assert "SPP" not in [row.module for row in network.spec.rows]
    joined = next(stored.convolution for stored in network.order if stored.convolution.channels == 12)
    assert joined.in_channels == 32


def test_the_family_with_one_more_layer_is_still_lifted() -> None:
    sections = yolov3_sections(divide=8)
    spec = imported([*sections[:-2], conv(32), *sections[-2:]]).spec
    assert len(spec.backbone) == 11
    assert [(row.module, row.number) for row in spec.backbone] == [
        (row.module, row.number) for row in load_spec("yolov3").backbone
    ]
    assert [row.module for row in spec.head[-3:]] == ["Conv", "Conv", "Detect"]


@pytest.mark.parametrize("mask", ["1,2,3", "1,2,3/0,1,2"])
def test_masks_go_to_the_smallest_stride_or_in_the_cfgs_order(mask: str) -> None:
    """In the yolov4 family the head with the smallest stride comes first."""
    sections = [*STEM, *HEAD, route(-3), conv(16, 3, 2), *head((6, 7, 8), 2)]
    spec = import_cfg(cfg_text(sections), "x.cfg", masks=mask).spec
    assert [head.stride for head in spec.network.heads] == [4, 8]
    assert spec.anchors.masks == (((1, 2, 3), (6, 7, 8)) if mask == "1,2,3" else ((1, 2, 3), (0, 1, 2)))
