"""One picture at a time, from JPEG to final boxes: this package beside bare scripts of every engine.

    python benchmarks/one_picture.py [--model yolov3-tiny] [--size 416] [--rounds 8]

All contenders have the same cores and pictures and take turns, each in a process of its own (see turns.py).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bare import SCRIPTS
from turns import Contender, Race
from workload import make_pictures, make_workload

from yolov3.benchmark.machine import describe_machine, machine_line
from yolov3.machine import usable_cores


def ours(**options: Any) -> Contender:
    """`Detector(path)`, as a user calls it."""
    import yolov3

    detector = yolov3.Detector(**options)
    return lambda paths: sum(len(detector(path)) for path in paths)


def bare_script(script: str, **options: Any) -> Contender:
    """One of `bare.SCRIPTS`."""
    return SCRIPTS[script](**options)


def race(options: argparse.Namespace, paths: Sequence[Path], folder: Path) -> None:
    """All contenders on these pictures."""
    work = make_workload(options.model, options.size, folder)
    contest = Race(paths, each=True)
    try:
        for engine in options.ours.split(","):
            name = "yolov3" if engine == "default" else f"yolov3, {engine}"
            chosen = {"default": {}, "bfloat16": {"precision": "bfloat16"}}.get(engine, {"engine": engine})
            contest.add(name, ours, model=work.reference, size=options.size, **chosen)
        for script in options.scripts.split(","):
            contest.add(f"bare {script}", bare_script, script=script, network=work.network, threads=usable_cores())
        contest.run(options.rounds)
    finally:
        contest.close()
    print(f"{work.note}, one picture at a time, {len(paths)} JPEGs {options.width}×{options.height}, ", end="")
    print(f"{options.rounds} rounds in turn\n{machine_line(describe_machine())}\n\n{contest.table()}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov3-tiny")
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument(
        "--ours",
        default="default",
        help="of default, auto, bfloat16, engines; the first is compared",
    )
    parser.add_argument("--scripts", default=",".join(SCRIPTS))
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=24, help="in a turn")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        paths = make_pictures(Path(temporary, "pictures"), options.pictures, (options.width, options.height))
        race(options, paths, Path(temporary))


if __name__ == "__main__":
    main()
