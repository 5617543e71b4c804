"""Images of many windows: what windows gain and take, on mosaics of rendered scenes beside the scenes themselves.

    python benchmarks/large_images.py [--side 160] [--scenes 5] [--mosaics 3]

Every mosaic has scenes × scenes scenes of that side in pixels, as large as a window. The table has the mIoU of the
refined masks, one-to-one, seconds of discover per image, and the most memory that one process of the run held: a worker
of Ray, with its share of the object store.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image


def write(folder: Path, side: int, scenes: int, mosaics: int) -> None:
    """Write the scenes, and the mosaics of them."""
    from datus2_ray.demo.scenes import render

    for number in range(mosaics):
        drawn = [render(number * scenes**2 + i, height=side, width=side) for i in range(scenes**2)]
        rows = [drawn[start : start + scenes] for start in range(0, len(drawn), scenes)]
        whole = [
            np.concatenate([np.concatenate([one[layer] for one in row], axis=1) for row in rows]) for layer in (0, 1)
        ]
        named = [("mosaics", f"{number}", whole), *(("scenes", f"{number}-{i}", one) for i, one in enumerate(drawn))]
        for source, name, layers in named:
            for kind, layer in zip(("images", "masks"), layers, strict=True):
                (folder / source / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(layer).save(folder / source / kind / f"{name}.png")


class Peak:
    """The most memory that one process of this one's tree has held, in GB, asked every half second."""

    def __init__(self) -> None:
        self._bytes, self._over = 0, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            for process in psutil.Process().children(recursive=True):
                try:
                    self._bytes = max(self._bytes, process.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue

    def end(self) -> float:
        """Stop, and return the peak."""
        self._over.set()
        return self._bytes / 1e9


def measure(source: Path, window: int | None) -> dict[str, Any]:
    """Run on a folder, and return the summary, with the peak of memory."""
    from datus2_ray import run
    from datus2_ray.config import load

    peak = Peak()
    with tempfile.TemporaryDirectory() as scratch:
        settings = (f"discover.window={window or 'null'}", "refine.min_images=2", "ingest.images_per_part=1")
        summary = run(load({"source": str(source), "out": f"{scratch}/run", "dataset": "demo"}, assignments=settings))
    return {**summary, "peak": peak.end()}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=160)
    parser.add_argument("--scenes", type=int, default=5)
    parser.add_argument("--mosaics", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        write(Path(scratch), arguments.side, arguments.scenes, arguments.mosaics)
        print("| seen | images | mIoU, % | discover, s per image | peak of a process, GB |\n|---|---|---|---|---|")
        cases = (("scenes", None), ("mosaics in windows", arguments.side), ("mosaics whole", None))
        for name, window in cases:
            found = measure(Path(scratch) / name.split()[0], window)
            miou = 100 * found["metrics"]["refined"]["one_to_one"]["miou"]
            seconds = found["seconds"]["discover"] / found["images"]
            print(f"| {name} | {found['images']} | {miou:.1f} | {seconds:.2f} | {found['peak']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
