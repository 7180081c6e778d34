"""Seconds and memory of `yolov3 data check` on very many files: python benchmarks/datasets.py [--files 100000]

Writes a YOLO dataset of label files alone (0 to 15 boxes each, 80 classes, one bad row in all) and checks it with
--labels-only, each time in a new process. Writing the files takes longer than checking them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CLASSES = 80


def write_labels(root: Path, files: int) -> int:
    """A data.yaml and label files; the number of their boxes."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 16, files)
    labels = rng.integers(0, CLASSES, counts.sum())
    sides = rng.uniform(0.01, 0.4, (counts.sum(), 2))
    centres = rng.uniform(sides / 2, 1 - sides / 2)
    rows = [
        f"{label} {x:.6f} {y:.6f} {width:.6f} {height:.6f}\n"
        for label, x, y, width, height in np.column_stack([labels, centres, sides]).tolist()
        for label in [int(label)]
    ]
    folder = root / "labels"
    folder.mkdir()
    end = 0
    for number, count in enumerate(counts.tolist()):
        text = "".join(rows[end : end + count]) + ("0 0.5 0.5 0 0.1\n" if number == files // 2 else "")
        (folder / f"{number:06d}.txt").write_text(text, encoding="ascii")
        end += count
    names = ", ".join(f"class{number}" for number in range(CLASSES))
    (root / "data.yaml").write_text(f"train: images\nnames: [{names}]\n", encoding="ascii")
    return int(counts.sum()) + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        boxes = write_labels(Path(folder), options.files)
        command = [sys.executable, "-m", "yolov3", "data", "check", folder, "--labels-only", "--json"]
        seconds = []
        for _ in range(options.runs):
            start = time.perf_counter()
            done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
            seconds.append(time.perf_counter() - start)
        report = json.loads(done.stdout)
        errors = [problem["message"] for problem in report["problems"] if problem["severity"] == "error"]
        assert done.returncode == 3 and len(errors) == 1 and report["splits"]["train"]["boxes"] == boxes, errors
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{options.files:,} label files, {boxes:,} boxes, the one bad row found")
    print(f"seconds: {', '.join(f'{value:.1f}' for value in seconds)}; at most {peak:.0f} MiB")


if __name__ == "__main__":
    main()
