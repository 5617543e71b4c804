"""What every stage of a run reads, decodes, passes through the backbone and writes, for each image.

    python benchmarks/passes.py [--images N] [--preset best]

Scenes with ground truth go through all stages in this process, without Ray: first a few, so that nothing is imported
any more that would count as read, then N, then 2 N. The difference of the last two is shown, by image: what a stage
reads once, such as weights, is not in it. Bytes are those of the operating system's count for this process (Linux), so
that a table that is read twice counts twice.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import datus2_ray
from datus2_ray.config import load
from datus2_ray.core.backbone.vit import Backbone
from datus2_ray.demo.write import write_demo
from datus2_ray.store.events import EventLog
from tests.in_process import commands_without_ray

#: Functions whose calls are counted, by what they are counted as.
CALLS = {
    "images decoded": ("datus2_ray.core.images.decode._decode",),
    "masks decoded": (
        "datus2_ray.core.images.labels.decode_labels",
        "datus2_ray.core.images.label_map.read_label_map",
    ),
}

COLUMNS = ("KB read", "KB written", *CALLS, "forward passes")


def transferred() -> tuple[int, int]:
    """Return the bytes that this process read and wrote so far."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"]), int(fields["wchar"])


def count_calls(patch: pytest.MonkeyPatch, counts: Counter[str]) -> None:
    """Count the calls of :data:`CALLS` wherever they were imported, and the images that the backbone sees."""

    def counted(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Any:
            counts[name] += 1
            return function(*arguments, **keywords)

        return call

    for name, places in CALLS.items():
        for place in places:
            module, _, attribute = place.rpartition(".")
            function = getattr(sys.modules[module], attribute)
            for other in [*sys.modules.values()]:
                if getattr(other, "__name__", "").startswith("datus2_ray") and getattr(other, attribute, 0) is function:
                    patch.setattr(other, attribute, counted(function, name))
    extract = Backbone.extract

    def embed(self: Backbone, images: Any, *arguments: Any, **keywords: Any) -> Any:
        counts["forward passes"] += len(images)
        return extract(self, images, *arguments, **keywords)

    patch.setattr(Backbone, "extract", embed)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--preset", default="best")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    stages: dict[str, list[float]] = {}
    before = [0, 0]
    write = EventLog.write

    def note(self: EventLog, event: str, **fields: Any) -> None:
        write(self, event, **fields)
        if event == "begin":
            counts.clear()
            before[:] = transferred()
        elif event == "end":
            moved = [(now - then) / 1000 for now, then in zip(transferred(), before, strict=True)]
            stages[fields["stage"]] = moved + [counts[name] for name in COLUMNS[2:]]

    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        write_demo(Path(scratch, "scenes"), 2 * arguments.images)
        commands_without_ray(patch)
        found = []
        for number, images in enumerate((8, arguments.images, 2 * arguments.images)):
            flags = {"source": f"{scratch}/scenes", "dataset": "demo", "out": f"{scratch}/{images}", "limit": images}
            # However few images there are, they are refined.
            config = load(
                flags, preset=arguments.preset, assignments=("refine.min_images=2", "evaluate.token_sample=9000000000")
            )
            datus2_ray.run(config)
            found.append(stages.copy())
            if number == 0:
                count_calls(patch, counts)
                patch.setattr(EventLog, "write", note)
        files = Path(scratch, "scenes").rglob("*.*")
        size = sum(file.stat().st_size for file in files) / 2000 / arguments.images
    print(f"scenes of {size:.1f} KB with their masks, preset {arguments.preset}; per image\n")
    print(f"| stage | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    _, fewer, more = found
    for stage, row in more.items():
        each = [(of_more - of_fewer) / arguments.images for of_more, of_fewer in zip(row, fewer[stage], strict=True)]
        print(f"| {stage} | {' | '.join(f'{value:.1f}' for value in each)} |")


if __name__ == "__main__":
    main()
