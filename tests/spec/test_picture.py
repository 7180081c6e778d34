"""The drawing of a network: read back from the SVG, box by box and arrow by arrow."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from yolov3.spec import FAMILY, Spec, load_spec
from yolov3.spec.picture import draw_network

from .networks import TEXTS, odd_spec, random_spec

SVG = "{http://www.w3.org/2000/svg}"
SEEDS = range(40)
Rectangle = tuple[float, float, float, float]
Point = tuple[float, float]


class Drawing:
    """What can be seen in the SVG text."""

    def __init__(self, spec: Spec, size: int | None = None, title: str = "a network") -> None:
        stride = spec.network.max_stride
        self.spec = spec
        self.size = size or -(-128 // stride) * stride
        self.text = draw_network(spec, (self.size, self.size), title)
        self.root = ET.fromstring(self.text)
        self.rows = {int(group.attrib["data-row"]): group for group in self.groups("row")}
        self.heads = {int(group.attrib["data-head"]): group for group in self.groups("head")}

    def groups(self, name: str) -> list[ET.Element]:
        return [group for group in self.root.iter(f"{SVG}g") if group.attrib["class"] == name]

    def boxes(self) -> dict[tuple[str, int], Rectangle]:
        """Each row's and head's own rectangle: left, top, right, bottom."""
        named = [(("row", row), group) for row, group in self.rows.items()]
        named += [(("head", head), group) for head, group in self.heads.items()]
        return {name: rectangle(next(r for r in group if r.get("class") == "box")) for name, group in named}

    def arrows(self) -> list[tuple[int, tuple[str, int], list[Point]]]:
        """The row where each arrow starts, the box where it ends, and its corners."""
        result = []
        for group in self.groups("arrow"):
            if "data-from" in group.attrib:
                kind, place = ("row", "data-to") if "data-to" in group.attrib else ("head", "data-head")
                line = next(path for path in group if path.get("class") == "line")
                ends = (kind, int(group.attrib[place]))
                result.append((int(group.attrib["data-from"]), ends, corners(line.attrib["d"])))
        return result

    def words(self, group: ET.Element) -> list[str]:
        return [text.text or "" for text in group.iter(f"{SVG}text")]


def rectangle(element: ET.Element) -> Rectangle:
    x, y, width, height = (float(element.attrib[name]) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def corners(data: str) -> list[Point]:
    """The points that a path with rounded corners goes through: start, the corners' control points, end."""
    steps = re.findall(r"([MLQ])([-\d. ]+)", data)
    numbers = [[float(value) for value in values.split()] for _, values in steps]
    turns = [(values[0], values[1]) for (kind, _), values in zip(steps, numbers, strict=True) if kind == "Q"]
    return [(numbers[0][0], numbers[0][1]), *turns, (numbers[-1][-2], numbers[-1][-1])]


def overlap(one: Rectangle, other: Rectangle, slack: float = 0.2) -> bool:
    return (
        one[0] < other[2] - slack
        and other[0] < one[2] - slack
        and one[1] < other[3] - slack
        and other[1] < one[3] - slack
    )


def around(start: Point, end: Point, rim: float = 0.5) -> Rectangle:
    """A straight piece as a thin rectangle."""
    (x, y), (x2, y2) = start, end
    return min(x, x2) - rim, min(y, y2) - rim, max(x, x2) + rim, max(y, y2) + rim


def drawn(name: str | int) -> Drawing:
    if isinstance(name, int):
        return Drawing(random_spec(random.Random(name)))
    return Drawing(odd_spec(name) if name in TEXTS else load_spec(name))


@pytest.fixture(params=[*FAMILY, *TEXTS, *SEEDS], scope="module", ids=str)
def drawing(request: pytest.FixtureRequest) -> Drawing:
    return drawn(request.param)


def test_every_row_and_head_is_there_with_its_numbers(drawing: Drawing) -> None:
    rows, network = drawing.spec.rows, drawing.spec.network
    assert sorted(drawing.rows) == list(range(-1, len(rows) - 1))
    for row in rows[:-1]:
        words = drawing.words(drawing.rows[row.index])
        assert str(row.index) in words and row.module.removeprefix("nn.") in words
    assert sorted(drawing.heads) == list(range(len(network.heads)))
    for place, head in enumerate(network.heads):
        words = drawing.words(drawing.heads[place])
        assert all(f"{width:g}×{height:g}" in words for width, height in head.anchors)
        assert any(f"{drawing.size // head.stride}×{drawing.size // head.stride} cells" in word for word in words)


def test_boxes_keep_apart_and_on_the_page(drawing: Drawing) -> None:
    boxes = list(drawing.boxes().values())
    _, _, width, height = map(float, drawing.root.attrib["viewBox"].split())
    assert not [pair for pair in combinations(boxes, 2) if overlap(*pair)]
    assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height for box in boxes)


def test_arrows_join_the_right_boxes_and_run_through_none(drawing: Drawing) -> None:
    boxes, arrows = drawing.boxes(), drawing.arrows()
    joined = {(source, end) for source, end, _ in arrows}
    stacked = [
        row.index for row in drawing.spec.rows[:-1] if not [end for _, end in joined if end == ("row", row.index)]
    ]
    expected = {(source, ("row", row.index)) for row in drawing.spec.rows[:-1] for source in row.sources}
    expected -= {(row - 1, ("row", row)) for row in stacked}
    expected |= {(source, ("head", place)) for place, source in enumerate(drawing.spec.rows[-1].sources)}
    assert joined == expected
    for row in stacked:  # right under the row that feeds it
        assert drawing.spec.rows[row].sources == (row - 1,)
        assert boxes["row", row][0] == boxes["row", row - 1][0]
        assert 0 < boxes["row", row][1] - boxes["row", row - 1][3] < 20
    for source, end, points in arrows:
        assert overlap(around(points[0], points[0], 2), boxes["row", source])
        assert overlap(around(points[-1], points[-1], 2), boxes[end])
        for piece in pairwise(points):
            assert piece[0][0] == piece[1][0] or piece[0][1] == piece[1][1], "arrows run straight across or down"
            assert not [name for name, box in boxes.items() if overlap(around(*piece, 0), box, -0.5)][2:]
            hit = [name for name, box in boxes.items() if overlap(around(*piece, 0.1), box, 0.5)]
            assert not hit


def test_arrows_of_different_rows_never_lie_on_each_other(drawing: Drawing) -> None:
    pieces = [(source, piece) for source, _, points in drawing.arrows() for piece in pairwise(points)]
    for (source, one), (other_source, other) in combinations(pieces, 2):
        alike = (one[0][0] == one[1][0]) == (other[0][0] == other[1][0])
        if source != other_source and alike:
            assert not overlap(around(*one), around(*other)), (source, one, other_source, other)


def test_coarser_cells_lie_lower(drawing: Drawing) -> None:
    network, boxes = drawing.spec.network, drawing.boxes()
    stride = {row.index: network.operations[network.row_outputs[row.index]].reduction for row in drawing.spec.rows[:-1]}
    for one, other in combinations(stride, 2):
        if stride[one] != stride[other]:
            assert (boxes["row", one][1] < boxes["row", other][1]) == (stride[one] < stride[other])


def test_legend_stands_clear_and_explains_each_kind(drawing: Drawing) -> None:
    legend = drawing.groups("legend")[0]
    frame = rectangle(next(iter(legend)))
    assert not [box for box in drawing.boxes().values() if overlap(frame, box)]
    for _, _, points in drawing.arrows():
        assert not [piece for piece in pairwise(points) if overlap(frame, around(*piece))]
    words = drawing.words(legend)
    assert {row.module.removeprefix("nn.") for row in drawing.spec.rows} <= set(words)
    assert frame[3] <= float(drawing.root.attrib["height"])


def test_anchors_are_drawn_to_one_scale(drawing: Drawing) -> None:
    ratios = []
    for place, head in enumerate(drawing.spec.network.heads):
        rects = [rectangle(r) for r in drawing.heads[place] if r.get("class") == "anchor"]
        assert len(rects) == len(head.anchors)
        frame = drawing.boxes()["head", place]
        for rect, (width, height) in zip(rects, head.anchors, strict=True):
            assert not [side for side, limit in zip(rect[:2], frame[:2], strict=True) if side < limit - 0.1]
            assert rect[2] <= frame[2] + 0.1 and rect[3] <= frame[3]
            ratios += [((rect[2] - rect[0]) / width, 0.06 / width), ((rect[3] - rect[1]) / height, 0.06 / height)]
    lowest = max(ratio - error for ratio, error in ratios)
    assert all(ratio + error >= lowest for ratio, error in ratios)


def test_the_text_is_plain_and_the_same_each_time(drawing: Drawing) -> None:
    again = draw_network(drawing.spec, (drawing.size, drawing.size), "a network")
    assert again == drawing.text
    assert not re.search(r"<script|<image|href|url\(|@import|javascript|\bon\w+=", drawing.text)
    assert re.findall(r"https?://[^\"]+", drawing.text) == ["http://www.w3.org/2000/svg"]
    assert {group.tag.removeprefix(SVG) for group in drawing.root.iter()} <= {
        "svg", "g", "rect", "path", "text", "title", "desc", "style",
    }  # fmt: skip


def test_the_paper_is_its_own(drawing: Drawing) -> None:
    _, _, width, height = map(float, drawing.root.attrib["viewBox"].split())
    paper = drawing.groups("paper")[0][0]
    assert rectangle(paper) == (0, 0, width, height) and paper.attrib["fill"].startswith("#f")


@pytest.mark.parametrize("name", FAMILY)
def test_family_fits_a_screen(name: str) -> None:
    drawing = drawn(name)
    assert float(drawing.root.attrib["width"]) <= 1800


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("yolov3", 6, ["6", "×8", "Bottleneck", "1×1, 3×3, add", "256×16×16"]),
        ("yolov3", 7, ["7", "Conv", "3×3 /2", "512×8×8"]),
        ("yolov3", 27, ["27", "×2", "Bottleneck", "1×1, 3×3", "256×16×16"]),
        ("yolov3", 25, ["25", "Concat", "128 + 256", "384×16×16"]),
        ("yolov3-spp", 12, ["12", "SPP", "pools 5, 9, 13", "512×4×4"]),
        ("yolov3-tiny", 11, ["11", "ZeroPad2d", "right, bottom", "512×5×5"]),
        ("yolov3-tiny", 12, ["12", "MaxPool2d", "2×2", "512×4×4"]),
        ("slices", 2, ["2", "Slice", "channels", "16 to 31", "16×32×32"]),
        ("slices", 9, ["9", "Conv", "3×3, 4 groups,", "linear, no BN", "64×16×16"]),
        ("slices", 11, ["11", "×2", "MaxPool2d", "3×3", "64×17×17"]),
        ("sums", 3, ["3", "Add", "2 inputs, leaky", "16×128×128"]),
        ("sums", 9, ["9", "Concat", "4 inputs", "64×64×64"]),
        ("shared anchors, multiples", 1, ["1", "Bottleneck", "1×1, 3×3, add", "16×64×64"]),
        ("shared anchors, multiples", 2, ["2", "×3", "Conv", "3×3", "32×64×64"]),
    ],
)
def test_a_box_says_what_its_row_does(name: str, row: int, words: list[str]) -> None:
    drawing = drawn(name)
    said = drawing.words(drawing.rows[row])
    assert sorted(said) == sorted(words)


def test_joins_from_afar_have_their_own_colour() -> None:
    drawing = drawn("yolov3")
    coloured = {
        (int(group.attrib["data-from"]), int(group.attrib["data-to"]))
        for group in drawing.groups("arrow")
        if "data-to" in group.attrib and group[0].attrib["stroke"] == "#bf4f1b"
    }
    assert coloured == {(8, 18), (6, 25)}


def test_stages_of_the_backbone_are_labelled() -> None:
    drawing = Drawing(load_spec("yolov3"), 416)
    labels = [drawing.words(group) for group in drawing.groups("stage")]
    assert labels == [
        ["stage 1"],
        ["stage 2: 64×208×208"],
        ["stage 3: 128×104×104"],
        ["stage 4: 256×52×52"],
        ["stage 5: 512×26×26"],
        ["stage 6: 1024×13×13"],
    ]


def test_sides_may_differ() -> None:
    text = draw_network(load_spec("yolov3-tiny"), (320, 192), "wide")
    assert "3×192×320" in text and "20×12 cells" in text and "output 1×3×12×20×85" in text


def test_decoding_that_departs_from_the_paper_is_said() -> None:
    words = " ".join(drawn("slices").words(drawn("slices").heads[0]))
    assert "1.05" in words and "(2σ(tw))²" not in words
    assert "(2σ(tw))²" in " ".join(drawn("slices").words(drawn("slices").heads[1]))


@pytest.mark.parametrize(
    "title", ["<script>alert(1)</script>", 'a "b" & c\'s', "\x00\x1b[31m\ud800 \U0001f600", "x" * 500, ""]
)
def test_any_title_gives_valid_xml(title: str) -> None:
    drawing = Drawing(odd_spec("one head"), title=title)
    shown = drawing.root.findtext(f"{SVG}title")
    assert shown is not None and "\x00" not in shown
    assert title.startswith("\x00") or shown == title


def test_a_very_long_network_is_drawn() -> None:
    rows = "".join(f"  - [-1, 1, Conv, [{4 + place % 3}, 1, 1]]\n" for place in range(1500))
    from yolov3.spec import read_spec

    spec = read_spec(f"nc: 1\nanchors: [[1, 1]]\nbackbone:\n{rows}head:\n  - [-1, 1, Detect, [nc, anchors]]\n", "long")
    drawing = Drawing(spec, 8)
    assert len(drawing.rows) == 1501


@pytest.mark.parametrize(
    "name", ["yolov3.cfg", "yolov3-spp.cfg", "yolov3-tiny.cfg", "yolov3-voc.cfg", "yolov3-openimages.cfg"]
)
def test_official_cfgs(shared: Path, name: str) -> None:
    from yolov3.darknet import load_cfg

    network = load_cfg(shared / "darknet" / name)
    drawing = Drawing(network.spec, network.size_wh[0])
    test_boxes_keep_apart_and_on_the_page(drawing)
    test_arrows_join_the_right_boxes_and_run_through_none(drawing)


def test_command_writes_the_picture(cli: Callable[..., Any], tmp_path: Path) -> None:
    target = tmp_path / "net.svg"
    result = cli("show", "yolov3-tiny", "--picture", target)
    assert result.code == 0 and "yolov3-tiny" in target.read_text()
    assert "8,852,366 parameters" in result.out
    assert target.read_text() == draw_network(load_spec("yolov3-tiny"), (416, 416), "yolov3-tiny")


@pytest.mark.parametrize("name", ["net.png", "net", "net.svgz"])
def test_only_svg_is_written(cli: Callable[..., Any], tmp_path: Path, name: str) -> None:
    result = cli("show", "yolov3-tiny", "--picture", tmp_path / name)
    assert result.code == 2 and ".svg" in result.err and not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(cli: Callable[..., Any], tmp_path: Path) -> None:
    result = cli("show", "yolov3-tiny", "--picture", tmp_path / "no" / "net.svg")
    assert result.code == 1 and "net.svg" in result.err and result.out == ""
