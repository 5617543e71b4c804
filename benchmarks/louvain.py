"""Louvain: the compiled one against the libraries, on the paper's graphs of real images, in one run.

    python benchmarks/louvain.py FOLDER [--images N] [--size S] [--backbone NAME] [--libraries NAME ...]

FOLDER holds images anywhere below it, of which N are taken evenly. Shown are, in milliseconds a graph, what each takes
from the bits in which a graph leaves the device to labels and modularity (median and highest over the graphs, each the
fastest of three tries; one try where it takes longer than half a second), the mean modularity, how it compares with the
best that any of them found, and how many graphs are partitioned as scikit-network does. One thread.

igraph is not among the project's dependencies: pip install igraph.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from real_images import evenly, parser, read
from rich.console import Console
from rich.table import Table
from sknetwork.clustering import Louvain

from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.core.graph.build import binary_affinity, pack
from datus2_ray.core.graph.links import unpack
from datus2_ray.core.graph.louvain import Partition, louvain, modularity, number_by_first


def scikit_network(packed: np.ndarray) -> Partition:
    """Partition a graph by scikit-network, as the paper does."""
    adjacency = sp.csr_matrix(unpack(packed, len(packed)))
    labels = number_by_first(Louvain().fit_predict(adjacency))
    return Partition(labels, modularity(adjacency, labels))


def igraph(packed: np.ndarray) -> Partition:
    """Partition a graph by igraph."""
    import igraph

    adjacency = unpack(packed, len(packed))
    graph = igraph.Graph(n=len(packed), edges=np.argwhere(np.triu(adjacency)))
    labels = np.array(graph.community_multilevel().membership)
    return Partition(labels, modularity(sp.csr_matrix(adjacency), labels))


CHOICES: dict[str, Callable[[np.ndarray], Partition]] = {
    "compiled": louvain,
    "compiled, 4 orders": partial(louvain, orders=4),
    "scikit-network": scikit_network,
    "igraph": igraph,
    "networkx": partial(louvain, library="networkx"),
    "python-louvain": partial(louvain, library="python-louvain"),
}


def make_graphs(folder: Path, count: int, size: int, backbone: str) -> list[np.ndarray]:
    """Make the graphs of some images, as packed bits."""
    model = load_backbone(backbone, input_size=size)
    graphs = []
    for file in evenly(folder, count):
        keys = model.extract(read(file, size), [Tap("key")])[Tap("key")][0]
        graphs.append(pack(binary_affinity(keys)).numpy())
    return graphs


def measure(partition: Callable[[np.ndarray], Partition], graph: np.ndarray) -> tuple[float, Partition]:
    """Give the seconds of the fastest of three tries, or of one that is long, and the partition."""
    seconds: list[float] = []
    while len(seconds) < 3 and sum(seconds) < 0.5:
        start = time.perf_counter()
        found = partition(graph)
        seconds.append(time.perf_counter() - start)
    return min(seconds), found


def main() -> None:
    """Measure and print the table."""
    flags = parser(__doc__, count=200)
    flags.add_argument("--libraries", nargs="+", choices=list(CHOICES), default=list(CHOICES))
    arguments = flags.parse_args()
    torch.set_num_threads(1)
    graphs = make_graphs(arguments.folder, arguments.images, arguments.size, arguments.backbone)
    louvain(graphs[0])  # compiles, or loads what was compiled
    found = {name: [measure(CHOICES[name], graph) for graph in graphs] for name in arguments.libraries}
    reached = np.array([[partition.modularity for _, partition in of] for of in found.values()])
    best = reached.max(axis=0)
    known = best > 1e-9  # where every pair is joined there is nothing to find
    density = np.mean([unpack(graph, len(graph)).mean() for graph in graphs])
    print(f"{len(graphs)} graphs of {len(graphs[0])} nodes, {100 * density:.0f} % of all pairs joined, {known.sum()} "
          f"with communities; {platform.machine()}")  # fmt: skip
    table = Table(
        "", "ms", "most, ms", "mean modularity", "of the best, %", "least of the best, %", "as scikit-network"
    )
    for (name, of), values in zip(found.items(), reached, strict=True):
        milliseconds = [1000 * seconds for seconds, _ in of]
        pairs = zip(of, found.get("scikit-network", []), strict=False)
        same = sum(np.array_equal(ours.labels, theirs.labels) for (_, ours), (_, theirs) in pairs)
        table.add_row(
            name, f"{np.median(milliseconds):.2f}", f"{max(milliseconds):.2f}", f"{values.mean():.5f}",
            f"{100 * values.sum() / best.sum():.3f}", f"{100 * (values[known] / best[known]).min():.1f}", str(same),
        )  # fmt: skip
    Console(highlight=False, width=130).print(table)


if __name__ == "__main__":
    main()
