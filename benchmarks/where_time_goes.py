"""Where a picture's time goes in a folder run: python benchmarks/where_time_goes.py [--width 4000 --height 3000]

`yolov3 detect FOLDER --no-save --json FILE` under cProfile in this process, one picture after the other in one thread
(`--workers 1`), so that every stage shows. A stage's share is the time inside its function and all that it calls, over
the time of the whole loop; starting Python and loading the model stand apart. The profiler itself makes Python's part
look larger than it is.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import io
import pstats
import tempfile
from pathlib import Path

from workload import make_pictures

from yolov3.benchmark.machine import describe_machine, machine_line

# stage → the file and function whose time it is
STAGES = {
    "reading the file": ("images/decode.py", "read_picture_bytes"),
    "decoding JPEG": ("images/decode.py", "decode_enough"),
    "letterbox": ("geometry.py", "letterbox_image"),
    "network": ("runtime/engines/", "__call__"),
    "thresholds and boxes": ("runtime/outputs.py", "find_candidates"),
    "suppression": ("postprocess.py", "suppress"),
    "JSON lines": ("sinks/files.py", "write"),
    "table": ("cli/table.py", "add"),
}
LOOP = ("cli/detect.py", "run")
LOADING = ("cli/detect.py", "make_detector")


def seconds(stats: pstats.Stats, place: tuple[str, str]) -> float:
    """Of all functions of that name in that file, calls among them counted once."""
    total = 0.0
    for (file, _, name), (_, _, _, cumulative, callers) in stats.stats.items():  # type: ignore[attr-defined]
        inner = any(caller[2] == name and place[0] in caller[0] for caller in callers)
        if name == place[1] and f"yolov3/{place[0]}" in file.replace("\\", "/") and not inner:
            total += cumulative
    return total


def main() -> None:
    """Profile and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detect", default="--workers 1", help="words for `yolov3 detect`")
    parser.add_argument("--pictures", type=int, default=120)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    options = parser.parse_args()
    from yolov3.cli import app

    with tempfile.TemporaryDirectory() as temporary:
        make_pictures(Path(temporary, "pictures"), options.pictures, (options.width, options.height))
        words = ["detect", f"{temporary}/pictures", "--no-save", "--json", f"{temporary}/found.jsonl"]
        profile = cProfile.Profile()
        with contextlib.redirect_stdout(io.StringIO()):
            profile.runcall(app.main, [*words, *options.detect.split()], standalone_mode=False)
    stats = pstats.Stats(profile)
    loop = seconds(stats, LOOP)
    print(f"{options.pictures} pictures {options.width}×{options.height}, yolov3 detect {options.detect}: ", end="")
    print(f"{loop / options.pictures * 1000:.1f} ms each under the profiler; loading {seconds(stats, LOADING):.2f} s")
    print(f"{machine_line(describe_machine())}\n\n| stage | share | ms a picture |\n|---|---|---|")
    rest = loop
    for stage, place in STAGES.items():
        taken = seconds(stats, place)
        rest -= taken
        print(f"| {stage} | {taken / loop:.1%} | {taken / options.pictures * 1000:.2f} |")
    print(f"| all the rest | {rest / loop:.1%} | {rest / options.pictures * 1000:.2f} |")


if __name__ == "__main__":
    main()
