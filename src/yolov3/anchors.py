"""Anchors for a dataset: k-means on box shapes with 1 − IoU as distance, and whether new ones are worth having.

YOLO9000 (arXiv 1612.08242) section 2 and YOLOv3 (arXiv 1804.02767) section 2.1 take the distance; what is done
differently here, and what it gains, stands in docs/anchors.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .charts import ShapeGroup, shape_chart
from .data import Sample
from .errors import DataError, UsageError
from .geometry import plan_letterbox
from .spec import Anchors, Spec

Float64 = NDArray[np.float64]

RECALL_IOU = 0.5
RECALL_RATIO = 4.0
WORTHWHILE_GAIN = 0.05
"""New anchors are proposed when they raise the mean IoU or the recall by this much."""

_SAMPLE = 10_000
_RESTARTS = 30
_ITERATIONS = 100
_ITERATIONS_ON_ALL = 15
_CHUNK = 1 << 13


@dataclass(frozen=True, slots=True)
class Coverage:
    """How well anchors fit the boxes of a dataset, all in pixels of the network's input.

    Attributes:
        anchors: [width, height] each, smallest area first.
        mean_iou: mean over boxes of the IoU with the anchor of the best IoU, both centred on one point.
        recall: best possible recall, the share of boxes whose best IoU is at least `RECALL_IOU` (0.5).
        ratio_recall: the share of boxes for which some anchor's width and height are both within a factor of
            `RECALL_RATIO` (4) of the box's.
    """

    anchors: list[list[float]]
    mean_iou: float
    recall: float
    ratio_recall: float


@dataclass(frozen=True, slots=True)
class AnchorReport(Coverage):
    """New anchors for a dataset beside those that a model has.

    Attributes:
        baseline: the model's own anchors on the same boxes.
        boxes: how many boxes there are.
        size_wh: the network's input size.
        scales: `anchors` by scale, that of the smallest stride first.
    """

    baseline: Coverage
    boxes: int
    size_wh: tuple[int, int]
    scales: list[list[list[float]]]

    @property
    def worthwhile(self) -> bool:
        """Whether the new anchors are worth giving up those that a pretrained model knows."""
        gains = (self.mean_iou - self.baseline.mean_iou, self.recall - self.baseline.recall)
        return max(gains) >= WORTHWHILE_GAIN

    @property
    def verdict(self) -> str:
        """One sentence: keep or replace, and what replacing gains."""
        first = "replace the anchors" if self.worthwhile else "keep the anchors"
        few = ""
        if self.boxes < 50 * len(self.anchors):
            few = f"; boxes are few for {len(self.anchors)} anchors ({self.boxes}), so that says little"
        return (
            f"{first}: new ones change the mean best IoU from {self.baseline.mean_iou:.3f} to {self.mean_iou:.3f} and "
            f"the best possible recall from {self.baseline.recall:.1%} to {self.recall:.1%}{few}"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        size = list(self.size_wh)
        return asdict(self) | {"size_wh": size, "worthwhile": self.worthwhile, "verdict": self.verdict}


def box_shapes(samples: Iterable[Sample], size_wh: tuple[int, int], *, resize: str = "letterbox") -> Float64:
    """Width and height of every box as the network sees it, (N, 2) in pixels of an input of `size_wh`.

    Crowd regions are left out. Reads the header of a picture whose size its annotation doesn't tell.

    Raises:
        DataError: a picture's header can't be read.
    """
    shapes = [np.zeros((0, 2))]
    for sample in samples:
        kept = ~sample.crowd
        if kept.any():
            boxes = plan_letterbox(sample.size_wh, size_wh, resize=resize).to_canvas(sample.boxes[kept])
            shapes.append(boxes[:, 2:] - boxes[:, :2])
    return np.concatenate(shapes)


def shape_iou(shapes: Float64, anchors: Float64) -> Float64:
    """IoU (N, K) of shapes (N, 2) with anchors (K, 2), widths and heights laid on one centre."""
    # Computed as (K, N): NumPy is several times faster along a long last axis.
    widths, heights = shapes.T
    intersection = np.minimum(widths, anchors[:, :1]) * np.minimum(heights, anchors[:, 1:])
    areas = widths * heights + (anchors[:, 0] * anchors[:, 1])[:, None]
    return np.asarray(intersection / (areas - intersection), np.float64).T


def best_iou(shapes: Float64, anchors: Float64) -> tuple[NDArray[np.int64], Float64]:
    """For each shape the index of its best anchor and its IoU with it, (N,) and (N,); memory stays small."""
    index = np.empty(len(shapes), np.int64)
    iou = np.empty(len(shapes))
    for start in range(0, len(shapes), _CHUNK):
        part = slice(start, start + _CHUNK)
        table = shape_iou(shapes[part], anchors)
        index[part] = table.argmax(axis=1)
        iou[part] = table.max(axis=1)
    return index, iou


def measure_anchors(shapes: Float64, anchors: Float64 | Sequence[Sequence[float]]) -> Coverage:
    """How well anchors (K, 2) fit shapes (N, 2), N ≥ 1, in the same unit."""
    ordered = by_area(np.asarray(anchors, np.float64))
    iou = best_iou(shapes, ordered)[1]
    within = np.zeros(len(shapes), bool)
    for anchor in ordered:
        close = np.maximum(shapes / anchor, anchor / shapes) <= RECALL_RATIO
        within |= close[:, 0] & close[:, 1]
    recall = float(np.mean(iou >= RECALL_IOU))
    return Coverage(ordered.tolist(), float(iou.mean()), recall, float(within.mean()))


def by_area(anchors: Float64) -> Float64:
    """Anchors (K, 2) with the smallest area first."""
    return anchors[np.argsort(anchors[:, 0] * anchors[:, 1], kind="stable")]


# ------------------------------------------------------------------------------------------- clustering


def fit_anchors(shapes: Float64, clusters: int = 9, *, seed: int = 0, restarts: int = _RESTARTS) -> Float64:
    """The anchors (K, 2), smallest area first, with the largest mean best IoU that was found.

    Several runs of k-means from different seeds, on a sample where there are very many boxes; the best is carried on
    with all boxes. Equal shapes and seed give equal anchors.

    Args:
        shapes: widths and heights (N, 2), all above 0.
        clusters: how many anchors.
        seed: for the random choices.
        restarts: how many runs.

    Raises:
        DataError: there are fewer different shapes than clusters.
        UsageError: `clusters` or `restarts` is below 1.
    """
    if clusters < 1 or restarts < 1:
        raise UsageError(f"{clusters} clusters and {restarts} restarts: expected 1 or more")
    rng = np.random.default_rng(seed)
    sample = shapes
    if len(shapes) > _SAMPLE:
        sample = shapes[rng.choice(len(shapes), _SAMPLE, replace=False)]
    different = len(np.unique(sample, axis=0))
    if different < clusters:
        raise DataError(f"{different:,} different box shapes for {clusters} anchors: expected at least as many")
    runs = [_improve(sample, _first_centres(sample, clusters, rng), _ITERATIONS) for _ in range(restarts)]
    _, anchors = max(runs, key=lambda run: run[0])
    if sample is not shapes:
        _, anchors = _improve(shapes, anchors, _ITERATIONS_ON_ALL)
    return by_area(_climb(sample, anchors))


def _first_centres(shapes: Float64, clusters: int, rng: np.random.Generator) -> Float64:
    """k-means++: each next centre is a shape, drawn with its distance 1 − IoU to the nearest one as weight.

    (Arthur and Vassilvitskii 2007 weight with the squared distance because they minimise squares; here the sum of
    the distances themselves is minimised.)
    """
    centres = [shapes[rng.integers(len(shapes))]]
    nearest = np.ones(len(shapes))
    while len(centres) < clusters:
        nearest = np.minimum(nearest, 1 - shape_iou(shapes, centres[-1][None])[:, 0])
        total = nearest.sum()
        chosen = rng.choice(len(shapes), p=nearest / total) if total > 0 else rng.integers(len(shapes))
        centres.append(shapes[chosen])
    return np.array(centres)


def _improve(shapes: Float64, centres: Float64, iterations: int) -> tuple[float, Float64]:
    """Lloyd's iteration: (mean best IoU, centres) of the best iterate, which needn't be the last.

    A cluster's centre is the median of its widths and heights: the mean isn't the point of largest mean IoU either,
    and is worse.
    """
    best = (-1.0, centres)
    before = None
    for _ in range(iterations):
        index, iou = best_iou(shapes, centres)
        best = max(best, (float(iou.mean()), centres), key=lambda run: run[0])
        if before is not None and np.array_equal(index, before):
            break
        before = index
        centres = _centres_of(shapes, index, iou, len(centres))
    return best


def _centres_of(shapes: Float64, index: NDArray[np.int64], iou: Float64, clusters: int) -> Float64:
    """The centre of each cluster; those without a shape go to the shapes that are served worst."""
    members = [shapes[index == cluster] for cluster in range(clusters)]
    empty = sum(not len(part) for part in members)
    worst = iter(shapes[np.argsort(iou, kind="stable")[:empty]] if empty else ())
    return np.array([np.median(part, axis=0) if len(part) else next(worst) for part in members])


def _climb(shapes: Float64, anchors: Float64, finest: float = 1e-3) -> Float64:
    """Widen, narrow, heighten and flatten single anchors while that raises the mean best IoU, in ever finer steps."""
    anchors = anchors.copy()
    iou = shape_iou(shapes, anchors)
    step = 0.1
    while step >= finest:
        moves = [np.array(move) for move in ((1 + step, 1), (1 / (1 + step), 1), (1, 1 + step), (1, 1 / (1 + step)))]
        moved = False
        for index in range(len(anchors)):
            others = np.delete(iou, index, axis=1).max(axis=1, initial=0)
            best = np.maximum(others, iou[:, index]).mean()
            for candidate in [anchors[index] * move for move in moves]:
                tried = shape_iou(shapes, candidate[None])[:, 0]
                value = np.maximum(others, tried).mean()
                if value > best:
                    best, moved = value, True
                    anchors[index], iou[:, index] = candidate, tried
        if not moved:
            step /= 2
    return anchors


# ---------------------------------------------------------------------------------------------- answers


def suggest_anchors(
    shapes: Float64,
    spec: Spec,
    size_wh: tuple[int, int],
    *,
    clusters: int | None = None,
    scales: int | None = None,
    seed: int = 0,
) -> AnchorReport:
    """New anchors for boxes of these shapes, compared with those of a network.

    Args:
        shapes: from `box_shapes` with the same `size_wh`.
        spec: the network whose anchors are the baseline; anchors of its pool that no head uses don't count.
        size_wh: the network's input size.
        clusters: how many anchors, a multiple of `scales`; by default as many as the network's heads have together.
        scales: how many scales; by default the network's heads.
        seed: for the random choices.

    Raises:
        DataError: there are no boxes, or too few different ones.
        UsageError: the clusters don't divide among the scales.
    """
    masks = spec.anchors.masks
    clusters = clusters or sum(map(len, masks))
    scales = scales or len(masks)
    if clusters % scales:
        raise UsageError(f"{clusters} clusters on {scales} scales: expected the same number of anchors on each")
    if not len(shapes):
        raise DataError("no boxes, expected some to fit anchors to")
    used = sorted({index for mask in masks for index in mask})
    baseline = measure_anchors(shapes, [spec.anchors.pool[index] for index in used])
    # Rounded first, so that the numbers are those of what is written.
    fitted = measure_anchors(shapes, np.maximum(fit_anchors(shapes, clusters, seed=seed).round(1), 0.1))
    share = clusters // scales
    by_scale = [fitted.anchors[start : start + share] for start in range(0, clusters, share)]
    return AnchorReport(**asdict(fitted), baseline=baseline, boxes=len(shapes), size_wh=size_wh, scales=by_scale)


def with_anchors(spec: Spec, scales: Sequence[Sequence[Sequence[float]]]) -> Spec:
    """The same network with other anchors: the smallest go to the head of the smallest stride.

    Raises:
        UsageError: the network has another number of heads.
    """
    heads = spec.network.heads
    if len(scales) != len(heads):
        raise UsageError(f"{spec.origin}: {len(heads)} heads, but anchors for {len(scales)} scales")
    order = sorted(range(len(heads)), key=lambda head: heads[head].stride)
    shapes = {head: tuple((float(w), float(h)) for w, h in scales[place]) for place, head in enumerate(order)}
    return replace(spec, anchors=Anchors.per_head(tuple(shapes[head] for head in range(len(heads)))))


def draw_anchors(shapes: Float64, report: AnchorReport) -> str:
    """An SVG picture of the boxes' shapes, coloured by their new anchor, with both sets of anchors."""
    anchors = np.array(report.anchors)
    shown = shapes
    if len(shapes) > 4000:
        shown = shapes[np.random.default_rng(0).choice(len(shapes), 4000, replace=False)]
    nearest = best_iou(shown, anchors)[0]
    groups = [ShapeGroup(shown[nearest == index].tolist(), tuple(anchor)) for index, anchor in enumerate(anchors)]
    width, height = report.size_wh
    title = f"{report.boxes:,} boxes at {width}×{height}: mean best IoU {report.mean_iou:.3f}"
    return shape_chart(groups, report.baseline.anchors, title)
