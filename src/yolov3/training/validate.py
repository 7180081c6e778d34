"""A network in training as a detector, and its score on a split, by the code of `yolov3 evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..detections import Detections
from ..evaluate import SCORING, Evaluation, GroundTruth, Predictions, gather
from ..evaluation.running import Stopwatch, run_detector
from ..evaluation.scoring import score
from ..geometry import letterbox_image, plan_letterbox
from ..modelfile import Preprocess
from ..postprocess import Thresholds, detect_objects
from .network import Network
from .processes import Processes

UInt8Array = NDArray[np.uint8]


class NetworkDetector:
    """Gives `Detections` as `runtime.Detector` does, computed by PyTorch.

    Attributes:
        names: class names.
    """

    def __init__(
        self,
        network: Network,
        names: tuple[str, ...],
        size_wh: tuple[int, int],
        preprocess: Preprocess,
        thresholds: Thresholds | None = None,
    ) -> None:
        """Take a network in evaluation mode.

        Args:
            network: on its device; not changed.
            names: class names.
            size_wh: its input size.
            preprocess: how pictures become its input.
            thresholds: what is kept; by default as `yolov3 evaluate` does.
        """
        self.network, self.names, self.size_wh, self.preprocess = network, names, size_wh, preprocess
        self.thresholds = thresholds or Thresholds(**SCORING)

    def __call__(self, image: UInt8Array) -> Detections:
        """Detect objects in one picture, RGB uint8 (H, W, 3)."""
        return self.batch([image])[0]

    @torch.inference_mode()
    def batch(self, images: Sequence[UInt8Array]) -> list[Detections]:
        """Detect objects in several pictures, which go through the network together."""
        plans = [
            plan_letterbox((image.shape[1], image.shape[0]), self.size_wh, resize=self.preprocess.resize)
            for image in images
        ]
        canvases = [
            letterbox_image(image, plan, self.preprocess.pad) for image, plan in zip(images, plans, strict=True)
        ]
        device = next(self.network.parameters()).device
        # (N, H, W, 3) → (N, 3, H, W), channels last in memory
        values = torch.from_numpy(np.stack(canvases)).permute(0, 3, 1, 2).to(device)
        outputs = self.network(values.to(torch.float32).mul_(self.preprocess.scale))
        # (N, A, H, W, 5 + nc) → (N, A · (5 + nc), H, W)
        raw = [output.permute(0, 1, 4, 2, 3).flatten(1, 2).cpu().numpy() for output in outputs]
        heads = self.network.heads
        return [
            detect_objects([head[place] for head in raw], heads, self.names, plan, self.thresholds)
            for place, plan in enumerate(plans)
        ]


def validate(
    detector: NetworkDetector,
    truth: GroundTruth,
    processes: Processes,
    *,
    batch: int = 8,
    resamples: int = 0,
    about: Mapping[str, str] | None = None,
    check: Callable[[], None] | None = None,
) -> Evaluation:
    """Score a detector on all pictures; each process looks at its share, each picture counts once.

    Args:
        detector: the same in all processes.
        truth: the split.
        processes: who shares the work.
        batch: pictures that go through the network together.
        resamples: of the interval on AP.
        about: carried into the result.
        check: called after every batch; the validation is given up by raising from it.
    """
    samples = truth.samples[processes.rank :: processes.ranks]
    pairs = run_detector(
        detector, samples, Stopwatch(), batch=batch, progress=lambda done, total: check() if check else None
    )
    found, notes = gather(pairs, truth)
    parts = [_unpacked(rows) for rows in processes.gather(_packed(found))]
    return score(truth, Predictions.join(parts), resamples=resamples, notes=notes, about=about)


def _packed(found: Predictions) -> NDArray[np.float64]:
    columns = [found.image[:, None], found.boxes_xywh, found.labels[:, None], found.scores[:, None]]
    return np.concatenate(columns, axis=1, dtype=np.float64)


def _unpacked(rows: NDArray[np.float64]) -> Predictions:
    return Predictions(rows[:, 0].astype(np.int64), rows[:, 1:5], rows[:, 5].astype(np.int64), rows[:, 6])
