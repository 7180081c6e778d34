"""What a training leaves for people to look at: curves, pictures, the evaluation card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..annotate import draw
from ..charts import Curve, line_chart
from ..data import Dataset, Sample
from ..errors import DataError
from ..evaluation.report import write_report
from ..evaluation.scoring import Evaluation
from ..files import write_atomic
from ..images import read_image, write_image
from ..modelfile import Preprocess
from ..postprocess import Thresholds
from .settings import Settings
from .sheet import augmented_sheet
from .validate import NetworkDetector

PICTURES = 16


def write_curves(path: Path, history: Sequence[dict[str, Any]], epochs: int) -> None:
    """AP and losses over the epochs, as SVG. Losses are shown in parts of the largest there was."""
    done = [row["epoch"] / epochs for row in history]
    curves = []
    for name in ("AP", "AP50", "AP75"):
        points = [(x, row[name]) for x, row in zip(done, history, strict=True) if row.get(name) is not None]
        if points:
            curves.append(Curve(name, [x for x, _ in points], [y for _, y in points], main=name == "AP"))
    for name in ("box", "objectness", "classes"):
        values = [row[name] for row in history]
        most = max(values) or 1.0
        curves.append(Curve(f"{name} loss", done, [value / most for value in values]))
    title = f"{len(history)} of {epochs} epochs, loss {history[0]['loss']:.3g} to {history[-1]['loss']:.3g}"
    chart = line_chart(curves, title=title, x_label="part of the training", y_label="AP; losses in parts of their most")
    write_atomic(path, chart)


def write_batch_picture(path: Path, dataset: Dataset, settings: Settings, preprocess: Preprocess) -> None:
    """What the network sees first, with its boxes."""
    sheet = augmented_sheet(
        dataset, settings.augment, settings.seed, min(settings.size_wh), PICTURES, preprocess=preprocess
    )
    write_image(path, sheet)


def write_detections(folder: Path, detector: NetworkDetector, samples: Sequence[Sample]) -> None:
    """The first pictures of a split with what the network finds on them."""
    folder.mkdir(exist_ok=True)
    usual = NetworkDetector(detector.network, detector.names, detector.size_wh, detector.preprocess, Thresholds())
    for number, sample in enumerate(samples[:PICTURES]):
        try:
            image = read_image(sample.image)
        except DataError:
            continue  # gone since it was scored
        write_image(folder / f"{number:02}-{sample.image.stem}.jpg", draw(image, usual(image)))


def write_card(folder: Path, evaluation: Evaluation) -> None:
    """The evaluation card, its charts and numbers."""
    folder.mkdir(exist_ok=True)
    write_report(folder, evaluation)
