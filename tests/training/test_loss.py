"""Both losses: gradients against Darknet's deltas, terms against slow references, hand-computed cases, awkward data."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from yolov3.geometry import box_iou, cxcywh_to_xyxy
from yolov3.spec import Anchors, Head
from yolov3.training.assign import Positives
from yolov3.training.loss import DarknetRecipe, ModernRecipe, Recipe, Terms, Truth

from .test_assign import ANCHORS, NC, SIZE_HW, heads_of, random_truth, slow_darknet, slow_modern
from .test_boxes import slow_ciou

NO_CROWD = np.zeros((0, 5), np.float32)


def sigmoid(value: np.ndarray | float) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.asarray(value, np.float64))))


def random_outputs(rng: np.random.Generator, count: int = 2) -> list[np.ndarray]:
    return [
        rng.normal(0, 1.5, (count, len(mask), SIZE_HW[0] // stride, SIZE_HW[1] // stride, 5 + NC))
        for mask, stride in zip(ANCHORS.masks, (8, 16), strict=True)
    ]


def slow_decode(raw: np.ndarray, head: Head, anchor: int, row: int, column: int) -> list[float]:
    x, y = ((sigmoid(raw[:2]) - 0.5) * head.xy_scale + 0.5 + (column, row)) * head.stride
    size = np.exp(raw[2:4]) if head.wh == "exp" else (2 * sigmoid(raw[2:4])) ** 2
    w, h = size * head.anchors[anchor]
    return [float(x), float(y), float(w), float(h)]


def run(
    recipe: Recipe, outputs: list[np.ndarray], boxes: np.ndarray, crowd: np.ndarray = NO_CROWD
) -> tuple[Terms, list[np.ndarray]]:
    """The terms, and the gradients of their sum with respect to the raw values."""
    tensors = [torch.tensor(output, dtype=torch.float64, requires_grad=True) for output in outputs]
    truth = Truth(torch.tensor(boxes, dtype=torch.float64), torch.tensor(crowd, dtype=torch.float64))
    terms = recipe.terms(tensors, truth, recipe.assign(truth.boxes, SIZE_HW))
    sum(terms).backward()
    return terms, [tensor.grad.numpy() for tensor in tensors]


def slow_darknet_deltas(
    outputs: list[np.ndarray], truth: np.ndarray, heads: tuple[Head, ...], threshold: float
) -> list[np.ndarray]:
    """`delta` as yolo_layer.c fills it, for xy_scale 1 and exp; its gradient is the negative."""
    deltas = [np.zeros_like(output) for output in outputs]
    for place, (output, head, delta) in enumerate(zip(outputs, heads, deltas, strict=True)):
        for image, anchor, row, column in np.ndindex(output.shape[:4]):
            raw = output[image, anchor, row, column]
            box = cxcywh_to_xyxy(np.array([slow_decode(raw, head, anchor, row, column)]))
            true = cxcywh_to_xyxy(truth[truth[:, 0] == image, 2:].astype(float))
            best = box_iou(box, true).max(initial=0)
            delta[image, anchor, row, column, 4] = 0 if best > threshold else -sigmoid(raw[4])
        for key, (box, labels) in slow_darknet(truth, heads)[place].items():
            raw, target = output[key], delta[key]
            (cx, cy, w, h), (aw, ah) = box, head.anchors[key[1]]
            scale = 2 - w * h / (SIZE_HW[0] * SIZE_HW[1])
            target[0] = scale * (cx / head.stride - key[3] - sigmoid(raw[0]))
            target[1] = scale * (cy / head.stride - key[2] - sigmoid(raw[1]))
            target[2] = scale * (math.log(w / aw) - raw[2])
            target[3] = scale * (math.log(h / ah) - raw[3])
            target[4] = 1 - sigmoid(raw[4])
            target[5:] = [float(label in labels) for label in range(NC)] - sigmoid(raw[5:])
    return deltas


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("threshold", [0.7, 0.5, 0.1])
def test_darknet_gradients_are_darknets_deltas(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    outputs, truth = random_outputs(rng), random_truth(rng, 12)
    recipe = DarknetRecipe(ANCHORS, heads_of(), NC, threshold)
    _, gradients = run(recipe, outputs, truth)
    expected = slow_darknet_deltas(outputs, truth[truth[:, 4] > 0], heads_of(), threshold)
    for gradient, delta in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(-gradient, delta, atol=1e-9)


def one_head(**how: object) -> tuple[Anchors, Head]:
    anchors = Anchors(((8.0, 8.0),), ((0,),))
    return anchors, replace(Head(anchors.of_head(0), 32), **how)


def test_darknet_gradients_by_hand() -> None:
    """One cell of 32 pixels, all raw values 0, a box of 16 × 4 at (8, 24), class 1 of 2."""
    anchors, head = one_head()
    recipe = DarknetRecipe(anchors, (head,), 2)
    raw = torch.zeros(1, 1, 1, 1, 7, requires_grad=True)
    truth = Truth(torch.tensor([[0.0, 1.0, 8.0, 24.0, 16.0, 4.0]]), torch.zeros(0, 5))
    terms = recipe.terms([raw], truth, recipe.assign(truth.boxes, (32, 32)))
    sum(terms).backward()
    scale = 2 - 16 * 4 / 1024  # 1.9375
    expected = [scale * (0.5 - 0.25), scale * (0.5 - 0.75), -scale * math.log(2), scale * math.log(2), -0.5, 0.5, -0.5]
    np.testing.assert_allclose(raw.grad.flatten(), expected, rtol=1e-6)
    box = scale * (2 * math.log(2) + math.log(2) ** 2)  # two logistic errors at σ = ½, two halves of (log 2)²
    np.testing.assert_allclose([term.item() for term in terms], [box, math.log(2), 2 * math.log(2)], rtol=1e-6)


def test_darknet_gradients_by_hand_of_an_empty_picture() -> None:
    anchors, head = one_head()
    recipe = DarknetRecipe(anchors, (head,), 2)
    raw = torch.full((1, 1, 1, 1, 7), math.log(3.0), requires_grad=True)  # σ = 3/4
    truth = Truth(torch.zeros(0, 6), torch.zeros(0, 5))
    terms = recipe.terms([raw], truth, recipe.assign(truth.boxes, (32, 32)))
    sum(terms).backward()
    np.testing.assert_allclose(raw.grad.flatten(), [0, 0, 0, 0, 0.75, 0, 0], rtol=1e-6)
    np.testing.assert_allclose([term.item() for term in terms], [0, math.log(4), 0], rtol=1e-6)


@pytest.mark.parametrize("wh", ["exp", "square"])
@pytest.mark.parametrize("xy_scale", [1.0, 1.2, 2.0])
def test_darknet_box_gradient_vanishes_at_the_true_box_under_every_decoding(xy_scale: float, wh: str) -> None:
    anchors, head = one_head(xy_scale=xy_scale, wh=wh)
    recipe = DarknetRecipe(anchors, (head,), 1)
    inside = (0.3 - 0.5) / xy_scale + 0.5
    centre = math.log(inside / (1 - inside))
    half = math.sqrt(1.5) / 2
    size = math.log(1.5) if wh == "exp" else math.log(half / (1 - half))
    raw = torch.tensor([centre, centre, size, size, 0, 0], dtype=torch.float64).view(1, 1, 1, 1, 6).requires_grad_()
    truth = Truth(torch.tensor([[0, 0, 9.6, 9.6, 12, 12]], dtype=torch.float64), torch.zeros(0, 5))
    recipe.terms([raw], truth, recipe.assign(truth.boxes, (32, 32))).box.backward()
    np.testing.assert_allclose(raw.grad.flatten()[:4], 0, atol=1e-9)


def test_darknet_prediction_above_the_threshold_is_left_out_unless_it_answers() -> None:
    """Two anchors of one shape: only the first answers; the second predicts the same good box and isn't punished."""
    anchors = Anchors(((16.0, 16.0), (16.0, 16.0)), ((0, 1),))
    recipe = DarknetRecipe(anchors, (Head(anchors.of_head(0), 32),), 1)
    raw = torch.zeros(1, 2, 1, 1, 6, requires_grad=True)
    truth = Truth(torch.tensor([[0.0, 0.0, 16.0, 16.0, 16.0, 16.0]]), torch.zeros(0, 5))
    recipe.terms([raw], truth, recipe.assign(truth.boxes, (32, 32))).objectness.backward()
    assert raw.grad[0, :, 0, 0, 4].tolist() == [-0.5, 0.0]


@pytest.mark.parametrize("kind", ["darknet", "modern"])
def test_crowds_are_neither_objects_nor_background(kind: str) -> None:
    rng = np.random.default_rng(3)
    outputs = random_outputs(rng)
    boxes = np.array([[0, 1, 20, 20, 8, 9], [1, 1, 50, 30, 20, 14]], np.float32)
    crowd = np.array([[1, 0, 0, 48, 64], [1, 40, 30, 60, 50]], np.float32)
    recipe = make(kind)
    _, with_crowd = run(recipe, outputs, boxes, crowd)
    _, without = run(recipe, outputs, boxes)
    for place, head in enumerate(heads_of()):
        answering = slow_places(kind, boxes)[place]
        for key in np.ndindex(outputs[place].shape[:4]):
            x, y, w, h = slow_decode(outputs[place][key], head, *key[1:])
            shares = [
                max(min(x + w / 2, x2) - max(x - w / 2, x1), 0) * max(min(y + h / 2, y2) - max(y - h / 2, y1), 0)
                for image, x1, y1, x2, y2 in crowd.tolist()
                if image == key[0]
            ]
            ignored = any(share > 0.5 * w * h for share in shares) and key not in answering
            expected = 0.0 if ignored else without[place][key][4]
            np.testing.assert_allclose(with_crowd[place][key][4], expected, atol=1e-9)


def make(kind: str) -> Recipe:
    return DarknetRecipe(ANCHORS, heads_of(), NC, 0.99) if kind == "darknet" else ModernRecipe(heads_of(), NC)


def slow_places(kind: str, boxes: np.ndarray) -> list[dict]:
    return slow_darknet(boxes, heads_of()) if kind == "darknet" else slow_modern(boxes, heads_of())


def cross_entropy(raw: float, target: float, focal: float = 0.0) -> float:
    p = float(sigmoid(raw))
    return abs(target - p) ** focal * -(target * math.log(p) + (1 - target) * math.log(1 - p))


@pytest.mark.parametrize("wh", ["exp", "square"])
@pytest.mark.parametrize(("focal", "smoothing", "share"), [(0, 0, 1), (1.5, 0, 1), (0, 0.1, 0.5), (2, 0.05, 0)])
def test_modern_terms_against_loops(wh: str, focal: float, smoothing: float, share: float) -> None:
    rng = np.random.default_rng(7)
    heads = heads_of(2.0, wh)
    outputs, boxes = random_outputs(rng), random_truth(rng, 10)
    recipe = ModernRecipe(heads, NC, 4.0, 2.0, 3.0, 0.5, share, focal, smoothing)
    terms, _ = run(recipe, outputs, boxes)
    expected = np.zeros(3)
    for output, head, places in zip(outputs, heads, slow_modern(boxes, heads), strict=True):
        for key in np.ndindex(output.shape[:4]):
            raw, target = output[key], 0.0
            if key in places:
                box, labels = places[key]
                iou, ciou = slow_ciou(slow_decode(raw, head, *key[1:]), list(box))
                target = 1 - share * (1 - iou)
                expected[0] += 2.0 * (1 - ciou)
                for label in range(NC):
                    smooth = float(label in labels) * (1 - smoothing) + smoothing / 2
                    expected[2] += 0.5 * cross_entropy(raw[5 + label], smooth, focal)
            expected[1] += 3.0 * cross_entropy(raw[4], target, focal)
    np.testing.assert_allclose([term.item() for term in terms], expected, rtol=1e-6)


def test_modern_objectness_learns_the_iou_but_does_not_move_the_box() -> None:
    _, head = one_head(xy_scale=2.0, wh="square")
    recipe = ModernRecipe((head,), 1)
    raw = torch.zeros(1, 1, 1, 1, 6, requires_grad=True)
    truth = Truth(torch.tensor([[0.0, 0.0, 16.0, 16.0, 16.0, 8.0]]), torch.zeros(0, 5))
    recipe.terms([raw], truth, recipe.assign(truth.boxes, (32, 32))).objectness.backward()
    np.testing.assert_allclose(raw.grad.flatten(), [0, 0, 0, 0, 0.5 - 0.5, 0], atol=1e-6)  # the IoU is ½ too


@pytest.mark.parametrize("kind", ["darknet", "modern"])
def test_fault_47_empty_pictures_give_finite_losses_and_gradients(kind: str) -> None:
    outputs = random_outputs(np.random.default_rng(0))
    terms, gradients = run(make(kind), outputs, np.zeros((0, 6), np.float32))
    assert terms.box.item() == terms.classes.item() == 0 and terms.objectness.item() > 0
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert all(value > 0 for value in make(kind).divisors(2, 0))


@pytest.mark.parametrize("kind", ["darknet", "modern"])
def test_the_sums_do_not_depend_on_how_pictures_are_split_into_batches(kind: str) -> None:
    rng = np.random.default_rng(5)
    outputs, boxes = random_outputs(rng, 3), random_truth(rng, 15)
    whole, _ = run(make(kind), outputs, boxes)
    parts = np.zeros(3)
    for image in range(3):
        mine = boxes[boxes[:, 0] == image].copy()
        mine[:, 0] = 0
        terms, _ = run(make(kind), [output[image : image + 1] for output in outputs], mine)
        parts += [term.item() for term in terms]
    np.testing.assert_allclose([term.item() for term in whole], parts, rtol=1e-9)


@pytest.mark.parametrize("kind", ["darknet", "modern"])
def test_gradient_descent_on_the_raw_values_finds_the_boxes(kind: str) -> None:
    heads = heads_of(2.0, "square") if kind == "modern" else heads_of()
    recipe = ModernRecipe(heads, NC) if kind == "modern" else DarknetRecipe(ANCHORS, heads, NC)
    boxes = torch.tensor([[0, 1, 20.0, 20.0, 8.0, 9.0], [0, 2, 60.0, 40.0, 55.0, 44.0]])
    truth = Truth(boxes, torch.zeros(0, 5))
    outputs = [
        torch.zeros(1, len(head.anchors), SIZE_HW[0] // head.stride, SIZE_HW[1] // head.stride, 5 + NC)
        for head in heads
    ]
    outputs = [output.requires_grad_() for output in outputs]
    optimiser = torch.optim.Adam(outputs, lr=0.1)
    positives: list[Positives] = recipe.assign(boxes, SIZE_HW)
    for _ in range(200):
        optimiser.zero_grad()
        sum(recipe.terms(outputs, truth, positives)).backward()
        optimiser.step()
    for output, head, found in zip(outputs, heads, positives, strict=True):
        sure = (torch.sigmoid(output[..., 4]) > 0.5).nonzero().tolist()
        assert sorted(sure) == sorted(torch.stack(found.index, dim=1).tolist())
        for key, box in zip(sure, found.boxes.tolist(), strict=True):
            raw = output[tuple(key)].detach().double().numpy()
            assert slow_ciou(slow_decode(raw, head, *key[1:]), box)[0] > 0.9
