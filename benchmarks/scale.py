"""Time and memory of a run over growing numbers of real images: time grows with the number, memory does not.

    python benchmarks/scale.py FOLDER [--counts 250 500 1000 2000 4000] [--json FILE]

FOLDER holds at least as many images as the largest count, in any subfolders. The first ones in sorted order are packed
into shards once. Every count is a run over the first rows of these shards in its own process: all steps but the
refinement, with a ViT of 16-pixel patches at 128 x 128 pixels, so that reading, moving and writing take as large a
share as possible. Ray's object store is too small for the images of the larger runs. The table has the seconds of each
step, the maximum resident set of the driver, the maximum bytes in the object store, and the bytes of the run folder.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from datus2_ray.config import RunConfig, load

STAGES = ("ingest", "discover", "cluster", "label")

#: Bytes of Ray's object store; 128 x 128 pixels of 2,000 images take as much.
STORE = 100_000_000


def settings(source: str, out: str, count: int) -> RunConfig:
    """Return settings of a run in which everything but the forward passes counts."""
    flags = {
        "source": source, "out": out, "clusters": 20, "limit": count, "backbone": "untrained:vit_tiny_patch16_224",
        "max_error_rate": 0.5, "no_progress_seconds": 900, "no_refine": True,
    }  # fmt: skip
    small = ("discover.input_size=128", "discover.tau=0", "discover.descriptor=tokens", "cluster.restarts=1")
    return load(flags, preset="paper", assignments=small)


def watch_store(most: list[int], end: threading.Event) -> None:
    """Note the maximum of bytes in the object store, every half second."""
    import ray
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    state = get_state_from_address(ray.get_runtime_context().gcs_address)
    while not end.wait(0.5):
        most[0] = max(most[0], get_memory_info_reply(state).store_stats.object_store_bytes_used)


def one(source: str, count: int) -> None:
    """Run over the first `count` images of shards and print time and memory as JSON."""
    import ray

    from datus2_ray import run

    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray.init("local", object_store_memory=STORE, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    most, end = [0], threading.Event()
    threading.Thread(target=watch_store, args=(most, end), daemon=True).start()
    with tempfile.TemporaryDirectory() as scratch:
        begun = time.monotonic()
        summary = run(settings(source, f"{scratch}/run", count))
        seconds = time.monotonic() - begun
        end.set()
        size = sum(file.stat().st_size for file in Path(scratch).rglob("*") if file.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    stages = {stage: summary["seconds"][stage] for stage in STAGES}
    print(json.dumps({"images": summary["images"], "seconds": seconds, "stages": stages, "driver": peak,
                      "store": most[0], "bytes": size}))  # fmt: skip


def pack(folder: Path, count: int, scratch: Path) -> None:
    """Pack the first images of a folder tree into shards."""
    import ray

    from datus2_ray import ingest
    from datus2_ray.core.images.sniff import IMAGE_SUFFIXES

    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)[:count]
    if len(files) < count:
        raise SystemExit(f"{folder} has {len(files)} images, fewer than {count}")
    (scratch / "in").mkdir()
    for number, file in enumerate(files):
        (scratch / "in" / f"{number:06d}{file.suffix}").write_bytes(file.read_bytes())
    ingest(RunConfig.model_validate({"source": str(scratch / "in"), "out": str(scratch / "packed")}))
    ray.shutdown()


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--counts", type=int, nargs="+", default=[250, 500, 1000, 2000, 4000])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one[0], int(arguments.one[1]))
        return
    if arguments.folder is None:
        parser.error("give a folder of images")
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        pack(arguments.folder, max(arguments.counts), Path(scratch))
        for count in arguments.counts:
            command = [sys.executable, __file__, "--one", f"{scratch}/packed", str(count)]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            found.append(json.loads(output.splitlines()[-1]))
    table = Table("images", *(f"{stage}, s" for stage in STAGES), "all, s", "ms per image", "driver, MB",
                  "object store, MB", "run folder, KB per image")  # fmt: skip
    for row in found:
        stages = (f"{row['stages'][stage]:.1f}" for stage in STAGES)
        table.add_row(
            f"{row['images']:,}", *stages, f"{row['seconds']:.1f}", f"{1000 * row['seconds'] / row['images']:.1f}",
            f"{row['driver'] / 1e6:.0f}", f"{row['store'] / 1e6:.0f}", f"{row['bytes'] / 1e3 / row['images']:.2f}",
        )  # fmt: skip
    Console(highlight=False, width=150).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
