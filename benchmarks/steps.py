"""What `discover` takes of one core for an image beside the ViT's own time, step by step, on real images.

    python benchmarks/steps.py FOLDER [--images N] [--size S] [--backbone NAME]

FOLDER holds images anywhere below it, of which N are taken evenly. Each step is tried five times an image, the fastest
counts, and the median and the highest over the images are shown in milliseconds; crops are a figure for each crop. One
thread. Next to the steps that other libraries do as well stands what these take, on the same input: one matrix product
for the graph, scikit-network for Louvain.
"""

from __future__ import annotations

import platform
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from louvain import scikit_network
from real_images import evenly, parser
from rich.console import Console
from rich.table import Table

from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.core.describe.crops import crops
from datus2_ray.core.describe.tokens import mean_tokens
from datus2_ray.core.graph.build import binary_affinity, pack
from datus2_ray.core.graph.louvain import louvain
from datus2_ray.core.graph.segments import find_segments
from datus2_ray.core.images import decode
from datus2_ray.core.images.resize import resize

#: Steps that the target of 6 ms an image is about: what is left without decoding, crops and the ViT.
GRAPH_STEPS = ("graph", "bits", "Louvain", "segments")


def tried(work: Callable[[], Any], times: list[float], tries: int = 5, share: int = 1) -> Any:
    """Do something several times, note the milliseconds of the fastest, and give what it gives."""
    fastest = float("inf")
    for _ in range(tries):
        start = time.perf_counter()
        result = work()
        fastest = min(fastest, time.perf_counter() - start)
    times.append(1000 * fastest / share)
    return result


def measure(file: Path, backbone: Any, size: int, own: dict[str, list[float]], other: dict[str, list[float]]) -> None:
    """Do the steps of one image."""
    data = file.read_bytes()
    decoded = tried(lambda: decode.decode(data), own["decode"])
    pixels = torch.from_numpy(np.array(tried(lambda: resize(decoded, size, size), own["resize"])))
    taps = [Tap("key"), Tap("token")]
    features = backbone.extract(pixels[None], taps)
    keys, tokens = features[taps[0]][0], features[taps[1]][0].to(torch.float16).numpy()
    adjacency = tried(lambda: binary_affinity(keys), own["graph"])
    tried(lambda: keys @ keys.T > 0, other["graph"])
    packed = tried(lambda: pack(adjacency).numpy(), own["bits"])
    labels = tried(lambda: louvain(packed), own["Louvain"]).labels
    tried(lambda: scikit_network(packed), other["Louvain"], tries=1)
    communities = labels.reshape(backbone.grid(size, size))
    found = tried(lambda: find_segments(communities, 5), own["segments"])
    tried(lambda: mean_tokens(tokens, found.patch_map, len(found.sizes)), own["mean tokens"])
    if len(found.sizes):
        patch_map = torch.from_numpy(found.patch_map)
        tried(lambda: crops(pixels, patch_map, found.boxes), own["a crop"], share=len(found.sizes))


def main() -> None:
    """Measure and print the table."""
    arguments = parser(__doc__, count=100).parse_args()
    torch.set_num_threads(1)
    backbone = load_backbone(arguments.backbone, input_size=arguments.size)
    own: dict[str, list[float]] = defaultdict(list)
    other: dict[str, list[float]] = defaultdict(list)
    chosen = evenly(arguments.folder, arguments.images)
    measure(chosen[0], backbone, arguments.size, defaultdict(list), defaultdict(list))  # compiles, warms up
    for file in chosen:
        measure(file, backbone, arguments.size, own, other)
    patches = np.prod(backbone.grid(arguments.size, arguments.size))
    table = Table("ms", "median", "highest", "library, median")
    for step, times in own.items():
        library = f"{np.median(other[step]):.2f}" if other[step] else ""
        table.add_row(step, f"{np.median(times):.2f}", f"{max(times):.2f}", library)
    graph = np.sum([own[step] for step in GRAPH_STEPS], axis=0)
    table.add_row(" + ".join(GRAPH_STEPS), f"{np.median(graph):.2f}", f"{max(graph):.2f}", "")
    print(f"{len(chosen)} images, {patches} patches of {backbone.dim} numbers, one thread, {platform.machine()}")
    Console(highlight=False, width=110).print(table)


if __name__ == "__main__":
    main()
