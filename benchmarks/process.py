"""The whole command on one picture, from the shell's view: seconds by the clock and the most memory, start to end.

    python benchmarks/process.py [--picture FILE] [--rounds 10] [--ultralytics PYTHON]

`yolov3 detect` with its defaults (it saves the annotated picture) and without saving, beside a bare ONNX Runtime script
in a process of its own and, given the Python of an environment that has it, beside `yolo detect predict`. In turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bare import SCRIPTS, Network
from workload import make_workload

from yolov3.benchmark.machine import describe_machine, machine_line
from yolov3.zoo import sample_photos

BARE = """
import os, sys; sys.path.insert(0, {folder!r})
from pathlib import Path
from bare import SCRIPTS, Network
network = Network(Path({files!r}), *{rest!r})
SCRIPTS[{script!r}](network, threads=os.cpu_count())([Path({picture!r})])
"""
# Linux counts the memory of the process that starts another into that one's, so a small one starts them.
WATCH = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - start
if status:
    sys.exit(f"ended with status {status}")
print(seconds, usage.ru_maxrss)
"""
ULTRALYTICS = """
from ultralytics import YOLO
YOLO("yolov3-tiny.yaml").save("tiny.pt")
"""


def bare_command(script: str, network: Network, picture: Path) -> list[str]:
    """A bare script as a process of its own."""
    code = BARE.format(
        folder=str(Path(__file__).parent),
        script=script,
        files=str(network.folder),
        rest=(network.side, network.heads, network.outputs, network.nc),
        picture=str(picture),
    )
    return [sys.executable, "-c", code]


def ultralytics_command(python: str, picture: Path, folder: Path, environment: Mapping[str, str]) -> list[str]:
    """`yolo detect predict` with its own tiny network, which is made first (its weights are random)."""
    subprocess.run([python, "-c", ULTRALYTICS], check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    words = ["detect", "predict", f"model={folder / 'tiny.pt'}", f"source={picture}", "imgsz=416", "device=cpu"]
    return [str(Path(python).parent / "yolo"), *words, f"project={folder}"]


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds and MiB of one run of a command."""
    words = [sys.executable, "-I", "-S", "-c", WATCH, *command]
    result = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)[:200]}: {result.stderr[-300:]}")
    seconds, kib = result.stdout.split()
    return float(seconds), int(kib) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, default=sample_photos()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--scripts", default="onnxruntime,ncnn,openvino", help="bare scripts")
    parser.add_argument("--ultralytics", metavar="PYTHON", help="of an environment with the ultralytics package")
    options = parser.parse_args()
    picture = options.picture.resolve()
    own = [str(Path(sys.executable).parent / "yolov3"), "detect", str(picture)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        environment = os.environ | {"YOLO_CONFIG_DIR": temporary, "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages have their bytecode
        network = make_workload("yolov3-tiny", 416, folder).network
        commands = {"yolov3 detect --no-save": [*own, "--no-save"], "yolov3 detect": own}
        for script in filter(None, options.scripts.split(",")):
            assert script in SCRIPTS, script
            commands[f"bare {script} script"] = bare_command(script, network, picture)
        if options.ultralytics:
            commands["yolo detect predict"] = ultralytics_command(options.ultralytics, picture, folder, environment)
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for number in range(options.rounds + 1):  # the first fills the caches of files
            names = list(commands) if number % 2 == 0 else list(reversed(commands))
            for name in names:
                result = run(commands[name], folder, environment)
                if number:
                    results[name].append(result)
    print(f"one picture, whole processes, {options.rounds} rounds in turn\n{machine_line(describe_machine())}\n")
    print_table(results)


def print_table(results: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Seconds, memory and the first command's share of each."""
    ours = next(iter(results.values()))
    print("| | seconds (least – most) | MiB | ours takes of its time (rounds from – to) |\n|---|---|---|---|")
    for name, figures in results.items():
        seconds = [wall for wall, _ in figures]
        shares = [mine / wall for (mine, _), wall in zip(ours, seconds, strict=True)]
        memory = statistics.median(most for _, most in figures)
        print(
            f"| {name} | {statistics.median(seconds):.2f} ({min(seconds):.2f} – {max(seconds):.2f}) | {memory:.0f} | "
            f"**{statistics.median(shares):.2f}** ({min(shares):.2f} – {max(shares):.2f}) |"
        )


if __name__ == "__main__":
    main()
