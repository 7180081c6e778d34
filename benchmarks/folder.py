"""A folder of pictures, from JPEGs to final boxes: this package beside bare scripts and beside networks alone.

    python benchmarks/folder.py [--model yolov3-tiny] [--size 416] [--pictures 256] [--width 640 --height 480]
    python benchmarks/folder.py --width 4000 --height 3000 --pictures 40     # 12 megapixels
    python benchmarks/folder.py --model yolov3 --size 608 --pictures 32 --rounds 3

`yolov3 detect` is the whole command, its start and its JSON lines included; `detect_frames` is the same pipeline in a
process that is warm. "network alone" is an engine on pictures that are decoded and scaled already. "two MNN processes"
is the best arrangement of bare engines: a single-threaded one a core, batches of eight. All take turns (see turns.py).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bare import SCRIPTS, Network
from one_picture import bare_script
from turns import Contender, Race, Worker, cores, machine
from workload import Workload, make_pictures, make_workload

BATCH = 8


def command(arguments: Sequence[str], folder: Path) -> Contender:
    """The whole command on a list of the pictures."""

    def run(paths: Sequence[Path]) -> int:
        listing, found = folder / "listing.txt", folder / "found.jsonl"
        listing.write_text("".join(f"{path}\n" for path in paths))
        words = ["detect", str(listing), "--no-save", "--json", str(found), *arguments]
        subprocess.run([sys.executable, "-m", "yolov3", *words], check=True, stdout=subprocess.DEVNULL)
        return found.read_text().count('"score"')

    return run


def pipeline(batch: int, **options: Any) -> Contender:
    """`detect_frames` in this process, its detector made beforehand."""
    import yolov3
    from yolov3.runtime.pipeline import detect_frames
    from yolov3.sources import open_sources

    detector = yolov3.Detector(**options)

    def run(paths: Sequence[Path]) -> int:
        with open_sources([str(path) for path in paths]) as frames:
            return sum(len(result.detections or ()) for result in detect_frames(detector, frames, batch))

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


def in_processes(count: int, alone: bool, **options: Any) -> Contender:
    """`count` single-threaded bare scripts side by side, each with its share of the pictures."""
    make = network_alone if alone else bare_script
    workers = [Worker(make, {"threads": 1, **options}) for _ in range(count)]

    def run(paths: Sequence[Path]) -> int:
        middle = -(-len(paths) // count)
        middle += -middle % options["batch"]  # whole batches
        for index, worker in enumerate(workers):
            worker.start(paths[index * middle : (index + 1) * middle], False)
        return sum(worker.finish()[1] for worker in workers)

    return run


def add_contenders(contest: Race, options: argparse.Namespace, work: Workload, folder: Path) -> None:
    """Ours first."""
    network, batch, count = work.network, options.batch, cores()
    words = ["--model", work.reference, "--size", str(options.size), *options.detect.split()]
    contest.add(f"yolov3 detect {options.detect}".strip(), command, arguments=words, folder=folder)
    for engine in options.ours.split(","):
        named = {"model": work.reference, "size": options.size, "engine": None if engine == "default" else engine}
        contest.add(f"detect_frames, engine {engine}", pipeline, batch=1 if engine == "ncnn" else batch, **named)
    for script in options.scripts.split(","):
        size = 1 if script in ("ncnn", "opencv") else batch
        contest.add(
            f"bare {script}, batch {size}", bare_script, script=script, network=network, threads=count, batch=size
        )
    arrangement = f"{count} bare MNN processes, batch {batch}"
    mnn = {"count": count, "script": "mnn", "network": network, "batch": batch}
    contest.add(arrangement, in_processes, alone=False, **mnn)
    contest.add(f"network alone: {arrangement}", in_processes, alone=True, **mnn)
    for script in options.alone.split(","):
        size = 1 if script == "ncnn" else batch
        name = f"network alone: {script}, {count} threads, batch {size}"
        contest.add(name, network_alone, script=script, network=network, threads=count, batch=size)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov3-tiny")
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--detect", default="", help="more words for `yolov3 detect`: '--engine mnn --batch 8'")
    parser.add_argument("--ours", default="default", help="engines for detect_frames")
    parser.add_argument("--scripts", default="ncnn,mnn,onnxruntime,openvino")
    parser.add_argument("--alone", default="ncnn,mnn,openvino", help="networks alone, one process")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--rounds", type=int, default=4)
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
    print(f"{options.rounds} rounds in turn\n{machine()}\n\n{contest.table()}")


if __name__ == "__main__":
    main()
