"""From a dataset and a model to a training, and back from a run's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ..anchors import box_shapes, suggest_anchors, with_anchors
from ..data import Dataset, Sample, load_dataset
from ..errors import DataError, ModelError, UsageError
from ..evaluate import GroundTruth
from ..evaluation.bootstrap import RESAMPLES
from ..evaluation.coco import require_evaluator
from ..images import read_image
from ..modelfile import BatchNorm, Model, Preprocess
from ..spec import Spec, check_size, read_spec
from .checkpoint import Checkpoint, seed_everything
from .interrupt import Interrupts, SignalError
from .loop import Report, Task, Training, memory_errors, versions
from .memory import keep_freed_memory
from .network import Network
from .outputs import write_batch_picture, write_card, write_detections
from .planner import make_plan
from .processes import ALONE, Processes, is_lost
from .run import RunFolder
from .settings import Settings
from .transfer import Backbone, start_from_backbone, start_from_model, start_from_scratch, with_classes, with_decoding
from .validate import NetworkDetector, validate

Anchors = Literal["auto", "keep", "fit"]
Decoding = Literal["auto", "keep", "darknet", "scaled"]
LEAST_FIT = 0.98
"""With fewer boxes that some anchor's sides come within a factor of 4 of, new anchors are made."""


@dataclass(frozen=True)
class Prepared:
    """What a training begins with.

    Attributes:
        network: with its first weights.
        task: data and names.
        notes: what was decided on the way, a line each.
    """

    network: Network
    task: Task
    notes: list[str]


@dataclass(frozen=True)
class Source:
    """A dataset and how it was asked for, so that a resume can ask again.

    Attributes:
        dataset: from `load_dataset`.
        path: what was given to it.
        images, bad_labels: its options.
    """

    dataset: Dataset
    path: Path
    images: Path | None = None
    bad_labels: str = "error"

    @classmethod
    def open(cls, saved: dict[str, Any]) -> Source:
        """Load what `saved` says."""
        images = None if saved["images"] is None else Path(saved["images"])
        dataset = load_dataset(saved["path"], images=images, bad_labels=saved["bad_labels"])
        return cls(dataset, Path(saved["path"]), images, saved["bad_labels"])

    def saved(self) -> dict[str, Any]:
        """JSON-ready; with a fingerprint of pictures and labels."""
        return {
            "path": str(self.path.resolve()),
            "images": None if self.images is None else str(self.images.resolve()),
            "bad_labels": self.bad_labels,
            "sha256": fingerprint(self.dataset),
        }


def prepare(
    source: Source,
    base: Model | Spec,
    settings: Settings,
    *,
    scratch: bool = False,
    start: Model | Backbone | None = None,
    anchors: Anchors = "auto",
    decoding: Decoding = "auto",
) -> Prepared:
    """Decide on the network and its first weights.

    Args:
        source: the data.
        base: the model to start from, or the network alone.
        settings: how it will be trained.
        scratch: take nothing but the network from `base`.
        start: another model, or the first layers of one, to take weights from, where they fit.
        anchors: "fit" makes new ones for the data, "keep" keeps those of `base`, "auto" makes new ones where those fit
            badly.
        decoding: "darknet" or "scaled" (`xy_scale: 2, wh: square`); "auto" is what suits the recipe.

    Raises:
        DataError: there is nothing to train on.
        ModelError: the size doesn't suit the network, or the model's weights can't be trained.
        UsageError: options that don't go together.
    """
    dataset = source.dataset
    samples, words = training_samples(dataset)
    notes = [words] if words else []
    given = base if isinstance(base, Model) else None
    spec = with_classes(given.spec if given else base, len(dataset.names))  # type: ignore[arg-type]
    spec = decoded(spec, settings.recipe, decoding)
    preprocess = given.preprocess if given else Preprocess()
    check_size(spec, settings.size_wh)
    spec, anchor_notes = anchored(spec, samples, settings, preprocess, anchors)
    weights = None if scratch else start or given
    if weights is None:
        begun = start_from_scratch(spec, settings.seed)
    elif isinstance(weights, Backbone):
        begun = start_from_backbone(spec, weights, settings.seed)
    else:
        begun = start_from_model(spec, dataset.names, weights, settings.seed)
    begun.network.freeze(settings.freeze)
    truth, unreadable = validation_truth(dataset)
    notes += unreadable
    if truth is None:
        notes.append("no val split: nothing is scored on the way, and the last epoch counts as the best")
    saved = source.saved()
    about = {"data": source.path.name, "data_sha256": saved["sha256"], "start": describe(weights)}
    task = Task(dataset, samples, truth, preprocess, about, saved, tuple(unreadable))
    return Prepared(begun.network, task, [*notes, *anchor_notes, *begun.notes])


def training_samples(dataset: Dataset) -> tuple[list[Sample], str]:
    """The pictures to learn from, and a note where that isn't the train split.

    Raises:
        DataError: there is no such split, or none of its pictures has a box.
    """
    name = "train" if "train" in dataset.samples else next(iter(dataset.samples))
    if name != "train" and len(dataset.samples) > 1:
        raise DataError(f"{dataset.path}: no train split, it has {dataset.split_words}")
    samples = dataset.samples[name]
    if not any(len(sample.labels) for sample in samples):
        raise DataError(f"{dataset.path}: no box in {len(samples):,} pictures of {name}, expected some to learn from")
    return samples, "" if name == "train" else f"all pictures (split {name!r}) are for training"


def validation_truth(dataset: Dataset) -> tuple[GroundTruth | None, list[str]]:
    """The val split's boxes, and why pictures of it were left out; None without one. A test split is never looked at.

    Every picture is decoded once, so that one which can't be read is named now and not after the first epoch.

    Raises:
        DataError: none of the pictures can be read.
        Yolov3Error: the evaluator isn't installed.
    """
    if "val" not in dataset.samples:
        return None, []
    require_evaluator()
    samples = dataset.split("val")
    with ThreadPoolExecutor() as pool:
        errors = list(pool.map(_reading_error, samples))
    good = [sample for sample, error in zip(samples, errors, strict=True) if error is None]
    unreadable = [f"{error}; left out of the val split" for error in errors if error is not None]
    if not good:
        raise DataError(unreadable[0].replace("left out of", "and so with all pictures of"))
    return GroundTruth.from_samples(good, dataset.names, dataset.category_ids), unreadable


def _reading_error(sample: Sample) -> str | None:
    """Why a picture can't be scored; None where it can."""
    try:
        picture = read_image(sample.image)
        sample.boxes_for((picture.shape[1], picture.shape[0]))
    except DataError as error:
        return str(error)
    return None


def decoded(spec: Spec, recipe: str, decoding: Decoding) -> Spec:
    """The network with the decoding that was asked for; the modern recipe's own is the scaled one."""
    if decoding == "auto":
        decoding = "scaled" if recipe == "modern" else "keep"
    if decoding == "scaled":
        return with_decoding(spec, 2.0, "square")
    return with_decoding(spec, 1.0, "exp") if decoding == "darknet" else spec


def anchored(
    spec: Spec, samples: Sequence[Sample], settings: Settings, preprocess: Preprocess, anchors: Anchors
) -> tuple[Spec, list[str]]:
    """The network with the anchors that suit, and what was found out about them."""
    if anchors == "keep":
        return spec, []
    shapes = box_shapes(readable(samples), settings.size_wh, resize=preprocess.resize)
    shapes = shapes[(shapes > 0).all(axis=1)]
    if len(np.unique(shapes, axis=0)) < sum(map(len, spec.anchors.masks)):
        return spec, [f"{len(shapes)} boxes are too few to judge the anchors by; they stay"]
    found = suggest_anchors(shapes, spec, settings.size_wh, seed=settings.seed)
    share = found.baseline.ratio_recall
    if anchors == "auto" and share >= LEAST_FIT:
        words = f"; {found.verdict} (--anchors fit)" if found.worthwhile else ""
        return spec, [f"the anchors suit {share:.1%} of the boxes and stay{words}"]
    numbers = "  ".join(f"{width:g}×{height:g}" for scale in found.scales for width, height in scale)
    why = "as asked" if anchors == "fit" else f"since the old ones suit {share:.1%} of the boxes alone (--anchors keep)"
    return with_anchors(spec, found.scales), [f"new anchors, {why}: {numbers}"]


def readable(samples: Sequence[Sample]) -> list[Sample]:
    """Those whose picture has a size; the loader names the others and leaves them out."""
    found = []
    for sample in samples:
        try:
            _ = sample.size_wh
        except DataError:
            continue
        found.append(sample)
    return found


def describe(weights: Model | Backbone | None) -> dict[str, Any] | None:
    """Where first weights came from, for the model file."""
    return None if weights is None else {"model": Path(weights.origin).name, "source": without_cfg(weights.source)}


def without_cfg(source: dict[str, Any]) -> dict[str, Any]:
    """A model's source, but for what only Darknet's writer needs of it."""
    return {key: value for key, value in source.items() if key != "darknet"}


def fingerprint(dataset: Dataset) -> str:
    """SHA-256 over names, pictures' names and sizes in bytes, and boxes: the same as long as the data is."""
    digest = hashlib.sha256(repr(dataset.names).encode())
    for split, samples in sorted(dataset.samples.items()):
        for sample in samples:
            digest.update(f"\0{split}\0{sample.image.name}\0{_bytes(sample.image)}\0".encode())
            digest.update(np.ascontiguousarray(sample.objects.boxes).tobytes())
            digest.update(np.ascontiguousarray(sample.labels).tobytes())
    return digest.hexdigest()


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


# ------------------------------------------------------------------------------------------------ running


def begin(
    prepared: Prepared,
    settings: Settings,
    folder: Path | None,
    processes: Processes,
    report: Report,
    *,
    plan_only: bool = False,
) -> int:
    """Train in a new folder, which only the first process has; gives the exit code, 3 where pictures were left out.

    With `plan_only` nothing is trained: the plan goes to the report.
    """
    for note in prepared.notes:
        report.note(note)
    seed_everything(settings.seed)
    return _train(prepared.network, prepared.task, settings, folder, processes, report, None, plan_only=plan_only)


def resume(folder: Path, processes: Processes, report: Report, *, epochs: int | None = None) -> int:
    """Go on with the training in a folder; gives the exit code.

    Args:
        folder: of the run.
        processes: who trains.
        report: told what happens.
        epochs: a new number of epochs, more than are finished.

    Raises:
        DataError: the data isn't there any more, or has changed.
        ModelError: there is no checkpoint, or it can't be read.
        UsageError: it is finished, or more epochs are finished than asked for.
    """
    run = RunFolder(folder)
    if not run.checkpoint.is_file():
        raise UsageError(
            f"--resume {folder}: no {run.checkpoint.name} in its folder last, so nothing was trained there"
        )
    checkpoint = Checkpoint.load(run.checkpoint)
    try:
        settings, source, network, task = _restored(checkpoint, str(run.checkpoint))
        finished, stopped = checkpoint.state["progress"]["epoch"], checkpoint.state["progress"]["stopped"]
    except (KeyError, TypeError) as error:
        raise ModelError(f"{run.checkpoint}: not a whole checkpoint ({error!r})") from None
    wanted = settings.epochs if epochs is None else epochs
    done = wanted <= finished or (stopped and epochs is None)
    if done and (wanted < finished or task.truth is None or run.card.is_file()):
        why = "stopped early after" if stopped else "is finished with"
        raise UsageError(f"--resume {folder}: the training {why} {finished} epochs; give --epochs with more to go on")
    for note in task.unreadable:
        report.note(note)
    _compare_surroundings(checkpoint.state, source, processes, report)
    return _train(network, task, replace(settings, epochs=wanted), folder, processes, report, checkpoint, done=done)


def _restored(checkpoint: Checkpoint, origin: str) -> tuple[Settings, Source, Network, Task]:
    state = checkpoint.state
    settings, source, about = Settings.from_dict(state["settings"]), Source.open(state["data"]), state["model"]
    network = Network(read_spec(about["spec"], f"{origin} (spec)"), BatchNorm(**about["bn"]))
    network.freeze(settings.freeze)
    dataset, preprocess = source.dataset, Preprocess(**about["preprocess"])
    samples, _ = training_samples(dataset)
    truth, unreadable = validation_truth(dataset)
    task = Task(dataset, samples, truth, preprocess, state["source"], state["data"], tuple(unreadable))
    return settings, source, network, task


def _compare_surroundings(state: dict[str, Any], source: Source, processes: Processes, report: Report) -> None:
    """Refuse other data; say what makes the rest of the training differ in the last bits.

    Raises:
        DataError: the data has changed.
    """
    if fingerprint(source.dataset) != state["data"]["sha256"]:
        raise DataError(
            f"{source.path}: pictures or labels have changed since the training began; put them back, or begin a new "
            "training from its best.safetensors"
        )
    for what, before, now in (
        ("threads", state["threads"], torch.get_num_threads()),
        ("processes", state["ranks"], processes.ranks),
        ("versions", state.get("versions"), versions()),
    ):
        if before != now:
            report.note(f"{what} were {before} and are {now}: the training goes on, but not to the same bit")


def _train(
    network: Network,
    task: Task,
    settings: Settings,
    folder: Path | None,
    processes: Processes,
    report: Report,
    checkpoint: Checkpoint | None,
    *,
    plan_only: bool = False,
    done: bool = False,
) -> int:
    """Train, or with `done` only write what belongs to the end; gives the exit code."""
    keep_freed_memory()
    with ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        run = None
        if folder is not None and processes.first:
            run = stack.enter_context(RunFolder(folder))
            if checkpoint is None:
                run.write_arguments(arguments(settings, task))
        training = Training(network, task, settings, run, processes, interrupts, report)
        stack.enter_context(training.loader)
        if checkpoint is not None:
            training.restore(checkpoint)
        try:
            with memory_errors():
                if not done:
                    with saving(training):
                        _drive(training, checkpoint is None, plan_only)
                if run is not None and task.truth is not None and not plan_only:
                    _finish(training, run, task.truth)
        except SignalError as stop:
            if run is not None:
                report.note(f"stopped and saved; go on with: yolov3 train --resume {run.path}")
            return stop.code
        bad = len(training.bad) + len(task.unreadable)
        if bad:
            report.note(f"{bad:,} picture{'' if bad == 1 else 's'} could not be read, named above, left out")
    return DataError.exit_code if bad and processes.first else 0


@contextmanager
def saving(training: Training) -> Iterator[None]:
    """Drop the step under way and save when somebody stops the training, or when another process has gone.

    Raises:
        SignalError: somebody stopped it; also where the others noticed that first and went.
    """
    try:
        yield
    except SignalError:
        training.stepper.drop()
        training.save()
        raise
    except RuntimeError as error:
        if not is_lost(error):
            raise
        training.stepper.drop()
        training.save()
        if (stop := training.interrupts.pending) is not None:
            raise stop from error
        raise


def _drive(training: Training, new: bool, plan_only: bool) -> None:
    """Plan and train to the end, with what is written before."""
    run, task = training.run_folder, training.task
    for line in make_plan(training).lines():
        training.report.note(line)
    if plan_only:
        return
    if run is not None and new:
        write_batch_picture(run.path / "batch.jpg", task.dataset, training.settings, task.preprocess)
    if run is not None:
        run.card.unlink(missing_ok=True)  # of a model that need not stay the best; a new one is written at the end
    training.run()


def _finish(training: Training, run: RunFolder, truth: GroundTruth) -> None:
    """What is written after the last epoch: detections, and the evaluation card of the best model."""
    model = Model.load(run.best)
    best = Network.from_model(model).to(training.processes.device).eval()
    detector = NetworkDetector(best, model.names, model.size_wh, model.preprocess)
    about = {"model": str(run.best), "data": Path(training.task.saved["path"]).name, "split": "val"}
    check = training.interrupts.check
    found = validate(detector, truth, ALONE, resamples=RESAMPLES, about=about | {"engine": "PyTorch"}, check=check)
    write_detections(run.path / "validation", detector, truth.samples)
    write_card(run.evaluation, found)


def arguments(settings: Settings, task: Task) -> dict[str, Any]:
    """What `args.yaml` says."""
    return {
        "settings": settings.to_dict(),
        "data": task.saved,
        "names": list(task.names),
        "start": task.source["start"],
        "versions": versions(),
        "threads": torch.get_num_threads(),
    }
