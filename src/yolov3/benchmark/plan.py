"""What is to be measured, made sure of before anything is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from ..darknet import save_darknet
from ..errors import ModelError, UsageError, Yolov3Error, shown
from ..images import PICTURE_SUFFIXES
from ..machine import usable_cores
from ..modelfile import Model
from ..runtime.engines import ENGINES, FILE_ENGINES, installed_engines
from ..runtime.exported import Exported, exported_kind, load_exported
from ..runtime.loading import DarknetOptions, Reference, load_model
from ..spec import parse_size
from ..zoo import sample_photos
from .contenders import PEERS, ULTRALYTICS_NAMES, require_darknet_reader

ROUNDS = 6
PICTURES = 16
MOST_PICTURES = 100_000


@dataclass(frozen=True)
class Job:
    """What is to be measured.

    Attributes:
        model, weights: as `Detector` takes them.
        size: the network's input; None for the model's own.
        batch: pictures that go through the network together.
        engines: names, or None for all that are installed.
        pictures: files of a turn; None for 16 sample photos. A part of a batch at their end is left out.
        against: names of `PEERS`.
        rounds: turns of each contender; fewer where they take long.
    """

    model: Reference = "yolov3-tiny"
    weights: Reference | None = None
    size: int | str | Sequence[int] | None = None
    batch: int = 1
    engines: Sequence[str] | None = None
    pictures: Sequence[Path] | None = None
    against: Sequence[str] = ()
    rounds: int = ROUNDS


@dataclass(frozen=True)
class Plan:
    """A job made sure of: what each contender is loaded with."""

    job: Job
    model: Model | Exported
    size_wh: tuple[int, int]
    batches: Sequence[Sequence[str]]
    contenders: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def make_plan(job: Job, folder: Path) -> Plan:
    """Check the job before anything is measured, and write what peers read into `folder`."""
    if job.batch < 1:
        raise UsageError(f"batch is {job.batch}, expected 1 or more")
    for peer in job.against:
        _check_peer(peer, job)
    darknet = DarknetOptions(job.weights)
    if exported_kind(job.model) is not None:
        model: Model | Exported = load_exported(job.model, darknet)
    else:
        model = load_model(job.model, darknet).model
    size_wh = model.size_wh if job.size is None else parse_size(job.size, model.spec)
    plan = Plan(job, model, size_wh, _batches(job))
    contenders = {engine: _own(plan, engine) for engine in _engines(job, model)}
    contenders |= {peer: _peer(plan, peer, folder) for peer in job.against}
    return replace(plan, contenders=contenders)


def _check_peer(peer: str, job: Job) -> None:
    if peer not in PEERS:
        raise UsageError(f"against {shown(peer)}: not known, expected {' or '.join(PEERS)}")
    module, install = PEERS[peer]
    if find_spec(module) is None:
        raise Yolov3Error(f"against {peer}: it is not installed; {install}")
    if peer == "opencv":
        import cv2

        require_darknet_reader(cv2)
    elif str(job.model) not in ULTRALYTICS_NAMES:
        raise UsageError(
            f"against ultralytics: it has networks of its own called {', '.join(ULTRALYTICS_NAMES)}, and can't run "
            f"{job.model}"
        )


def _engines(job: Job, model: Model | Exported) -> Sequence[str]:
    """Those that are asked for; all: those that are installed and run such a model."""
    able = FILE_ENGINES[model.kind] if isinstance(model, Exported) else ENGINES
    if job.engines is None:
        here = [engine for engine in installed_engines() if engine in able]
        if not here:
            raise Yolov3Error(f"{job.model}: no engine that runs it is installed, expected {' or '.join(able)}")
        return here
    for engine in job.engines:
        if engine not in able:
            raise UsageError(f"engine {shown(engine)} is not one for {job.model}, expected of {', '.join(able)}")
    return list(dict.fromkeys(job.engines))


def _batches(job: Job) -> list[list[str]]:
    """The pictures of a turn, batch by batch; full batches only, as speed is asked for."""
    given = [str(path) for path in job.pictures or islice(cycle(sample_photos()), PICTURES)]
    count = max(len(given) // job.batch, 1) * job.batch
    paths = [given[index % len(given)] for index in range(count)]
    return [paths[start : start + job.batch] for start in range(0, count, job.batch)]


def _own(plan: Plan, engine: str) -> dict[str, Any]:
    weights = None if plan.job.weights is None else str(plan.job.weights)
    return {
        "kind": "own",
        "reference": str(plan.job.model),
        "weights": weights,
        "size": plan.size_wh,
        "engine": engine,
    }


def _peer(plan: Plan, peer: str, folder: Path) -> dict[str, Any]:
    options: dict[str, Any] = {"kind": peer, "size": plan.size_wh, "threads": usable_cores()}
    if peer == "ultralytics":
        return options | {"reference": str(plan.job.model), "folder": str(folder)}
    if isinstance(plan.model, Exported):
        raise ModelError(f"{plan.job.model}: OpenCV's Darknet reader can't run it; give the model it was made from")
    cfg = folder / "network.cfg"
    save_darknet(plan.model, cfg, dialect="opencv")
    return options | {"cfg": str(cfg), "darknet_weights": str(cfg.with_suffix(".weights"))}


def parse_pictures(text: str) -> list[Path]:
    """What `--pictures` takes: so many sample photos, again and again; or all pictures of a folder, by name.

    Raises:
        UsageError: no number above 0, no folder, or no pictures in it.
    """
    if text.isascii() and text.isdigit():
        count = int(text)
        if not 1 <= count <= MOST_PICTURES:
            raise UsageError(f"--pictures {text}: expected 1 to {MOST_PICTURES:,}")
        return list(islice(cycle(sample_photos()), count))
    folder = Path(text)
    if not folder.is_dir():
        raise UsageError(f"--pictures {text}: expected a number or a folder")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    if not found:
        raise UsageError(f"--pictures {text}: no pictures in that folder")
    return found
