"""How soon a folder with very many names gives its first picture: python benchmarks/many_names.py [--names N]"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

from yolov3.sources import Frame, open_sources
from yolov3.zoo import sample_photos

LINKS = 50_000  # a file system allows so many to a file, and some more


def fill(folder: Path, names: int) -> None:
    """Links to copies of a sample photo."""
    for number in range(names):
        path = folder / f"{number:08}.jpg"
        if number % LINKS == 0:
            first = path
            shutil.copyfile(sample_photos()[0], path)
        else:
            os.link(first, path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        fill(Path(temporary), options.names)
        start = time.perf_counter()
        with open_sources([temporary]) as stream:
            total, first = stream.total, next(iter(stream.unread()))
            frame = first if isinstance(first, Frame) else first.read()
            seconds = time.perf_counter() - start
        assert total == options.names and frame.image is not None
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{options.names:,} names: the first picture is read after {seconds:.2f} s; {memory:.0f} MiB at most")


if __name__ == "__main__":
    main()
