"""How a job's pictures go through engines: which engine, how many at once, with how many threads each.

Small jobs get a fixed arrangement. For large ones and for cameras those that are possible here are tried, about two
seconds together besides loading them, on this machine, with this model at this size, and the choice is kept in the
user's cache folder (docs/performance.md).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import UsageError, Yolov3Error
from ..files import write_atomic
from ..images import read_image
from ..machine import processor_identity, usable_cores
from ..modelfile import Model
from ..spec.shapes import operation_sizes
from ..zoo import cache_folder, sample_photos
from .agreement import decode_all, differences
from .compiled import package_version
from .detector import AUTO, Detector
from .engines import DEFAULT_ENGINE, installed_engines, package_of
from .exported import Exported

FEW = 5
"""Below so many pictures it is faster not to prepare the engine for many."""

LARGE = 200
"""From so many pictures on it pays to try what is fastest."""

TRIAL_SECONDS = 2.0
FINALISTS = 3
"""So many are tried twice."""

MOST_WORKERS_UNTRIED = 4
MOST_VALUES = 1 << 29
"""Arrangements whose networks would hold more values at once (2 GB of float32) aren't tried."""

BOX_LIMIT, SCORE_LIMIT = 0.5, 0.002
"""An engine that moves boxes by more pixels of the input, or scores by more, is left out."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Who works with what.

    Attributes:
        engine: one of `ENGINES`; None for what the model brings with it.
        workers: threads that read and detect side by side.
        threads: how many each worker's engine uses.
        batch: pictures that go through the network together.
    """

    engine: str | None
    workers: int
    threads: int
    batch: int

    def __str__(self) -> str:
        words = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in self._counts()]
        return f"{self.engine or 'its own engine'}, {words[0]} of {words[1]}, batch {self.batch}"

    def _counts(self) -> Iterator[tuple[int, str]]:
        yield self.workers, "worker"
        yield self.threads, "thread"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asks for; None leaves it open.

    Attributes:
        engine: a name, or `AUTO`.
        workers, batch: as in `Arrangement`.
        threads: of all workers together.
    """

    engine: str = AUTO
    workers: int | None = None
    threads: int | None = None
    batch: int | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "threads", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name} {value}: expected 1 or more")


@dataclass(frozen=True, slots=True)
class Chosen:
    """An arrangement and why.

    Attributes:
        arrangement: to work by.
        warnings: engines that were left out.
        reasons: how it was found, for who wants to know.
    """

    arrangement: Arrangement
    warnings: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def arrange(
    model: Model | Exported,
    size_wh: tuple[int, int],
    total: int | None,
    wanted: Wanted = Wanted(),
    *,
    live: bool = False,
) -> Chosen:
    """Decide how to work.

    Args:
        model: what will run.
        size_wh: at this input size.
        total: how many pictures there are; None where that is unknown, as with several videos.
        wanted: what the user asks for.
        live: pictures come from a camera, without end, and must not wait for each other.

    Raises:
        UsageError: an engine that isn't known.
        Yolov3Error: one that isn't installed.
    """
    cores = wanted.threads or usable_cores()
    few = total is not None and total < FEW
    large = live or (not few and (total is None or total >= LARGE))
    if live:
        wanted = replace(wanted, workers=wanted.workers or 1, batch=wanted.batch or 1)
    engine = None if wanted.engine == AUTO else wanted.engine
    if large and engine is None and isinstance(model, Model):
        return _tried(model, size_wh, wanted, cores)
    workers = wanted.workers or (1 if few else min(cores, MOST_WORKERS_UNTRIED))
    default = DEFAULT_ENGINE if isinstance(model, Model) else None
    fixed = Arrangement(engine or default, workers, max(cores // workers, 1), wanted.batch or 1)
    return Chosen(fixed, reasons=[f"{fixed} (not tried: {_why_not(model, large, engine)})"])


def _why_not(model: Model | Exported, large: bool, engine: str | None) -> str:
    if engine is not None:
        return "the engine is given"
    if isinstance(model, Exported):
        return "an exported network has its own engine"
    return "a large job" if large else f"the job has less than {LARGE} pictures"


# ------------------------------------------------------------------------------------------------ trying


def _tried(model: Model, size_wh: tuple[int, int], wanted: Wanted, cores: int) -> Chosen:
    """The fastest arrangement, from the cache or by trying."""
    candidates = possible(model, size_wh, wanted, cores)
    if len(candidates) == 1:
        return Chosen(candidates[0], reasons=[f"{candidates[0]} (nothing else is possible)"])
    cache = Cache(cache_folder() / "arrangements.json")
    key = cache_key(model, size_wh, candidates)
    known = cache.get(key)
    if known is not None and known in candidates:
        return Chosen(known, reasons=[f"{known} (tried before, kept in {cache.path})"])
    chosen = try_all(model, size_wh, candidates)
    if not cache.put(key, chosen.arrangement):
        chosen.reasons.append(f"{cache.path} can't be written, so this is tried again next time")
    return chosen


def possible(model: Model, size_wh: tuple[int, int], wanted: Wanted, cores: int) -> list[Arrangement]:
    """What is worth trying: each engine that is installed, with one worker a core and with all cores at one picture.

    MNN alone gains from batches as a rule, so only for it are larger ones tried.
    """
    network = model.spec.network
    sizes = operation_sizes(network, size_wh)
    values = sum(each.channels * high * wide for each, (high, wide) in zip(network.operations, sizes, strict=True))
    found = []
    for engine in installed_engines():
        for workers in [wanted.workers] if wanted.workers else sorted({cores, 1}, reverse=True):
            batch = 1 if engine != "mnn" else max(min(8, MOST_VALUES // (values * workers)), 1)
            found.append(Arrangement(engine, workers, max(cores // workers, 1), wanted.batch or batch))
    return found


def try_all(model: Model, size_wh: tuple[int, int], candidates: Sequence[Arrangement]) -> Chosen:
    """Try each on a sample photo, and the fastest again; those whose engine gives other results are left out.

    Of both tries the faster counts: what else the machine does can only slow one down.
    """
    photo = max(sample_photos(), key=lambda path: path.stat().st_size)
    left_out = _disagreeing(model, size_wh, list(dict.fromkeys(candidate.engine for candidate in candidates)), photo)
    rates: dict[Arrangement, float] = {}

    def rate(candidate: Arrangement, seconds: float) -> None:
        detector = Detector(
            model, size=size_wh, engine=candidate.engine, threads=candidate.threads, callers=candidate.workers
        )
        rates[candidate] = max(rates.get(candidate, 0.0), _rate(detector, candidate, photo, seconds))

    for candidate in candidates:
        if candidate.engine not in left_out:
            rate(candidate, TRIAL_SECONDS / 2 / len(candidates))
    for finalist in sorted(rates, key=lambda candidate: rates[candidate])[-FINALISTS:]:
        rate(finalist, TRIAL_SECONDS / 2 / FINALISTS)
    best = max(rates, key=lambda candidate: rates[candidate])
    listing = [f"{rate:.1f} pictures/s: {candidate}" for candidate, rate in rates.items()]
    warnings = [f"engine {engine} is left out: {why}" for engine, why in left_out.items()]
    return Chosen(best, warnings, [f"{best} (the fastest of {len(rates)})", *listing])


def _disagreeing(
    model: Model, size_wh: tuple[int, int], engines: Sequence[str | None], photo: Path
) -> dict[str | None, str]:
    """Engines whose results differ from the first one's, ncnn's, or that have none, and why."""
    picture = read_image(photo)
    expected = None
    left_out: dict[str | None, str] = {}
    for engine in engines:
        try:
            outputs = _outputs(Detector(model, size=size_wh, engine=engine), picture)
        except Yolov3Error as error:
            left_out[engine] = str(error)
            continue
        expected = expected or outputs
        box, score = differences(expected, outputs)
        if not (box <= BOX_LIMIT and score <= SCORE_LIMIT):
            left_out[engine] = (
                f"it moves boxes by {box:.2g} pixels and scores by {score:.2g}, "
                f"at most {BOX_LIMIT} and {SCORE_LIMIT} expected"
            )
    return left_out


def _outputs(detector: Detector, picture: Any) -> tuple[Any, Any]:
    plan = detector.plan((picture.shape[1], picture.shape[0]))
    raw = detector.raw([picture], [plan])
    return decode_all([head[0] for head in raw], detector.model.spec.network.heads, len(detector.names))


def _rate(detector: Detector, arrangement: Arrangement, photo: Path, seconds: float) -> float:
    """Pictures a second from file to boxes, after a round to warm up; each worker does one batch at least."""
    from concurrent.futures import ThreadPoolExecutor

    def work(until: float) -> int:
        done = 0
        while True:
            detector.batch([photo] * arrangement.batch)
            done += arrangement.batch
            if time.perf_counter() >= until:
                return done

    with ThreadPoolExecutor(arrangement.workers) as pool:
        list(pool.map(work, [0.0] * arrangement.workers))
        start = time.perf_counter()
        done = sum(pool.map(work, [start + seconds] * arrangement.workers))
        return done / (time.perf_counter() - start)


# ------------------------------------------------------------------------------------------------ the cache


class Cache:
    """Choices that were made, by key. What can't be read counts as empty: it is only a cache."""

    MOST = 200

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, key: str) -> Arrangement | None:
        """The choice, if it was made before."""
        try:
            return Arrangement(**self._read()[key])
        except (KeyError, TypeError):
            return None

    def put(self, key: str, arrangement: Arrangement) -> bool:
        """Keep a choice, and of the others the latest; says whether that could be done."""
        kept = self._read()
        kept.pop(key, None)
        kept[key] = asdict(arrangement)
        latest = dict(list(kept.items())[-self.MOST :])
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path, json.dumps(latest, indent=1))
        except (OSError, Yolov3Error):
            return False
        return True

    def _read(self) -> dict[str, Any]:
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return kept if isinstance(kept, dict) else {}


def cache_key(model: Model, size_wh: tuple[int, int], candidates: Sequence[Arrangement]) -> str:
    """What the choice depends on: machine, versions, model, size, and what there is to choose from."""
    import hashlib

    engines = sorted({candidate.engine for candidate in candidates if candidate.engine})
    about = {
        "machine": [*processor_identity(), usable_cores()],
        "versions": {"yolov3": __version__, **{engine: package_version(package_of(engine)) for engine in engines}},
        "model": model.digest,
        "size": size_wh,
        "candidates": [asdict(candidate) for candidate in candidates],
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
