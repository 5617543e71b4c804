"""How long a user waits on a small set: `--help`, `plan`, and a run of 24 scenes from the command to the report.

    python benchmarks/start.py [--repeats R]

Each command is a process of its own, as from a shell. Of the run also the seconds until an actor begins the first
forward pass, which the title of its process shows. The table has medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from datus2_ray.demo.write import write_demo

#: Seconds between two looks at the titles of processes.
LOOK = 0.2


def datus2(*arguments: str) -> subprocess.Popen[bytes]:
    """Start the program without its output."""
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, "-m", "datus2_ray", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


def seconds(*arguments: str) -> float:
    """Return the seconds of a command."""
    began = time.perf_counter()
    if datus2(*arguments).wait():
        raise SystemExit(f"datus2 {' '.join(arguments)} failed")
    return time.perf_counter() - began


def run_seconds(scenes: str, out: str) -> tuple[float, float]:
    """Return the seconds of a run until the first forward pass begins, and until the command ends."""
    began = time.perf_counter()
    process = datus2("run", scenes, "--out", out, "--no-refine")
    first = float("nan")
    while process.poll() is None:
        if first != first:
            for child in psutil.Process(process.pid).children(recursive=True):
                try:
                    title = " ".join(child.cmdline())
                except psutil.Error:
                    continue
                if "EmbedImages)).submit" in title:
                    first = time.perf_counter() - began
        time.sleep(LOOK)
    if process.returncode or first != first:
        raise SystemExit("datus2 run failed, or no actor was seen at a forward pass")
    return first, time.perf_counter() - began


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as scratch:
        write_demo(Path(scratch, "scenes"), 24)
        scenes, out = f"{scratch}/scenes", f"{scratch}/run"
        seconds("run", scenes, "--out", f"{scratch}/first", "--no-refine")  # numba compiles once on a machine
        rows = {"datus2 --help": [seconds("--help") for _ in range(repeats)],
                "datus2 plan, 24 scenes": [seconds("plan", scenes, "--out", out) for _ in range(repeats)]}  # fmt: skip
        runs = [run_seconds(scenes, f"{out}-{number}") for number in range(repeats)]
        rows["datus2 run, 24 scenes without refinement, to the first forward pass"] = [first for first, _ in runs]
        rows["the same, to the end"] = [whole for _, whole in runs]
    print(f"{os.cpu_count()} CPUs, medians of {repeats}\n\n| command | s |\n|---------|---|")
    for name, measured in rows.items():
        print(f"| {name} | {statistics.median(measured):.2f} |")


if __name__ == "__main__":
    main()
