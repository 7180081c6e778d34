"""What a network gave → candidates: one adapter for each kind of outputs that a signature can declare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Letterbox
from ..graph.signature import Signature
from ..postprocess import Candidates, Thresholds, candidates
from ..spec import Head

Outputs = Sequence[NDArray[Any]]


def find_candidates(
    outputs: Outputs, signature: Signature, heads: Sequence[Head], nc: int, plan: Letterbox, thresholds: Thresholds
) -> Candidates:
    """Boxes, scores and labels of one picture that reach `conf`, in its pixels, not yet suppressed by us.

    Args:
        outputs: the picture's share of each output, without the batch's axis.
        signature: what they are.
        heads, nc: of the network.
        plan: how the picture was laid into the network's input.
        thresholds: what is kept; of "detections" the graph has kept its own before.
    """
    if signature.outputs == "raw":
        return candidates(outputs, heads, nc, plan, thresholds)
    boxes, scores, labels = _from_scores(outputs, thresholds) if signature.outputs == "boxes" else outputs
    wanted = scores > thresholds.conf
    if thresholds.classes is not None:
        wanted &= np.isin(labels, list(thresholds.classes))
    boxes = plan.to_image(boxes[wanted]).astype(np.float32, copy=False)
    return boxes, scores[wanted], labels[wanted].astype(np.int64, copy=False)


def _from_scores(outputs: Outputs, thresholds: Thresholds) -> tuple[NDArray[Any], ...]:
    """From scores of all classes (candidates, classes) to one row a class that counts."""
    boxes, scores = outputs
    if thresholds.multi_label:
        chosen, labels = np.nonzero(scores > thresholds.conf)
    else:
        labels = scores.argmax(axis=1)
        chosen = np.arange(len(scores))
    return boxes[chosen], scores[chosen, labels], labels


def graph_limits(signature: Signature, thresholds: Thresholds) -> list[str]:
    """What the thresholds ask for that a graph with suppression of its own has thrown away already, a note each."""
    if signature.outputs != "detections":
        return []
    notes = []
    if thresholds.conf < signature.conf:
        notes.append(
            f"keeps boxes of {signature.conf:g} or more in its graph, so conf {thresholds.conf:g} finds no others"
        )
    if thresholds.iou != signature.iou:
        notes.append(
            f"suppresses by an IoU above {signature.iou:g} in its graph, so iou {thresholds.iou:g} comes too late"
        )
    if thresholds.max_det > signature.max_det:
        notes.append(f"gives at most {signature.max_det} boxes a picture")
    if thresholds.multi_label:
        notes.append("lets a box count for its best class only")
    return notes
