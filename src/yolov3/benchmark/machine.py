"""What figures belong to: the machine, versions, the peak of its floating point; memory of a process."""

from __future__ import annotations

import contextlib
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

from ..machine import processor_name, usable_cores

PACKAGES = (
    *("yolov3", "numpy", "opencv-python-headless", "opencv-python", "ncnn", "MNN", "onnxruntime", "openvino"),
    *("ultralytics", "torch"),
)
MATRIX = 1536  # three of them are 28 MB: beyond the small caches, as the layers of a network are
PRODUCTS = 20
PEAK_METHOD = f"the best of {PRODUCTS} products of {MATRIX}×{MATRIX} float32 matrices by NumPy's sgemm"


def describe_machine() -> dict[str, Any]:
    """Processor, cores that this process may use, system, Python and the versions of what takes part; JSON-ready."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "processor": processor_name(),
        "cores": usable_cores(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def machine_line(machine: dict[str, Any]) -> str:
    """That on one line."""
    versions = ", ".join(f"{package} {number}" for package, number in machine["versions"].items())
    cores = f"{machine['cores']} core{'' if machine['cores'] == 1 else 's'}"
    return f"{machine['processor']}, {cores}; Python {machine['python']}, {versions}"


def peak_memory() -> int | None:
    """The most memory that this process ever held, in bytes; None where the system doesn't say.

    Linux counts what the process was before it became this program into `ru_maxrss`, so its own figure is read.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def measure_peak(side: int = MATRIX, products: int = PRODUCTS) -> float:
    """Floating-point operations a second on all usable cores, by NumPy's product of float32 matrices.

    What a well-written matrix product reaches is some 5 % below the processor's own limit; convolutions by Winograd's
    way compute with fewer operations than are counted, so they may go beyond it.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    left, right = (rng.random((side, side), np.float32) for _ in range(2))
    product = np.empty((side, side), np.float32)
    fastest = float("inf")
    for _ in range(products):
        start = perf_counter()
        np.matmul(left, right, out=product)
        fastest = min(fastest, perf_counter() - start)
    return 2 * side**3 / fastest
