"""Weight sets cut behind a layer are read on request, and only then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yolov3.darknet import import_cfg, read_backbone, weight_order
from yolov3.errors import ModelError
from yolov3.spec.reading import family_spec

from .engines import load
from .family import family_text
from .writer import layout, weight_bytes


def cut(text: str, data: bytes, layer: int) -> bytes:
    """What `darknet partial` keeps: the layers before `layer`."""
    return data[: 20 + 4 * sum(stored.count for stored in layout(text) if stored.layer < layer)]


@pytest.mark.parametrize(
    ("name", "layer", "count", "last_row"),
    [("yolov3", 74, 52, 10), ("yolov3-spp", 74, 52, 10), ("yolov3-tiny", 15, 9, 15), ("yolov3-tiny", 1, 1, 0)],
)
def test_the_first_layers_are_those_of_the_whole_file(
    name: str, layer: int, count: int, last_row: int, tmp_path: Path
) -> None:
    text = family_text(name, divide=16, width=96, height=96)
    data = weight_bytes(text)
    whole = load(tmp_path, text, data).model
    path = tmp_path / f"darknet.conv.{layer}"
    path.write_bytes(cut(text, data, layer))
    network = import_cfg(text, "x.cfg")
    header, tensors, notes = read_backbone(path, network.order)
    assert header.seen == 32_013_312
    assert len([tensor for tensor in tensors if tensor.endswith("conv.weight")]) == count
    assert {int(tensor.split(".")[0]) for tensor in tensors} == {
        row.index for row in whole.spec.rows[: last_row + 1] if row.module in ("Conv", "Bottleneck", "SPP")
    }
    assert all(np.array_equal(array, whole.tensors[tensor]) for tensor, array in tensors.items())
    assert len(notes) == 1 and f"{count} of {len(network.order)} convolutions" in notes[0]


@pytest.mark.parametrize("name", ["yolov3", "yolov3-spp", "yolov3-tiny"])
def test_the_yaml_networks_have_the_official_order(name: str) -> None:
    """Also tiny's, whose zero padding could not be written as a cfg."""
    order = weight_order(family_spec(name))
    expected = import_cfg(family_text(name), "x.cfg").order
    assert [(stored.convolution, stored.permutation) for stored in order] == [
        (stored.convolution, stored.permutation) for stored in expected
    ]


@pytest.mark.parametrize(
    ("name", "count", "places"),
    [("yolov3", 75, [58, 66, 74]), ("yolov3-spp", 76, [59, 67, 75]), ("yolov3-tiny", 13, [9, 12])],
)
def test_heads_stand_right_after_what_feeds_them(name: str, count: int, places: list[int]) -> None:
    """Large objects first; all others in the order of the rows."""
    convolutions = [stored.convolution for stored in weight_order(family_spec(name))]
    assert len(convolutions) == count
    assert [place for place, convolution in enumerate(convolutions) if convolution.is_head] == places
    assert [convolutions[place].name[-1] for place in places] == [str(n) for n in reversed(range(len(places)))]
    trunk = [convolution.name for convolution in convolutions if not convolution.is_head]
    assert trunk == [item.name for item in family_spec(name).network.convolutions if not item.is_head]


def test_fault_17_never_by_its_name(tmp_path: Path) -> None:
    text = family_text("yolov3-tiny", divide=16, width=96, height=96)
    data = weight_bytes(text)
    path = tmp_path / "yolov3-tiny.conv.15"
    path.write_bytes(cut(text, data, 15))
    with pytest.raises(ModelError, match=r"first in layer 15 .*; expected the weights that belong to this cfg, whole"):
        import_cfg(text, "x.cfg").read_weights(path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda data: data[:-4], r"don't end with a layer of this network \(nearest: layer 14"),
        (lambda data: data[:-2], "don't end with a layer"),
        (lambda data: data + bytes(4), r"nearest: layer 15 \[convolutional\] \(row 20\)"),
        (lambda data: data[:20], r"its 0 floats don't end with a layer of this network \(nearest: layer 0"),
        (lambda data: b"PK\3\4" + data, "not Darknet weights"),
        (lambda data: b"", "0 bytes, expected Darknet weights"),
    ],
)
def test_fault_17_cut_inside_a_layer(change: object, expected: str, tmp_path: Path) -> None:
    text = family_text("yolov3-tiny", divide=16, width=96, height=96)
    path = tmp_path / "x"
    path.write_bytes(change(cut(text, weight_bytes(text), 15)))  # type: ignore[operator]
    with pytest.raises(ModelError, match=expected):
        read_backbone(path, import_cfg(text, "x.cfg").order)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="can't be read"):
        read_backbone(tmp_path / "none", weight_order(family_spec("yolov3-tiny")))
