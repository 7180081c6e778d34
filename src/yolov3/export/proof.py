"""The proof that ends every conversion: the written file against the model it was made from, on real pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import box_iou
from ..graph.signature import Signature
from ..images import read_image
from ..runtime.agreement import decode_all, differences, largest
from ..runtime.detector import Detector
from ..spec import Head
from ..zoo import sample_photos

Float32 = NDArray[np.float32]
Picture = NDArray[np.uint8]

# Logits up to this size are compared as they are, larger ones relative to it.
USUAL_LOGIT = 25.0
# How far rounding may move a score or an IoU that decides about a box.
MARGINS = {"fp32": 0.01, "fp16": 0.05, "int8": 0.05}


@dataclass(frozen=True, slots=True)
class Figures:
    """The largest differences between two networks.

    Attributes:
        pictures: on how many pictures.
        raw: of the heads' logits; None where the file doesn't give them.
        box: of a box's sides, in pixels of the network's input.
        score: of a class's score.
        wrong: boxes that suppression in the graph should have kept, or dropped.
        peak: the largest logit.
    """

    pictures: int
    raw: float | None
    box: float
    score: float
    wrong: int = 0
    peak: float = 0.0

    def joined(self, other: Figures) -> Figures:
        """Of both sets of pictures."""
        raw = None if self.raw is None or other.raw is None else max(self.raw, other.raw)
        return Figures(
            self.pictures + other.pictures,
            raw,
            max(self.box, other.box),
            max(self.score, other.score),
            self.wrong + other.wrong,
            max(self.peak, other.peak),
        )


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a written file may differ by; see `Figures`.

    Attributes:
        AP: the loss in AP, where a dataset is given; from 0 to 1.
        raw, box, score: None: not judged.
    """

    AP: float
    raw: float | None = None
    box: float | None = None
    score: float | None = None

    def excess(self, figures: Figures) -> str | None:
        """The first figure that is too large, in words."""
        raw_limit = None if self.raw is None else self.raw * max(1.0, figures.peak / USUAL_LOGIT)
        checks = (
            ("raw heads differ by", figures.raw, raw_limit, ""),
            ("boxes differ by", figures.box, self.box, " pixels"),
            ("scores differ by", figures.score, self.score, ""),
        )
        for words, value, limit, unit in checks:
            if limit is not None and value is not None and not value <= limit:  # NaN is too large as well
                return f"{words} up to {value:.2g}{unit}, at most {limit:g} expected"
        if self.box is not None and figures.wrong:
            return f"{figures.wrong} boxes are kept or dropped wrongly"
        return None

    def to_dict(self) -> dict[str, float | None]:
        """JSON-ready."""
        return asdict(self)


def proof_pictures(size_wh: tuple[int, int]) -> Iterator[Picture]:
    """The sample photos, and made pictures that are hard in other ways: noise, flat, a ramp, edges."""
    for path in sample_photos():
        yield read_image(path)
    width, height = size_wh
    rng = np.random.default_rng(0)
    yield rng.integers(0, 256, (height, width, 3), np.uint8)
    yield np.zeros((height, width, 3), np.uint8)
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    yield np.stack(
        [np.tile(ramp, (height, 1)), np.tile(ramp[::-1], (height, 1)), np.full((height, width), 90)],
        axis=2,
        dtype=np.uint8,
        casting="unsafe",
    )
    rows, columns = np.indices((height, width))
    yield np.repeat((((rows // 24 + columns // 40) % 2) * 255).astype(np.uint8)[:, :, None], 3, axis=2)


def compare(source: Detector, written: Detector, signature: Signature) -> Figures:
    """The largest differences over the proof's pictures.

    Args:
        source: gives raw heads.
        written: gives what `signature` says.
        signature: of the written file.
    """
    total: Figures | None = None
    waiting: list[Picture] = []
    for picture in proof_pictures(source.size_wh):
        waiting.append(picture)
        if len(waiting) == 2:  # two at a time, so that the batch's axis is proven too
            figures = _compare_pair(source, written, signature, waiting)
            total = figures if total is None else total.joined(figures)
            waiting = []
    assert total is not None and not waiting
    return total


def _compare_pair(source: Detector, written: Detector, signature: Signature, pictures: Sequence[Picture]) -> Figures:
    plans = [source.plan((picture.shape[1], picture.shape[0])) for picture in pictures]
    expected, found = source.raw(pictures, plans), written.raw(pictures, plans)
    heads, nc = source.model.spec.network.heads, len(source.names)
    total: Figures | None = None
    for place in range(len(pictures)):
        raw = [head[place] for head in expected]
        outputs = [output[place] for output in found]
        figures = compare_outputs(raw, outputs, heads, nc, signature)
        total = figures if total is None else total.joined(figures)
    assert total is not None
    return total


def compare_outputs(
    raw: Sequence[Float32], outputs: Sequence[NDArray[Any]], heads: Sequence[Head], nc: int, signature: Signature
) -> Figures:
    """The largest differences on one picture.

    Args:
        raw: the source's heads, (anchors · (5 + nc), H, W) each.
        outputs: the file's, as `signature` says, without the batch's axis.
        heads, nc: how raw heads are decoded.
        signature: of the file.
    """
    boxes, scores = decode_all(raw, heads, nc)
    peak = max(float(np.abs(head).max()) for head in raw)
    if signature.outputs == "detections":
        return _compare_detections(boxes, scores, outputs, signature, peak)
    difference = None
    if signature.outputs == "raw":
        difference = max(largest(one, other) for one, other in zip(raw, outputs, strict=True))
        outputs = decode_all(outputs, heads, nc)
    # How far outside of the picture a box ends is nothing that anybody sees.
    limit = 2 * max(max(head.shape[1:]) * given.stride for head, given in zip(raw, heads, strict=True))
    near = [np.clip(each, -limit, limit) for each in (boxes, outputs[0])]
    box, score = differences((near[0], scores), [near[1], outputs[1]])
    return Figures(1, difference, box, score, 0, peak)


def _compare_detections(
    boxes: Float32, scores: Float32, outputs: Sequence[NDArray[Any]], signature: Signature, peak: float
) -> Figures:
    """Detections against the source's candidates, by what makes a suppression right rather than by one outcome of it.

    Rounding may decide which of two like boxes stays, and with it the fate of others. So each detection must be a
    candidate, no two may overlap too much, and each candidate must be there or have a better one over it.
    """
    labels = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), labels]
    filled = outputs[1] > 0
    found = _Boxes(*(output[filled] for output in outputs))
    margin = MARGINS[signature.precision]
    clear = best > signature.conf + margin
    if len(found.scores) == signature.max_det:  # the rest didn't fit
        clear &= best > found.scores.min() + margin
    missing = _uncovered(_Boxes(boxes[clear], best[clear], labels[clear]), found, signature.iou, margin)
    doubled = _overlapping(found, signature.iou + margin)
    box, score = _nearest(found, _Boxes(boxes, best, labels))
    return Figures(1, None, box, score, missing + doubled, peak)


@dataclass(frozen=True, slots=True)
class _Boxes:
    """Boxes (N, 4), scores (N,) and labels (N,)."""

    boxes: NDArray[Any]
    scores: NDArray[Any]
    labels: NDArray[Any]

    def iou(self, other: _Boxes) -> NDArray[Any]:
        """IoU with others (N, M), 0 between classes."""
        overlaps: NDArray[Any] = box_iou(self.boxes, other.boxes) * (self.labels[:, None] == other.labels[None])
        return overlaps


def _uncovered(candidates: _Boxes, found: _Boxes, iou: float, margin: float) -> int:
    """How many candidates aren't there, though no box that is would have suppressed them."""
    better = found.scores[None] >= candidates.scores[:, None] - margin
    return int((~(candidates.iou(found) * better > iou - margin).any(axis=1)).sum())


def _overlapping(found: _Boxes, limit: float) -> int:
    """How many pairs of one class overlap by more."""
    return int((np.triu(found.iou(found), 1) > limit).sum())


def _nearest(found: _Boxes, candidates: _Boxes) -> tuple[float, float]:
    """The largest differences of boxes and scores to the candidate that is most alike."""
    box = score = 0.0
    for place in range(len(found.scores)):
        same = np.flatnonzero(candidates.labels == found.labels[place])
        if not len(same):
            return float("inf"), float("inf")
        sides = np.abs(candidates.boxes[same] - found.boxes[place]).max(axis=1)
        values = np.abs(candidates.scores[same] - found.scores[place])
        alike = int((sides + 100 * values).argmin())
        box, score = max(box, float(sides[alike])), max(score, float(values[alike]))
    return box, score
