"""Anchors: k-means against a slow implementation, the report, the Spec that is written, the picture."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov3.anchors import (
    box_shapes,
    draw_anchors,
    fit_anchors,
    measure_anchors,
    shape_iou,
    suggest_anchors,
    with_anchors,
)
from yolov3.data import Sample, load_dataset
from yolov3.data.rows import Objects
from yolov3.errors import DataError, UsageError
from yolov3.spec import Anchors, load_spec, read_spec, write_spec

Shape = tuple[float, float]


# ------------------------------------------------------------------------------- slow reference


def slow_iou(one: Shape, other: Shape) -> float:
    shared = min(one[0], other[0]) * min(one[1], other[1])
    return shared / (one[0] * one[1] + other[0] * other[1] - shared)


def slow_mean_iou(shapes: Sequence[Shape], anchors: Sequence[Shape]) -> float:
    return sum(max(slow_iou(shape, anchor) for anchor in anchors) for shape in shapes) / len(shapes)


def slow_k_means(shapes: Sequence[Shape], clusters: int, restarts: int, rounds: int = 25) -> float:
    """The largest mean best IoU of any iterate of textbook k-means (random first centres, means) with 1 − IoU."""
    chance = random.Random(7)
    best = 0.0
    for _ in range(restarts):
        centres = chance.sample(list(shapes), clusters)
        for _ in range(rounds):
            members: list[list[Shape]] = [[] for _ in centres]
            total = 0.0
            for shape in shapes:
                overlaps = [slow_iou(shape, centre) for centre in centres]
                nearest = max(range(clusters), key=overlaps.__getitem__)
                members[nearest].append(shape)
                total += overlaps[nearest]
            best = max(best, total / len(shapes))
            moved = [
                (sum(w for w, _ in group) / len(group), sum(h for _, h in group) / len(group)) if group else centre
                for group, centre in zip(members, centres, strict=True)
            ]
            if moved == centres:
                break
            centres = moved
    return best


def vectorised_k_means(shapes: np.ndarray, clusters: int, move: Callable[..., np.ndarray], restarts: int) -> float:
    """The same with arrays, for many boxes and restarts; `move` gives a cluster's centre."""
    rng = np.random.default_rng(1)
    best = 0.0
    for _ in range(restarts):
        centres = shapes[rng.choice(len(shapes), clusters, replace=False)]
        for _ in range(60):
            shared = np.minimum(shapes[:, None], centres[None]).prod(axis=2)
            iou = shared / (shapes.prod(axis=1)[:, None] + centres.prod(axis=1)[None] - shared)
            best = max(best, float(iou.max(axis=1).mean()))
            groups = [shapes[iou.argmax(axis=1) == index] for index in range(clusters)]
            moved = np.array([move(g, axis=0) if len(g) else old for g, old in zip(groups, centres, strict=True)])
            if np.array_equal(moved, centres):
                break
            centres = moved
    return best


def synthetic(count: int, seed: int = 0) -> np.ndarray:
    """Boxes of three kinds and of all shapes between."""
    rng = np.random.default_rng(seed)
    kinds = np.array([[12, 20], [60, 40], [150, 200]])[rng.integers(0, 3, count)]
    return np.clip(kinds * np.exp(rng.normal(0, 0.4, (count, 2))), 1, 416)


def mean_best_iou(shapes: np.ndarray, anchors: np.ndarray) -> float:
    return float(shape_iou(shapes, anchors).max(axis=1).mean())


# ---------------------------------------------------------------------------------- clustering


@pytest.mark.parametrize(("clusters", "seed"), [(1, 0), (3, 1), (6, 2), (9, 3)])
def test_k_means_equals_or_beats_a_slow_implementation_with_many_restarts(clusters: int, seed: int) -> None:
    shapes = synthetic(200, seed)
    slow = slow_k_means([tuple(shape) for shape in shapes.tolist()], clusters, restarts=12)
    assert mean_best_iou(shapes, fit_anchors(shapes, clusters)) >= slow


@pytest.mark.parametrize("name", ["coco128/instances.json", "bccd"])
def test_k_means_equals_or_beats_the_slow_one_on_real_boxes(shared: Path, name: str) -> None:
    dataset = load_dataset(shared / name, bad_labels="skip-row")
    shapes = box_shapes((sample for members in dataset.samples.values() for sample in members), (416, 416))
    assert len(shapes) == {"bccd": 4886}.get(name, 929)
    some = shapes[:: max(1, len(shapes) // 500)]
    slow = slow_k_means([tuple(shape) for shape in some.tolist()], 9, restarts=5)
    assert mean_best_iou(some, fit_anchors(some, 9)) >= slow


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coco128/instances.json", "bccd"])
def test_k_means_equals_or_beats_a_hundred_runs_on_all_real_boxes(shared: Path, name: str) -> None:
    """On every box, against means and medians from random first boxes. (The table of docs/anchors.md.)"""
    dataset = load_dataset(shared / name, bad_labels="skip-row")
    shapes = box_shapes((sample for members in dataset.samples.values() for sample in members), (416, 416))
    ours = mean_best_iou(shapes, fit_anchors(shapes, 9))
    for move in (np.mean, np.median):
        assert ours >= vectorised_k_means(shapes, 9, move, restarts=100)


def test_bccd_gains_much_from_its_own_anchors_and_coco128_little(shared: Path) -> None:
    """The numbers of docs/anchors.md."""
    spec = load_spec("yolov3")
    reports = {}
    for name in ("coco128/instances.json", "bccd"):
        dataset = load_dataset(shared / name, bad_labels="skip-row")
        samples = [sample for members in dataset.samples.values() for sample in members]
        reports[name] = suggest_anchors(box_shapes(samples, (416, 416)), spec, (416, 416))
    bccd, coco = reports["bccd"], reports["coco128/instances.json"]
    assert bccd.baseline.mean_iou == pytest.approx(0.648, abs=5e-4)
    assert bccd.mean_iou == pytest.approx(0.885, abs=1e-3)
    assert bccd.worthwhile
    assert bccd.verdict.startswith("replace the anchors: ")
    assert coco.baseline.mean_iou == pytest.approx(0.587, abs=5e-4)
    assert not coco.worthwhile
    assert coco.verdict.startswith("keep the anchors: ")


def test_equal_seeds_give_equal_anchors_in_order_of_area() -> None:
    shapes = synthetic(500)
    anchors = fit_anchors(shapes, 5, seed=3)
    assert np.array_equal(anchors, fit_anchors(shapes, 5, seed=3))
    areas = anchors.prod(axis=1)
    assert (np.diff(areas) >= 0).all()


def test_very_many_boxes_go_through_a_sample_and_end_near_what_all_of_them_give() -> None:
    shapes = synthetic(30_000)
    fitted = fit_anchors(shapes, 4)
    assert mean_best_iou(shapes, fitted) == pytest.approx(
        mean_best_iou(shapes, fit_anchors(shapes[:9000], 4)), abs=5e-3
    )


def test_as_many_clusters_as_shapes_fit_perfectly() -> None:
    shapes = np.array([[10.0, 20], [30, 30], [5, 80]] * 4)
    assert sorted(fit_anchors(shapes, 3).tolist()) == sorted(shapes[:3].tolist())


def test_too_few_different_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="2 different box shapes for 3 anchors"):
        fit_anchors(np.array([[10.0, 20], [30, 30]] * 50), 3)
    with pytest.raises(UsageError, match="0 clusters"):
        fit_anchors(synthetic(10), 0)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.floats(0.1, 500), st.floats(0.1, 500)), min_size=4, max_size=40, unique=True))
def test_any_shapes_get_finite_positive_anchors(shapes: list[Shape]) -> None:
    array = np.array(shapes)
    anchors = fit_anchors(array, 3, restarts=2)
    assert anchors.shape == (3, 2)
    assert np.isfinite(anchors).all()
    assert (anchors > 0).all()


# --------------------------------------------------------------------------------- measurements


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.floats(1, 400), st.floats(1, 400)), min_size=1, max_size=30))
def test_measurements_equal_the_slow_ones(shapes: list[Shape]) -> None:
    anchors = [(10.0, 14.0), (81.0, 82.0), (344.0, 319.0)]
    coverage = measure_anchors(np.array(shapes), anchors)
    best = [max(slow_iou(shape, anchor) for anchor in anchors) for shape in shapes]
    factors = [
        min(max(s / a if s > a else a / s for s, a in zip(shape, anchor, strict=True)) for anchor in anchors)
        for shape in shapes
    ]
    assert coverage.mean_iou == pytest.approx(sum(best) / len(best))
    assert coverage.recall == pytest.approx(sum(iou >= 0.5 for iou in best) / len(best))
    assert coverage.ratio_recall == pytest.approx(sum(factor <= 4 for factor in factors) / len(best))


def sample_of(
    boxes: Sequence[Sequence[float]], size_wh: tuple[int, int], crowd: Sequence[bool] | None = None
) -> Sample:
    count = len(boxes)
    flags = np.zeros(count, np.bool_)
    objects = Objects(
        np.array(boxes, np.float64).reshape(-1, 4),
        np.zeros(count, np.int64),
        flags if crowd is None else np.array(crowd),
        flags,
        np.arange(count).astype(object),
    )
    return Sample(Path("x.jpg"), 1, None, objects, declared_wh=size_wh)


def test_shapes_are_scaled_as_the_letterbox_does() -> None:
    wide = sample_of([[0, 0, 100, 50], [0, 0, 640, 480]], (640, 480))
    assert box_shapes([wide], (416, 416)) == pytest.approx(np.array([[65, 32.5], [416, 312]]))
    # Sides are rounded to whole pixels: 333 × 100 becomes 416 × 125, not 124.92.
    assert box_shapes([sample_of([[0, 0, 333, 100]], (333, 100))], (416, 416)).tolist() == [[416, 125]]
    assert box_shapes([wide], (416, 416), resize="stretch")[1].tolist() == [416, 416]
    assert box_shapes([], (416, 416)).shape == (0, 2)


def test_crowd_regions_are_no_shapes() -> None:
    sample = sample_of([[0, 0, 10, 10], [0, 0, 400, 400]], (416, 416), crowd=[False, True])
    assert box_shapes([sample, sample_of([], (20, 20))], (416, 416)).tolist() == [[10, 10]]


# ------------------------------------------------------------------------------- reports, specs


def test_the_baseline_counts_only_anchors_that_a_head_uses() -> None:
    """The official tiny weights leave the first of their six shapes unused and share another."""
    spec = load_spec("yolov3-tiny")
    pool = spec.anchors.pool
    shared_spec = read_spec(write_spec(spec).replace(*_anchor_text(spec, Anchors(pool, ((1, 2, 3), (3, 4, 5))))), "x")
    report = suggest_anchors(synthetic(300), shared_spec, (416, 416))
    assert report.baseline.anchors == [list(shape) for shape in pool[1:]]
    assert [len(scale) for scale in report.scales] == [3, 3]


def _anchor_text(spec: object, anchors: Anchors) -> tuple[str, str]:
    old = "anchors:\n  - [10,14, 23,27, 37,58]\n  - [81,82, 135,169, 344,319]\n"
    pool = ", ".join(f"{w},{h}" for w, h in anchors.pool)
    return old, f"anchors:\n  pool: [{pool}]\n  masks: [[1, 2, 3], [3, 4, 5]]\n"


def test_clusters_go_to_scales_by_area() -> None:
    report = suggest_anchors(synthetic(300), load_spec("yolov3"), (416, 416))
    flat = [anchor for scale in report.scales for anchor in scale]
    assert flat == report.anchors
    assert [math.prod(anchor) for anchor in flat] == sorted(math.prod(anchor) for anchor in flat)
    with pytest.raises(UsageError, match="7 clusters on 3 scales"):
        suggest_anchors(synthetic(300), load_spec("yolov3"), (416, 416), clusters=7)
    with pytest.raises(DataError, match="no boxes"):
        suggest_anchors(np.zeros((0, 2)), load_spec("yolov3"), (416, 416))


def test_few_boxes_are_said_to_say_little() -> None:
    assert "that says little" in suggest_anchors(synthetic(60), load_spec("yolov3"), (416, 416)).verdict
    assert "little" not in suggest_anchors(synthetic(600), load_spec("yolov3"), (416, 416)).verdict


@pytest.mark.parametrize("name", ["yolov3", "yolov3-tiny"])
def test_the_written_spec_is_the_network_with_other_anchors(name: str) -> None:
    spec = load_spec(name)
    report = suggest_anchors(synthetic(300), spec, (416, 416))
    again = read_spec(write_spec(with_anchors(spec, report.scales)), "own.yaml")
    assert again.rows == spec.rows
    heads = sorted(again.network.heads, key=lambda head: head.stride)
    assert [[list(anchor) for anchor in head.anchors] for head in heads] == report.scales
    with pytest.raises(UsageError, match="heads, but anchors for 1 scales"):
        with_anchors(spec, report.scales[:1])


def test_the_picture_shows_every_anchor() -> None:
    shapes = synthetic(5000)
    report = suggest_anchors(shapes, load_spec("yolov3"), (416, 416))
    root = ElementTree.fromstring(draw_anchors(shapes, report))
    circles = [element for element in root.iter() if element.tag.endswith("circle")]
    assert len(circles) == 18  # nine new, nine present


# --------------------------------------------------------------------------------- command line


@pytest.fixture
def yolo_data(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A YOLO dataset of ten pictures with twenty boxes each."""
    (tmp_path / "images" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train").mkdir(parents=True)
    for index in range(10):
        cv2.imwrite(str(tmp_path / f"images/train/{index}.png"), np.zeros((30, 40, 3), np.uint8))
        sides = rng.uniform(0.05, 0.5, (20, 2))
        rows = "".join(f"0 0.5 0.5 {width:.4f} {height:.4f}\n" for width, height in sides)
        (tmp_path / f"labels/train/{index}.txt").write_text(rows)
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/train\nnames: [thing]\n")
    return tmp_path / "data.yaml"


def test_the_command_prints_json_and_writes_spec_and_picture(yolo_data: Path, cli: Callable[..., object]) -> None:
    folder = yolo_data.parent
    spec, picture = folder / "own.yaml", folder / "own.svg"
    done = cli("anchors", yolo_data, "--json", "--size", "320", "--write", spec, "--picture", picture)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert {"anchors", "mean_iou", "recall", "baseline", "verdict"} <= report.keys()
    assert len(report["anchors"]) == 9
    assert report["boxes"] == 200
    assert report["size_wh"] == [320, 320]
    assert load_spec(spec).anchors.of_head(0) == tuple(map(tuple, report["scales"][0]))
    assert picture.read_text().startswith("<svg")


def test_the_command_says_keep_or_replace_and_refuses_other_files(yolo_data: Path, cli: Callable[..., object]) -> None:
    done = cli("anchors", yolo_data, "--model", "yolov3-tiny", "--seed", "1")
    assert done.code == 0, done.err
    assert "200 boxes of train at 416×416" in done.out
    assert done.out.splitlines()[-1].startswith(("keep the anchors", "replace the anchors"))
    wrong = cli("anchors", yolo_data, "--write", "own.txt")
    assert wrong.code == 2
    assert "expected a name that ends in .yaml" in wrong.err
