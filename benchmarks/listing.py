"""Time and memory of listing a folder of many files, before any of them is read.

    python benchmarks/listing.py FOLDER [--files 1000000] [--json FILE]

FOLDER is made, with hard links to a few small files, a thousand in each subfolder; it is listed where it is there
already. The table has the seconds of the walk alone, and of what `datus2 plan` does: walk, ids, masks, parts. Each is
measured in a process of its own, with its seconds on a core and the maximum resident set that it adds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from datus2_ray.config import load
from datus2_ray.sources.list_source import list_source
from datus2_ray.store import folders

#: Files in a subfolder, and links to one file: file systems allow some ten thousand.
PER_FOLDER = 1000


def make(folder: Path, files: int) -> None:
    """Make a tree of files in a folder that is not there."""
    for number in range(0, files, PER_FOLDER):
        day = folder / f"camera-{number // PER_FOLDER % 10}" / f"day-{number // PER_FOLDER:05d}"
        day.mkdir(parents=True)
        (day / f"frame-{number:08d}.jpg").write_bytes(b"x")
        for frame in range(number + 1, min(number + PER_FOLDER, files)):
            os.link(day / f"frame-{number:08d}.jpg", day / f"frame-{frame:08d}.jpg")


def one(what: str, folder: str) -> None:
    """List the folder and print files, seconds and megabytes as JSON."""
    # Arrow's own code is loaded by then, which is no memory that grows with the files.
    list_source(load({"source": str(next(Path(folder).glob("*/*"))), "out": f"{folder}-run", "clusters": 2}))
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    if what == "walk":
        files = sum(1 for _ in folders.stream_files(folder))
    else:
        files = list_source(load({"source": folder, "out": f"{folder}-run", "clusters": 2})).images
    seconds, used = time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps([files, seconds, cpu, (used.ru_maxrss - before.ru_maxrss) / 1e3]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    if arguments.one:
        one(arguments.one, str(folder))
        return
    if not folder.exists():
        make(folder, arguments.files)
    table = Table("what", "files", "s", "s on a core", "MB")
    measured = {}
    for what in ("walk", "list"):
        command = [sys.executable, __file__, str(folder), "--one", what]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        files, seconds, cpu, megabytes = measured[what] = json.loads(ran.stdout.splitlines()[-1])
        table.add_row(what, f"{files:,}", f"{seconds:.1f}", f"{cpu:.1f}", f"{megabytes:,.0f}")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
