"""What a GPU does with a run: images per second of `discover`, how busy the GPU is, and how far it is from its ceiling.

    python benchmarks/gpu.py [--source FOLDER] [--images N] [--out FOLDER] [--seconds S] [--device cuda|cpu]

For `best` and `paper` with ViT-S/14, S/16, S/8 and B/8 of random weights: the rate of `discover` between its first and
its last part, the same forward passes in a bare loop over tensors on the device, the rate that the operations of these
passes would have at the measured rate of matrix products, and the share of time in which the GPU computes. Then the
stages of a whole run, with k-means and EM, and segments and masks of the GPU beside those of the CPU. The steps of
DeepLabV3 are measured by `refinement.py --device cuda`.

Each row is printed, and written to `gpu.json`, as soon as it is measured; what does not begin before the time is up is
left out and said. Without --source it renders scenes, and repeats them under other names up to --images.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, confusion_matrix
from torch.utils.flop_counter import FlopCounterMode

from datus2_ray import run as whole_run
from datus2_ray.config import RunConfig, load
from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.run import open_run
from datus2_ray.engine.session import start_ray
from datus2_ray.sources.list_source import list_source
from datus2_ray.store import parquet
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Discovered, Labelled
from datus2_ray.store.run_folder import RunFolder

BACKBONES = ("vit_small_patch14_dinov2", "vit_small_patch16_224", "vit_small_patch8_224", "vit_base_patch8_224")

#: Sides of the matrices whose product is timed, and how often.
SIDE, PRODUCTS = 8192, 20

#: Images per part: a part lies whole in memory, and the rate is that of the parts after the first one.
PART = 64


@contextmanager
def watch_gpu() -> Iterator[list[tuple[float, float]]]:
    """Collect the time and the share in percent of the last interval in which a kernel ran, five times a second."""
    samples: list[tuple[float, float]] = []
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
    if shutil.which(command[0]) is None:
        yield samples
        return
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:

        def read() -> None:
            for line in process.stdout or ():
                samples.append((time.time(), float(line)))

        threading.Thread(target=read, daemon=True).start()
        try:
            yield samples
        finally:
            process.terminate()


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Return the operations per second of products of large square matrices."""
    side = SIDE if device == "cuda" else SIDE // 8
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    left @ right
    synchronise(device)
    begin = time.perf_counter()
    for _ in range(PRODUCTS):
        left @ right
    synchronise(device)
    return 2 * side**3 * PRODUCTS / (time.perf_counter() - begin)


def synchronise(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def bare_loop(config: RunConfig, device: str, seconds: float = 4.0) -> tuple[float, float]:
    """Return forward passes per second of batches that lie on the device, and the operations of one pass."""
    discover = config.discover
    model = load_backbone(str(config.backbone), device=device, dtype=discover.arithmetic(device))
    size = discover.input_size or discover.side(model.patch_size)
    batch = torch.randint(0, 256, (discover.batch_sizes(device)[0], size, size, 3), dtype=torch.uint8, device=device)
    with FlopCounterMode(display=False) as counter:
        model.extract(batch, [Tap(discover.feature)])
    synchronise(device)
    begin, passes = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        model.extract(batch, [Tap(discover.feature)])
        synchronise(device)
        passes += len(batch)
    return passes / (time.perf_counter() - begin), counter.get_total_flops() / len(batch)


def discover_rate(config: RunConfig) -> tuple[dict[str, Any], tuple[float, float]]:
    """Return images and segments per second between the first and the last part of `discover`, and these two times."""
    from datus2_ray.engine.execute import execute
    from datus2_ray.stages.discover.discover import DISCOVER
    from datus2_ray.stages.ingest.ingest import INGEST
    from datus2_ray.stages.ingest.survey import SURVEY

    with open_run(config, "run", list_source(config), Machines.now()) as opened:
        run, _ = execute(opened, [INGEST, SURVEY])
        begin = time.time()
        run, _ = execute(run, [INGEST, SURVEY, DISCOVER])
        whole = time.time() - begin
    commit = run.commit(Discovered)
    written = sorted((Path(commit.path(part)).stat().st_mtime, part) for part in commit.parts)
    images = sum(commit.parts[part] for _, part in written[1:])
    segments = sum(
        len(sizes) for _, part in written[1:] for sizes in parquet.read_table(commit.path(part))["sizes"].to_pylist()
    )
    steady = max(written[-1][0] - written[0][0], 1e-9)
    rates = {"images_per_second": images / steady, "segments_per_image": segments / max(images, 1), "seconds": whole}
    return rates, (written[0][0], written[-1][0])


def compare_devices(source: str, scratch: Path, images: int) -> dict[str, float]:
    """Return how alike segments and initial masks of the GPU and the CPU are, both in float32."""
    folders = {}
    for device in ("cpu", "cuda"):
        folders[device] = RunFolder(str(scratch / device))
        flags = {"source": source, "clusters": 6, "limit": images, "device": device, "no_refine": True}
        whole_run(load({**flags, "out": folders[device].uri}, assignments=("evaluate.token_kmeans=false",)))
    segments = [_segments(folder.require(Discovered)) for folder in folders.values()]
    agree = [adjusted_rand_score(cpu, gpu) for cpu, gpu in zip(*segments, strict=True)]
    masks = [_masks(folder.require(Labelled)) for folder in folders.values()]
    matrix = confusion_matrix(*masks)
    matched = matrix[linear_sum_assignment(-matrix)].sum() / matrix.sum()
    return {"segments_adjusted_rand": statistics.fmean(agree), "equal_pixels": float(matched)}


def _segments(commit: Commit[Discovered]) -> list[list[int]]:
    """Return the segment of every patch, an image each."""
    return [row for part in sorted(commit.parts) for row in _column(commit, part, "patch_map")]


def _masks(commit: Commit[Labelled]) -> np.ndarray:
    """Return the cluster of every pixel of all images, one after the other."""
    files = [file for part in sorted(commit.parts) for file in _column(commit, part, "mask")]
    return np.concatenate([np.asarray(Image.open(io.BytesIO(file))).ravel() for file in files])


def _column(commit: Commit[Any], part: str, name: str) -> list[Any]:
    values: list[Any] = parquet.read_table(commit.path(part), [name])[name].to_pylist()
    return values


def render(folder: Path, images: int) -> str:
    """Render scenes and link them under further names up to a number of images; return the folder of the images."""
    from datus2_ray.demo.write import write_demo

    write_demo(folder, min(images, 96))
    originals = sorted((folder / "images").iterdir())
    for number in range(len(originals), images):
        original = originals[number % len(originals)]
        os.link(original, original.with_name(f"again_{number:06d}{original.suffix}"))
    return str(folder / "images")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--out", type=Path, default=Path("bench/gpu"))
    parser.add_argument("--seconds", type=float, default=450.0)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES))
    parser.add_argument("--set", nargs="*", default=[], help="settings, such as discover.dtype=auto discover.actors=2")
    arguments = parser.parse_args()
    device, begun = arguments.device, time.monotonic()
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    arguments.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"device": name, "torch": torch.__version__, "cpus": os.cpu_count(), "rows": []}

    def note(row: dict[str, Any]) -> None:
        found["rows"].append(row)
        (arguments.out / "gpu.json").write_text(json.dumps(found, indent=1))
        shown = "  ".join(f"{key} {_short(value)}" for key, value in row.items())
        print(f"{time.monotonic() - begun:5.0f} s  {shown}", flush=True)

    def in_time(what: str) -> bool:
        late = time.monotonic() - begun > arguments.seconds
        if late:
            note({"left out": what})
        return not late

    with tempfile.TemporaryDirectory() as temporary, watch_gpu() as samples:
        scratch = Path(temporary)
        source = arguments.source or render(scratch / "scenes", arguments.images)
        start_ray(600)
        dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        rates = {dtype: matrix_rate(device, kind) for dtype, kind in dtypes.items()}
        note({"matrix products, TFLOP/s": {dtype: rate / 1e12 for dtype, rate in rates.items()}})
        settings = [f"ingest.images_per_part={PART}", "discover.dtype=auto", *arguments.set]
        for preset in ("best", "paper"):
            for backbone in arguments.backbones:
                if not in_time(f"{preset}, {backbone}"):
                    continue
                flags = {
                    "source": source, "out": str(scratch / f"{preset}-{backbone}"), "clusters": 6, "device": device,
                    "limit": arguments.images, "backbone": f"untrained:{backbone}",
                }  # fmt: skip
                config = load(flags, preset=preset, assignments=settings)
                bare, operations = bare_loop(config, device)
                rate, (first, last) = discover_rate(config)
                crops = rate["segments_per_image"] if preset == "paper" else 0
                ceiling = rates[config.discover.arithmetic(device)] / (operations * (1 + crops))
                busy = [share for at, share in samples if first <= at <= last]
                note({
                    "preset": preset, "backbone": backbone, "GFLOP per pass": operations / 1e9, **rate,
                    "passes_per_second_bare": bare, "ceiling_images_per_second": ceiling,
                    "share_of_ceiling": rate["images_per_second"] / ceiling,
                    "busy_percent": statistics.fmean(busy) if busy else None,
                })  # fmt: skip
        if in_time("a whole run"):
            flags = {"source": source, "out": str(scratch / "whole"), "clusters": 27, "device": device}
            summary = whole_run(load({**flags, "limit": arguments.images}, assignments=settings))
            note({"whole run, seconds per stage": summary["seconds"], "images": summary["images"]})
        if device == "cuda" and in_time("masks of CPU and GPU"):
            note(compare_devices(source, scratch, 48))


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    return f"{value:.3g}" if isinstance(value, float) else value


if __name__ == "__main__":
    main()
