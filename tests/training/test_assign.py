"""Which cells answer: both assignments against slow references, and the named awkward cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov3.spec import Anchors, Head
from yolov3.training.assign import Positives, assign_darknet, assign_modern

SIZE_HW = (64, 96)
# Masks share the pool's index 2, as the official tiny weights share (81,82).
ANCHORS = Anchors(((6.0, 8.0), (16.0, 12.0), (30.0, 30.0), (60.0, 40.0)), ((0, 1, 2), (2, 3)))
NC = 3

Places = dict[tuple[int, int, int, int], tuple[tuple[float, ...], frozenset[int]]]


def heads_of(xy_scale: float = 1.0, wh: str = "exp") -> tuple[Head, ...]:
    return tuple(Head(ANCHORS.of_head(place), stride, xy_scale, wh) for place, stride in enumerate((8, 16)))


def as_places(positives: Positives) -> Places:
    """(image, anchor, row, column) → box and classes."""
    keys = list(zip(*(part.tolist() for part in positives.index), strict=True))
    assert len(keys) == len(set(keys)), "a place stands twice"
    values = [
        (tuple(box), frozenset(np.flatnonzero(classes).tolist()))
        for box, classes in zip(positives.boxes.tolist(), positives.classes.numpy(), strict=True)
    ]
    return dict(zip(keys, values, strict=True))


def slow_darknet(truth: np.ndarray, heads: tuple[Head, ...]) -> list[Places]:
    """Loops as in yolo_layer.c."""
    places: list[Places] = [{} for _ in heads]
    for image, label, cx, cy, w, h in truth.tolist():
        if w <= 0 or h <= 0:
            continue
        best, best_iou = 0, 0.0
        for n, (aw, ah) in enumerate(ANCHORS.pool):
            common = min(w, aw) * min(h, ah)
            iou = common / (w * h + aw * ah - common)
            if iou > best_iou:
                best, best_iou = n, iou
        for place, head in enumerate(heads):
            if best in ANCHORS.masks[place]:
                i = min(int(cx / head.stride), SIZE_HW[1] // head.stride - 1)
                j = min(int(cy / head.stride), SIZE_HW[0] // head.stride - 1)
                key = (int(image), ANCHORS.masks[place].index(best), j, i)
                before = places[place].get(key, ((), frozenset()))[1]
                places[place][key] = ((cx, cy, w, h), before | {int(label)})
    return places


def slow_modern(truth: np.ndarray, heads: tuple[Head, ...]) -> list[Places]:
    """Every anchor, every cell: is the shape similar, can the centre be reached from here, and is it near enough?"""
    result: list[Places] = []
    for head in heads:
        rows, columns = SIZE_HW[0] // head.stride, SIZE_HW[1] // head.stride
        reach = min((head.xy_scale - 1) / 2, 0.5)
        best: dict[tuple[int, int, int, int], tuple[float, int]] = {}
        for number, (image, _, cx, cy, w, h) in enumerate(truth.tolist()):
            if w <= 0 or h <= 0:
                continue
            x, y = cx / head.stride, cy / head.stride
            i, j = min(int(x), columns - 1), min(int(y), rows - 1)
            for anchor, (aw, ah) in enumerate(head.anchors):
                if max(w / aw, aw / w, h / ah, ah / h) >= 4:
                    continue
                common = min(w, aw) * min(h, ah)
                similarity = common / (w * h + aw * ah - common)
                cells = [(i, j)]
                cells += [(i - 1, j)] * (x - i < reach) + [(i + 1, j)] * (x - i > 1 - reach)
                cells += [(i, j - 1)] * (y - j < reach) + [(i, j + 1)] * (y - j > 1 - reach)
                for column, row in cells:
                    if 0 <= column < columns and 0 <= row < rows:
                        key = (int(image), anchor, row, column)
                        best[key] = max(best.get(key, (-1.0, -1)), (similarity, number))
        result.append(
            {
                key: (tuple(truth[number, 2:].tolist()), frozenset({int(truth[number, 1])}))
                for key, (_, number) in best.items()
            }
        )
    return result


def random_truth(rng: np.random.Generator, count: int) -> np.ndarray:
    """Boxes, many on the borders of cells and some equal, as float32 (count, 6)."""
    centres = rng.uniform(0, 1, (count, 2)) * (SIZE_HW[1], SIZE_HW[0])
    snapped = rng.random((count, 2)) < 0.3
    centres[snapped] = (centres[snapped] / 8).round() * 8
    sides = np.exp(rng.uniform(np.log(2), np.log(64), (count, 2)))
    truth = np.column_stack([rng.integers(0, 2, count), rng.integers(0, NC, count), centres, sides])
    if count > 4:
        truth[1, 2:] = truth[0, 2:]
        truth[2, :1], truth[2, 2:4] = truth[0, :1], truth[0, 2:4]
        truth[3, 4] = 0
    return truth.astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**31), count=st.integers(0, 40))
def test_darknet_assignment_against_loops(seed: int, count: int) -> None:
    truth = random_truth(np.random.default_rng(seed), count)
    found = assign_darknet(torch.from_numpy(truth), ANCHORS, heads_of(), NC, SIZE_HW)
    assert [as_places(head) for head in found] == slow_darknet(truth, heads_of())


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**31), count=st.integers(0, 40), xy_scale=st.sampled_from([1.0, 1.2, 2.0, 3.0]))
def test_modern_assignment_against_loops(seed: int, count: int, xy_scale: float) -> None:
    truth = random_truth(np.random.default_rng(seed), count)
    heads = heads_of(xy_scale)
    found = assign_modern(torch.from_numpy(truth), heads, NC, SIZE_HW)
    assert [as_places(head) for head in found] == slow_modern(truth, heads)


def darknet_of(*boxes: tuple[float, ...]) -> list[Places]:
    found = assign_darknet(torch.tensor(boxes).reshape(-1, 6), ANCHORS, heads_of(), NC, SIZE_HW)
    return [as_places(head) for head in found]


def modern_of(*boxes: tuple[float, ...], xy_scale: float = 2.0) -> list[Places]:
    found = assign_modern(torch.tensor(boxes).reshape(-1, 6), heads_of(xy_scale), NC, SIZE_HW)
    return [as_places(head) for head in found]


def test_empty_pictures_have_no_positives() -> None:
    assert darknet_of() == [{}, {}] and modern_of() == [{}, {}]


def test_one_box_goes_to_the_head_of_its_best_anchor() -> None:
    box = (0.0, 1.0, 20.0, 30.0, 6.0, 8.0)
    assert darknet_of(box) == [{(0, 0, 3, 2): (box[2:], {1})}, {}]


def test_two_heads_that_share_the_best_anchor_both_answer() -> None:
    box = (1.0, 2.0, 20.0, 30.0, 30.0, 30.0)
    assert darknet_of(box) == [{(1, 2, 3, 2): (box[2:], {2})}, {(1, 0, 1, 1): (box[2:], {2})}]


def test_of_equally_good_anchors_the_first_wins() -> None:
    anchors = Anchors(((8.0, 16.0), (16.0, 8.0)), ((1, 0),))
    head = Head(anchors.of_head(0), 8)
    (found,) = assign_darknet(torch.tensor([[0, 0, 4.0, 4.0, 8.0, 8.0]]), anchors, (head,), 1, (8, 8))
    assert found.anchor.tolist() == [1]  # the pool's first is the head's second


def test_two_boxes_in_one_place_the_last_box_and_both_classes() -> None:
    first, second = (0.0, 0.0, 20.0, 30.0, 6.0, 8.0), (0.0, 2.0, 21.0, 29.0, 6.5, 8.0)
    assert darknet_of(first, second)[0] == {(0, 0, 3, 2): (second[2:], {0, 2})}


@pytest.mark.parametrize(("cx", "column"), [(0.0, 0), (7.9999, 0), (8.0, 1), (95.9, 11), (96.0, 11), (-0.5, 0)])
def test_centres_on_cell_borders_and_picture_edges(cx: float, column: int) -> None:
    box = (0.0, 0.0, cx, 64.0, 6.0, 8.0)
    assert list(darknet_of(box)[0]) == [(0, 0, 7, column)]


def test_modern_takes_the_nearer_neighbour_in_each_direction() -> None:
    box = (0.0, 0.0, 19.0, 30.0, 7.0, 7.0)  # cell (2, 3), 3/8 and 6/8 inside
    places = {key[2:] for key in modern_of(box)[0] if key[1] == 0}
    assert places == {(3, 2), (3, 1), (4, 2)}


def test_modern_takes_no_neighbour_that_the_decoding_can_not_reach() -> None:
    box = (0.0, 0.0, 19.0, 30.0, 7.0, 7.0)
    assert {key[2:] for key in modern_of(box, xy_scale=1.0)[0]} == {(3, 2)}


def test_modern_stays_inside_the_picture() -> None:
    places = modern_of((0.0, 0.0, 1.0, 63.0, 7.0, 7.0))[0]
    assert {key[2:] for key in places} == {(7, 0)}


def test_modern_in_one_place_the_box_nearest_to_the_anchor_wins() -> None:
    near, far = (0.0, 1.0, 20.0, 30.0, 6.0, 8.0), (0.0, 2.0, 20.0, 30.0, 12.0, 16.0)
    for boxes in ((near, far), (far, near)):
        places = modern_of(*boxes)[0]
        assert places[0, 0, 3, 2] == (near[2:], {1}) and places[0, 1, 3, 2] == (far[2:], {2})


def test_modern_a_box_unlike_every_anchor_is_nobodys() -> None:
    assert modern_of((0.0, 0.0, 20.0, 30.0, 90.0, 1.0)) == [{}, {}]


@pytest.mark.parametrize("sides", [(0.0, 5.0), (5.0, 0.0), (-1.0, 5.0)])
def test_boxes_without_area_are_nobodys(sides: tuple[float, float]) -> None:
    box = (0.0, 0.0, 20.0, 30.0, *sides)
    assert darknet_of(box) == [{}, {}] and modern_of(box) == [{}, {}]
