"""A folder of pictures, from JPEGs to final boxes: this package beside bare scripts and beside networks alone.

    python benchmarks/folder.py [--model yolov3-tiny] [--size 416] [--pictures 256] [--width 640 --height 480]
    python benchmarks/folder.py --width 4000 --height 3000 --pictures 40     # 12 megapixels
    python benchmarks/folder.py --model yolov3 --size 608 --pictures 32 --rounds 3

`yolov3 detect` is the whole command, its start and its JSON lines included, with the arrangement that it chooses (from
200 pictures on it tries them once and keeps the choice; the trial is in the run that warms up). `detect_frames` is the
same pipeline in a process that is warm. Others are given as ENGINE[:BATCH[:PROCESSES]]: with several processes each is
single-threaded and has its share of the pictures. "network alone" is a bare engine on pictures that are decoded and
scaled already; `mnn:8:2` is the best arrangement of bare engines on processors without AVX-512. All take turns (see
turns.py).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bare import SCRIPTS, Network
from one_picture import bare_script
from turns import Contender, Race, Worker
from workload import Workload, make_pictures, make_workload

from yolov3.benchmark.machine import describe_machine, machine_line
from yolov3.machine import usable_cores


@dataclass(frozen=True)
class Arrangement:
    """An engine, pictures at once, processes (of ours: workers) with their share of the cores."""

    engine: str
    batch: int = 1
    processes: int = 1

    @classmethod
    def parse(cls, text: str) -> Arrangement:
        """From ENGINE[:BATCH[:PROCESSES]]."""
        engine, *numbers = text.split(":")
        return cls(engine, *map(int, numbers))

    @property
    def threads(self) -> int:
        """Of each."""
        return max(usable_cores() // self.processes, 1)

    def __str__(self) -> str:
        sides = f"{self.processes} × {self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.engine}, {sides}, batch {self.batch}"


def command(arguments: Sequence[str], folder: Path) -> Contender:
    """The whole command on a list of the pictures."""

    def run(paths: Sequence[Path]) -> int:
        listing, found = folder / "listing.txt", folder / "found.jsonl"
        listing.write_text("".join(f"{path}\n" for path in paths))
        words = ["detect", str(listing), "--no-save", "--json", str(found), *arguments]
        subprocess.run([sys.executable, "-m", "yolov3", *words], check=True, stdout=subprocess.DEVNULL)
        return found.read_text().count('"score"')

    return run


def pipeline(arrangement: Arrangement, **options: Any) -> Contender:
    """`detect_frames` in this process, its detector made beforehand."""
    import yolov3
    from yolov3.runtime.pipeline import detect_frames
    from yolov3.sources import open_sources

    workers = arrangement.processes
    detector = yolov3.Detector(engine=arrangement.engine, threads=arrangement.threads, callers=workers, **options)

    def run(paths: Sequence[Path]) -> int:
        with open_sources([str(path) for path in paths]) as frames:
            results = detect_frames(detector, frames.unread(), arrangement.batch, workers=workers, all_pixels=False)
            return sum(len(result.detections or ()) for result in results)

    return run


def network_alone(script: str, network: Network, threads: int, batch: int) -> Contender:
    """A bare engine on an input that lies ready; it finds nothing."""
    engine = SCRIPTS[script](network, threads, batch)
    engine.input[:] = np.random.default_rng(0).random(engine.input.shape, np.float32)
    engine.canvas[:] = np.random.default_rng(0).integers(0, 256, engine.canvas.shape, np.uint8)
    engine.fill()

    def run(paths: Sequence[Path]) -> int:
        for _ in range(0, len(paths), batch):
            engine.run()
        return 0

    return run


def bare(arrangement: Arrangement, network: Network, alone: bool) -> Contender:
    """Bare scripts, or their networks alone, each process with its share of the pictures."""
    make = network_alone if alone else bare_script
    batch, count = arrangement.batch, arrangement.processes
    options = {"script": arrangement.engine, "network": network, "threads": arrangement.threads, "batch": batch}
    if count == 1:
        return make(**options)
    workers = [Worker(make, options) for _ in range(count)]

    def run(paths: Sequence[Path]) -> int:
        share = -(-len(paths) // (count * batch)) * batch  # whole batches
        for index, worker in enumerate(workers):
            worker.start(paths[index * share : (index + 1) * share], False)
        return sum(worker.finish()[1] for worker in workers)

    return run


def add_contenders(contest: Race, options: argparse.Namespace, work: Workload, folder: Path) -> None:
    """Ours first."""
    words = ["--model", work.reference, "--size", str(options.size), *options.detect.split()]
    name = f"yolov3 detect {options.detect}".strip()
    contest.add(name, command, warm=len(contest.paths), arguments=words, folder=folder)
    for arrangement in arrangements(options.ours):
        given = {"model": work.reference, "size": options.size}
        contest.add(f"detect_frames: {arrangement}", pipeline, arrangement=arrangement, **given)
    for title, listing, alone in (("bare", options.scripts, False), ("network alone", options.alone, True)):
        for arrangement in arrangements(listing):
            given = {"network": work.network, "alone": alone}
            contest.add(f"{title}: {arrangement}", bare, arrangement=arrangement, **given)


def arrangements(listing: str) -> list[Arrangement]:
    """From words with commas between them."""
    return [Arrangement.parse(word) for word in listing.split(",") if word]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov3-tiny")
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--detect", default="", help="more words for `yolov3 detect`: '--engine mnn --batch 8'")
    parser.add_argument("--ours", default="", help="arrangements for detect_frames")
    parser.add_argument("--scripts", default="onnxruntime,openvino,mnn:8:2", help="bare scripts, end to end")
    parser.add_argument("--alone", default="ncnn,onnxruntime:1:2,mnn:8:2", help="networks alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        paths = make_pictures(Path(temporary, "pictures"), options.pictures, (options.width, options.height))
        work = make_workload(options.model, options.size, Path(temporary))
        contest = Race(paths, each=False)
        try:
            add_contenders(contest, options, work, Path(temporary))
            contest.run(options.rounds)
        finally:
            contest.close()
    print(f"{work.note}, a folder of {len(paths)} JPEGs {options.width}×{options.height}, ", end="")
    print(f"{options.rounds} rounds in turn\n{machine_line(describe_machine())}\n\n{contest.table()}")


if __name__ == "__main__":
    main()
