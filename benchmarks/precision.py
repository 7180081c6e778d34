"""What 8 bits are worth in speed: exported networks beside the same in float32, one picture at a time.

    yolov3 convert yolov3-tiny tiny32.onnx
    yolov3 convert yolov3-tiny tiny8.onnx --int8 --data instances.json --images images
    python benchmarks/precision.py tiny32.onnx tiny8.onnx [--engines onnxruntime,openvino] [--rounds 8]

From JPEG to final boxes, in turns (see turns.py). What 8 bits cost in AP is `int8.py`'s question.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from one_picture import ours
from turns import Race
from workload import make_pictures

from yolov3.benchmark.machine import describe_machine, machine_line


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", help="exported; the first is compared with the rest")
    parser.add_argument("--engines", default="onnxruntime,openvino")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=24, help="in a turn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        contest = Race(make_pictures(Path(temporary, "pictures"), options.pictures, (640, 480)), each=True)
        try:
            for network in options.networks:
                for engine in options.engines.split(","):
                    contest.add(f"{network}, {engine}", ours, model=network, engine=engine, threads=options.threads)
            contest.run(options.rounds)
        finally:
            contest.close()
    print(f"{options.pictures} JPEGs 640×480, one at a time, {options.rounds} rounds in turn")
    print(f"{machine_line(describe_machine())}\n\n{contest.table()}")


if __name__ == "__main__":
    main()
