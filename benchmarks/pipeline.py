"""The whole of `discover` against the same forward passes in a bare PyTorch loop, side by side in one run.

    python benchmarks/pipeline.py [--images N] [--source FOLDER] [--backbone NAME] [--repeats R]

`discover` decodes, embeds, builds the graph, runs Louvain, splits components, cuts crops, describes them and writes
tables, by Ray over all CPUs. The bare loop does nothing but the forward passes that this takes (one an image and one a
segment) on tensors that lie ready, in as many processes of one thread as there are CPUs, and in one process of as many
threads; the faster of the two counts. Ray's start and the actors' start are apart: the time of a first `discover` over
as many images as there are actors' parts is measured and shown.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch
from datus2_ray.engine.context import RunContext

from datus2_ray.config.load import load
from datus2_ray.core.backbone.vit import DEFAULT_BACKBONE, Tap, load_backbone
from datus2_ray.engine.session import start_ray
from datus2_ray.store import storage


def forward_passes(backbone: str, images: int, crops: int, threads: int, ready: object, go: object) -> None:
    """Run the passes of `images` images and `crops` crops, in batches of four as `discover` does."""
    torch.set_num_threads(threads)
    model = load_backbone(backbone, input_size=224)
    batch = torch.randint(0, 256, (4, model.input_size, model.input_size, 3), dtype=torch.uint8)
    model.extract(batch, [Tap("key")])
    ready.release()  # type: ignore[attr-defined]
    go.wait()  # type: ignore[attr-defined]
    for count, taps in ((images, [Tap("key")]), (crops, [Tap("cls")])):
        for start in range(0, count, 4):
            model.extract(batch[: min(4, count - start)], taps)


def bare_loop(backbone: str, images: int, crops: int, processes: int, threads: int) -> float:
    """Seconds that the passes take in some processes of some threads, their start not counted."""
    context = multiprocessing.get_context("spawn")
    ready, go = context.Semaphore(0), context.Event()
    shares = [(images * (i + 1) // processes - images * i // processes,
               crops * (i + 1) // processes - crops * i // processes) for i in range(processes)]  # fmt: skip
    workers = [context.Process(target=forward_passes, args=(backbone, *share, threads, ready, go)) for share in shares]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.acquire()
    start = time.perf_counter()
    go.set()
    for worker in workers:
        worker.join()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--source", default=None, help="folder of images; default rendered scenes")
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE)
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    cpus = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as scratch:
        source = arguments.source
        if source is None:
            from datus2_ray.demo.write import write_demo

            write_demo(Path(scratch) / "in", arguments.images, seed=0)
            source = str(Path(scratch) / "in" / "images")
        start_ray(600)
        from datus2_ray.stages.discover.discover import discover
        from datus2_ray.stages.ingest.ingest import ingest

        def measure(name: str, limit: int, part: int) -> tuple[float, int, int]:
            flags = {"source": source, "out": f"{scratch}/{name}", "clusters": 2, "limit": limit}
            flags |= {"backbone": arguments.backbone}
            context = RunContext.open(load(flags, assignments=(f"ingest.images_per_part={part}",)))
            images = ingest(context)
            begin = time.perf_counter()
            commit = discover(context, images, keep_tokens=False)
            seconds = time.perf_counter() - begin
            parts = [storage.read_table(context.folder.path("segments", part), ["sizes"]) for part in commit.parts]
            return seconds, commit.rows_out, sum(len(row) for table in parts for row in table["sizes"].to_pylist())

        start_up = measure("warm", 2 * cpus, 1)[0]
        print(f"discover over {2 * cpus} images: {start_up:.1f} s", flush=True)
        rows = []
        for repeat in range(arguments.repeats):
            whole, images, crops = measure(f"run{repeat}", arguments.images, 16)
            print(f"discover: {whole:.1f} s, {images} images, {crops} segments", flush=True)
            bare = {}
            for processes, threads in ((cpus, 1), (1, cpus)):
                name = f"{processes} process(es) x {threads} thread(s)"
                bare[name] = bare_loop(arguments.backbone, images, crops, processes, threads)
                print(f"bare loop, {name}: {bare[name]:.1f} s", flush=True)
            rows.append((whole, bare, images, crops))
    whole = statistics.median(row[0] for row in rows)
    images, crops = rows[0][2], rows[0][3]
    print(
        f"\n{platform.processor() or platform.machine()}, {cpus} CPUs, torch {torch.__version__}, {arguments.backbone}"
    )
    print(f"{images} images, {crops} segments; median of {len(rows)}")
    print(f"| {'what':<34} | seconds | images/s | ratio |\n|{'-' * 36}|---------|----------|-------|")
    best = min(statistics.median(row[1][name] for row in rows) for name in rows[0][1])
    for name in rows[0][1]:
        seconds = statistics.median(row[1][name] for row in rows)
        print(f"| {'bare loop, ' + name:<34} | {seconds:7.1f} | {images / seconds:8.2f} | {seconds / best:5.2f} |")
    print(f"| {'discover, actors started anew':<34} | {whole:7.1f} | {images / whole:8.2f} | {whole / best:5.2f} |")
    print(f"(discover over {2 * cpus} images alone, nearly all of it start-up of the actors: {start_up:.1f} s)")


if __name__ == "__main__":
    main()
