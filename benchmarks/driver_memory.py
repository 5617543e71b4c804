"""Memory of the driver's process over 100, 200 and 400 images: it must not grow with their number.

    python benchmarks/driver_memory.py [--counts 100 200 400]

Each count runs in its own process, through all steps but the refinement. The table has the maximum resident set of that
process (the driver) by the operating system's count, without Ray's workers and object store.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path


def one(source: str, count: int) -> None:
    """Run on `count` images and print the maximum memory of the driver in MB."""
    from datus2_ray import run
    from datus2_ray.config import load

    with tempfile.TemporaryDirectory() as scratch:
        flags = {
            "source": source, "out": f"{scratch}/run", "dataset": "demo", "limit": count,
            "backbone": "untrained:vit_tiny_patch16_224", "no_refine": True,
        }  # fmt: skip
        run(load(flags, preset="paper"))
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 200, 400])
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one[0], int(arguments.one[1]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        from datus2_ray.demo.write import write_demo

        write_demo(Path(scratch), max(arguments.counts), seed=0)
        print("| images | driver's peak, MB |\n|--------|-------------------|")
        for count in arguments.counts:
            command = [sys.executable, __file__, "--one", scratch, str(count)]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            print(f"| {count:6} | {json.loads(output.splitlines()[-1]):17.0f} |", flush=True)


if __name__ == "__main__":
    main()
