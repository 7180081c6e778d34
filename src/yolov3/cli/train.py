"""`yolov3 train`: from a dataset to a model."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from . import augmenting, dataset, options

if TYPE_CHECKING:
    from ..modelfile import Model
    from ..spec import Spec
    from ..training.processes import Processes
    from ..training.progress import Progress
    from ..training.session import Prepared
    from ..training.settings import Settings
    from ..training.transfer import Backbone

DEFAULT_FOLDER = Path("runs/train/exp")

# What a resume may be told; all else is as it was when the training began.
RESUME_OPTIONS = frozenset({"resume", "epochs", "device", "threads", "tensorboard"})

what = options.together(
    click.option(
        "--model",
        default="yolov3-tiny",
        show_default=True,
        metavar="NAME|FILE",
        help="Where to start: a name, a .safetensors, a Darknet .cfg with --weights; or a .yaml, the network alone.",
    ),
    options.darknet,
    click.option("--start", metavar="NAME|FILE", help="Another model to take weights from, where they fit."),
    click.option(
        "--backbone",
        type=options.FilePath,
        help="Darknet weights cut behind a layer (darknet53.conv.74) for the first layers, the rest random.",
    ),
    click.option("--scratch", is_flag=True, help="Start from random weights."),
    click.option(
        "--anchors",
        type=click.Choice(["auto", "keep", "fit"]),
        default="auto",
        show_default=True,
        help="Keep the model's, fit new ones to the data, or new ones only where the old fit badly.",
    ),
    click.option(
        "--decoding",
        type=click.Choice(["auto", "keep", "darknet", "scaled"]),
        default="auto",
        show_default=True,
        help="How raw values become boxes; auto: scaled with the modern recipe.",
    ),
    click.option("--freeze", metavar="backbone|N", help="Leave the backbone, or the first N rows, as they are."),
)
how = options.together(
    click.option("--epochs", default=100, show_default=True, help="How often every picture is seen."),
    click.option("--batch", default=16, show_default=True, help="Pictures that go through the network together."),
    click.option("--accumulate", default=1, show_default=True, help="Batches that make one step."),
    options.size,
    click.option("--seed", default=0, show_default=True, help="Of everything that is random."),
    click.option("--recipe", default="darknet", show_default=True, help="Assignment and loss: darknet or modern."),
    click.option("--ignore-threshold", default=0.7, show_default=True, help="Darknet's ignore_thresh (darknet)."),
    click.option("--focal", default=0.0, show_default=True, help="Exponent of the focal loss (modern)."),
    click.option("--label-smoothing", default=0.0, show_default=True, help="Of classes (modern)."),
    click.option("--optimiser", default="sgd", show_default=True, help="sgd (Nesterov) or adamw."),
    click.option("--rate", type=float, help="Learning rate; default 0.05 (modern), 0.01 (darknet), 0.001 (adamw)."),
    click.option("--momentum", default=0.937, show_default=True, help="Of SGD; AdamW's first beta."),
    click.option("--weight-decay", default=0.0005, show_default=True, help="Of convolution weights."),
    click.option("--schedule", default="cosine", show_default=True, help="cosine, steps or constant."),
    click.option("--final", default=0.01, show_default=True, help="The cosine's last rate, in parts of the first."),
    click.option("--warm-up", default=3.0, show_default=True, help="Epochs in which the rate rises."),
    click.option("--clip", default=10.0, show_default=True, help="Largest norm of gradients; 0: no limit."),
    click.option("--average", default=0.9999, show_default=True, help="Memory of the weights' average; 0: none."),
    click.option("--patience", default=0, show_default=True, help="Stop after N epochs without better AP; 0: never."),
    click.option("--precision", default="float32", show_default=True, help="float32, bfloat16 or float16."),
    click.option("--balanced", is_flag=True, help="Show pictures of rare classes more often."),
    augmenting.options,
)
where = options.together(
    click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:N or mps."),
    click.option("--threads", type=click.IntRange(1), help="For the network; default all cores."),
    click.option("--workers", default=2, show_default=True, help="Threads that prepare pictures."),
    click.option("--cache", default=1.0, show_default=True, metavar="GIB", help="Memory for pictures that were read."),
    click.option("--output", type=options.FilePath, help=f"New folder for everything; default {DEFAULT_FOLDER}."),
    click.option("--save-minutes", default=10.0, show_default=True, help="A checkpoint at least so often."),
    click.option("--tensorboard", is_flag=True, help="Write TensorBoard's files too."),
    click.option("--plan", is_flag=True, help="Only say how long it will take, and what would make it faster."),
    click.option("--resume", type=options.FilePath, metavar="RUN", help="Go on with the training in this folder."),
)


@click.command()
@click.argument("data", type=options.FilePath, required=False)
@dataset.images
@dataset.bad_labels
@what
@how
@where
@click.pass_context
def train(ctx: click.Context, /, data: Path | None, **given: Any) -> int:
    """Train a detector on your pictures.

    DATA is a data.yaml, a COCO .json, a Pascal VOC folder or a Darknet .data file. The best model is best.safetensors
    in the run's folder, ready for `yolov3 detect --model`. Whatever stops a training, --resume goes on to the same bit.

    Example: yolov3 train data.yaml --epochs 50 --output runs/train/cells
    """
    require_torch()
    from ..errors import UsageError
    from ..images import quiet_decoders
    from ..training.processes import all_processes

    with quiet_decoders(), all_processes(given["device"], given["threads"]) as processes:
        teller = Teller(processes.first)
        try:
            if given["resume"] is not None:
                return go_on(ctx, processes, teller)
            if data is None:
                raise UsageError("DATA is missing: yolov3 train data.yaml, or --resume RUN")
            return begin_anew(data, given, processes, teller)
        finally:
            teller.close()


def require_torch() -> None:
    """Say what to install where PyTorch isn't.

    Raises:
        Yolov3Error: it isn't.
    """
    from importlib.util import find_spec

    from ..errors import Yolov3Error

    if find_spec("torch") is None:
        raise Yolov3Error("training needs PyTorch, which is not installed; pip install 'yolov3[train]'")


def check_resume(ctx: click.Context) -> None:
    """Refuse options that a resume can't change."""
    from ..errors import UsageError

    for name in ctx.params:
        if name not in RESUME_OPTIONS and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            word = "DATA" if name == "data" else f"--{name.replace('_', '-').replace('changes', 'set')}"
            known = ", ".join(f"--{option}" for option in sorted(RESUME_OPTIONS - {"resume"}))
            raise UsageError(f"{word} can't be given with --resume, which goes on as it began; it takes {known}")


def go_on(ctx: click.Context, processes: Processes, teller: Teller) -> int:
    """Resume."""
    from ..training.session import resume

    check_resume(ctx)
    given = ctx.params
    told = ctx.get_parameter_source("epochs") is ParameterSource.COMMANDLINE
    report = reporting(given, given["resume"], teller)
    code = resume(given["resume"], processes, report, epochs=given["epochs"] if told else None)
    return say_where(given["resume"], code, teller)


def begin_anew(data: Path, given: Mapping[str, Any], processes: Processes, teller: Teller) -> int:
    """Train from a dataset."""
    from ..sinks.folder import new_folder
    from ..training.session import begin

    prepared, settings = prepare_training(data, given)
    folder = None
    if processes.first and not given["plan"]:
        folder = new_folder(given["output"] or DEFAULT_FOLDER, take_empty=given["output"] is not None)
        teller.note(f"everything goes to {folder}")
    report = reporting(given, folder, teller)
    code = begin(prepared, settings, folder, processes, report, plan_only=given["plan"])
    return say_where(folder, code, teller)


def say_where(folder: Path | None, code: int, teller: Teller) -> int:
    """Where the model is, after a training that came to its end; gives the exit code on."""
    from ..errors import DataError

    if folder is not None and code in (0, DataError.exit_code):
        best = folder / "best.safetensors"
        teller.note(f"the best model is {best}; try it: yolov3 detect --model {best} PICTURES")
    return code


def reporting(given: Mapping[str, Any], folder: Path | None, teller: Teller) -> Any:
    """Who is told: the terminal, and TensorBoard if wanted."""
    if not given["tensorboard"] or folder is None or not teller.speaks:
        return teller
    from ..training.board import Board

    return Board(teller, folder / "tensorboard")


def prepare_training(data: Path, given: Mapping[str, Any]) -> tuple[Prepared, Settings]:
    """Read the dataset and the model, and decide on the network."""
    from dataclasses import fields, replace

    from ..data import load_dataset
    from ..modelfile import Model
    from ..spec.shapes import parse_size
    from ..training.session import Source, prepare
    from ..training.settings import Settings

    loaded = load_dataset(data, images=given["images"], bad_labels=given["bad_labels"])
    base, own_size, scratch = open_model(given)
    spec = base.spec if isinstance(base, Model) else base
    named = {field.name: given[field.name] for field in fields(Settings) if field.name in given}
    settings = replace(
        Settings(**{name: value for name, value in named.items() if name not in ("freeze", "augment")}),
        size_wh=own_size if given["size"] is None else parse_size(given["size"]),
        freeze=frozen_rows(given["freeze"], spec),
        augment=augmenting.settings(given["augment"] or given["recipe"], given["changes"]),
    )
    prepared = prepare(
        Source(loaded, data, given["images"], given["bad_labels"]),
        base,
        settings,
        scratch=scratch,
        start=load_start(given, spec, len(loaded.names)),
        anchors=given["anchors"],
        decoding=given["decoding"],
    )
    return prepared, settings


def open_model(given: Mapping[str, Any]) -> tuple[Model | Spec, tuple[int, int], bool]:
    """What `--model` names: a model, or a network alone; its input size; whether to start from random weights."""
    from ..errors import UsageError
    from ..runtime.loading import DarknetOptions, load_model
    from .show import load_any_spec

    reference = given["model"]
    begins = [name for name in ("scratch", "start", "backbone") if given[name]]
    if len(begins) > 1:
        raise UsageError(f"{' and '.join(f'--{name}' for name in begins)}: expected one of them")
    bare = Path(reference).suffix.lower() in (".yaml", ".yml")
    if bare or (begins and given["weights"] is None):
        spec, size_wh = load_any_spec(reference)
        return spec, size_wh, begins in ([], ["scratch"])
    loaded = load_model(
        reference, DarknetOptions(given["weights"], given["names"], given["masks"], given["allow_extra"])
    )
    options.print_notes(loaded.notes)
    return loaded.model, loaded.model.size_wh, given["scratch"]


def load_start(given: Mapping[str, Any], spec: Spec, nc: int) -> Model | Backbone | None:
    """The model that `--start` names, or the first layers of `--backbone` for this network with `nc` classes."""
    from ..runtime.loading import load_model
    from ..training.transfer import Backbone, with_classes

    if given["backbone"] is not None:
        backbone, notes = Backbone.read(given["backbone"], with_classes(spec, nc))
        options.print_notes(notes)
        return backbone
    return None if given["start"] is None else load_model(given["start"]).model


def frozen_rows(freeze: str | None, spec: Spec) -> int:
    """`--freeze` as a number of rows."""
    from ..errors import UsageError

    if freeze is None:
        return 0
    if freeze == "backbone":
        return len(spec.backbone)
    if not freeze.isascii() or not freeze.isdigit():
        raise UsageError(f"--freeze {freeze}: expected backbone or a number of rows")
    return int(freeze)


class Teller:
    """Tells a terminal how a training goes: a line an epoch, and between them how far it is and how long it takes."""

    def __init__(self, speaks: bool) -> None:
        """Only the first of several processes speaks."""
        self.speaks = speaks
        self._began: float | None = None
        self._first = 0
        self._bar: Any = None

    def note(self, text: str) -> None:
        """Something worth knowing."""
        if self.speaks:
            self.close()
            options.print_notes([text])

    def step(self, progress: Progress, steps: int, pictures: int) -> None:
        """One more step is done."""
        if self._began is None:
            self._began, self._first = time.monotonic(), progress.epoch
        if not self.speaks or not sys.stderr.isatty():
            return
        if self._bar is None:
            from tqdm import tqdm

            name = f"epoch {progress.epoch + 1}"
            self._bar = tqdm(
                total=steps, initial=progress.step - 1, desc=name, unit="step", leave=False, file=sys.stderr
            )
        self._bar.set_postfix_str(f"loss {sum(progress.losses) / progress.step:.3f}", refresh=False)
        self._bar.update()

    def epoch(self, row: dict[str, Any], progress: Progress, epochs: int) -> None:
        """An epoch is finished."""
        self.close()
        if not self.speaks:
            return
        scores = "".join(f"  {name} {row[name]:.4f}" for name in ("AP", "AP50") if row.get(name) is not None)
        best = " *" if progress.best_epoch == row["epoch"] and scores else ""
        parts = ", ".join(f"{name} {row[name]:.3f}" for name in ("box", "objectness", "classes"))
        timing = self._timing(row, progress, epochs)
        print(f"epoch {row['epoch']:>3}  loss {row['loss']:.3f} ({parts}){scores}{best}  {timing}", flush=True)

    def _timing(self, row: dict[str, Any], progress: Progress, epochs: int) -> str:
        from ..training.planner import duration

        rate = f"{row['pictures_per_second'] or 0:.1f} pictures/s"
        if self._began is None:
            return rate
        mean = (time.monotonic() - self._began) / max(progress.epoch - self._first, 1)
        left = max(epochs - progress.epoch, 0)
        return f"{rate}, {duration(mean * left)} left" if left and not progress.stopped else rate

    def close(self) -> None:
        """Take the progress line away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
