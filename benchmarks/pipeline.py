"""Time of `discover` against the same forward passes in a bare PyTorch loop, side by side in one run.

    python benchmarks/pipeline.py [--preset paper|best] [--images N] [--source FOLDER] [--backbone NAME] [--repeats R]

`discover` decodes, embeds, builds graphs, runs Louvain, finds segments, describes them and writes tables, on Ray over
all CPUs. The bare loop computes only the forward passes that this takes (one per image, with `paper` also one per
segment) on tensors in memory, in one process of one thread per CPU, and in one process of as many threads as CPUs; the
faster of the two is the reference. A first `discover` over two images per CPU shows how much of the time is start-up of
the actors.
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

from datus2_ray.config import load
from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import DEFAULT_BACKBONE, load_backbone
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.run import open_run
from datus2_ray.engine.session import start_ray
from datus2_ray.sources.list_source import list_source
from datus2_ray.store import parquet


def forward_passes(
    backbone: str, feature: str, images: int, crops: int, threads: int, ready: object, go: object
) -> None:
    """Compute the passes of `images` images and `crops` crops, in batches of four as `discover` does."""
    torch.set_num_threads(threads)
    model = load_backbone(backbone, input_size=224)
    batch = torch.randint(0, 256, (4, model.input_size, model.input_size, 3), dtype=torch.uint8)
    model.extract(batch, [Tap(feature)])  # type: ignore[arg-type]
    ready.release()  # type: ignore[attr-defined]
    go.wait()  # type: ignore[attr-defined]
    for count, taps in ((images, [Tap(feature)]), (crops, [Tap("cls")])):  # type: ignore[arg-type]
        for start in range(0, count, 4):
            model.extract(batch[: min(4, count - start)], taps)


def bare_loop(backbone: str, feature: str, images: int, crops: int, processes: int, threads: int) -> float:
    """Return the seconds of the passes in some processes of some threads, without their start."""
    context = multiprocessing.get_context("spawn")
    ready, go = context.Semaphore(0), context.Event()
    shares = [(images * (i + 1) // processes - images * i // processes,
               crops * (i + 1) // processes - crops * i // processes) for i in range(processes)]  # fmt: skip
    workers = [
        context.Process(target=forward_passes, args=(backbone, feature, *share, threads, ready, go)) for share in shares
    ]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.acquire()
    start = time.perf_counter()
    go.set()
    for worker in workers:
        worker.join()
    return time.perf_counter() - start


def discover(arguments: argparse.Namespace, source: str, out: str, limit: int, part: int) -> tuple[float, int, int]:
    """Return the seconds of `discover` over the first `limit` images, their number, and that of their segments."""
    from datus2_ray.engine.execute import execute
    from datus2_ray.stages.discover.discover import DISCOVER
    from datus2_ray.stages.ingest.ingest import INGEST
    from datus2_ray.store.facts import Discovered

    flags = {"source": source, "out": out, "clusters": 2, "limit": limit, "backbone": arguments.backbone}
    config = load(flags, preset=arguments.preset, assignments=(f"ingest.images_per_part={part}",))
    with open_run(config, "run", list_source(config), Machines.now()) as run:
        run, _ = execute(run, [INGEST])
        begin = time.perf_counter()
        run, _ = execute(run, [INGEST, DISCOVER])
        seconds = time.perf_counter() - begin
    commit = run.commit(Discovered)
    parts = [parquet.read_table(commit.path(part), ["sizes"]) for part in commit.parts]
    return seconds, commit.rows_out, sum(len(sizes) for table in parts for sizes in table["sizes"].to_pylist())


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=("paper", "best"), default="paper")
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--source", default=None, help="folder of images; default rendered scenes")
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE)
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    cpus = os.cpu_count() or 1
    feature = load({"source": "", "out": ""}, preset=arguments.preset).discover.feature
    with tempfile.TemporaryDirectory() as scratch:
        source = arguments.source
        if source is None:
            from datus2_ray.demo.write import write_demo

            write_demo(Path(scratch) / "in", arguments.images, seed=0)
            source = str(Path(scratch) / "in" / "images")
        start_ray(600)
        start_up = discover(arguments, source, f"{scratch}/warm", 2 * cpus, 1)[0]
        print(f"discover over {2 * cpus} images: {start_up:.1f} s", flush=True)
        rows = []
        for repeat in range(arguments.repeats):
            whole, images, segments = discover(arguments, source, f"{scratch}/run{repeat}", arguments.images, 16)
            print(f"discover: {whole:.1f} s, {images} images, {segments} segments", flush=True)
            crops = segments if arguments.preset == "paper" else 0
            bare = {}
            for processes, threads in ((cpus, 1), (1, cpus)):
                name = f"{processes} process(es) x {threads} thread(s)"
                bare[name] = bare_loop(arguments.backbone, feature, images, crops, processes, threads)
                print(f"bare loop, {name}: {bare[name]:.1f} s", flush=True)
            rows.append((whole, bare, images, segments))
    whole = statistics.median(row[0] for row in rows)
    images, segments = rows[0][2], rows[0][3]
    print(f"\n{platform.processor() or platform.machine()}, {cpus} CPUs, torch {torch.__version__}")
    print(f"{arguments.preset}, {arguments.backbone}: {images} images, {segments} segments; median of {len(rows)}")
    print(f"| {'what':<34} | seconds | images/s | ratio |\n|{'-' * 36}|---------|----------|-------|")
    best = min(statistics.median(row[1][name] for row in rows) for name in rows[0][1])
    for name in rows[0][1]:
        seconds = statistics.median(row[1][name] for row in rows)
        print(f"| {'bare loop, ' + name:<34} | {seconds:7.1f} | {images / seconds:8.2f} | {seconds / best:5.2f} |")
    print(f"| {'discover, actors started anew':<34} | {whole:7.1f} | {images / whole:8.2f} | {whole / best:5.2f} |")
    steady = whole - start_up
    if steady > 0:
        rate = (images - 2 * cpus) / steady
        print(f"discover without the start of its actors: {rate / cpus:.2f} images/s per CPU core")


if __name__ == "__main__":
    main()
