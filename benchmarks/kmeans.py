"""k-means over Ray actors against faiss and scikit-learn: the same vectors, first centroids, iterations and cores.

    python benchmarks/kmeans.py FOLDER [--rows N] [--clusters K] [--iterations I] [--repeats R] [--backbone NAME]

The vectors are patch tokens of real images, those of the last two blocks side by side (384 numbers with the packaged
backbone). All start from the same K of them and do the same number of iterations over all rows, first with one core,
then with two; the libraries in threads of this process, ours in as many actors as cores, vectors loaded beforehand.
The table has the seconds of all iterations (ours with a pass for the moments before and one for the inertia after
them), median of the repeats, their ratio to faiss, and the inertia of the centroids, computed in float64 for all.

faiss is not among the project's dependencies: pip install faiss-cpu.
"""

from __future__ import annotations

import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import torch
from real_images import evenly, parser, read
from rich.console import Console
from rich.table import Table
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.core.cluster.assignment import assign
from datus2_ray.core.cluster.kmeans import kmeans
from datus2_ray.core.cluster.questions import partial_sums
from datus2_ray.engine.clustering.rows import RayRows
from datus2_ray.engine.clustering.vectors import VectorTable
from datus2_ray.engine.session import start_ray
from datus2_ray.store import parquet, storage

PART_ROWS = 10_000


def patch_vectors(files: list[Path], backbone: str, size: int) -> np.ndarray:
    """Return the tokens of the last two blocks of all patches, float32 (patches, 2 * dim)."""
    model = load_backbone(backbone, input_size=size)
    taps = [Tap("token", -2), Tap("token", -1)]
    tokens = []
    for file in files:
        tokens.append(torch.cat(list(model.extract(read(file, size), taps).values()), dim=-1)[0].numpy())
    return np.concatenate(tokens)


def write_parts(folder: str, vectors: np.ndarray) -> dict[str, int]:
    """Write the vectors as discover does, one list per row, and return the number of vectors in each part."""
    counts = {}
    for number, start in enumerate(range(0, len(vectors), PART_ROWS)):
        part = vectors[start : start + PART_ROWS]
        flat = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), part.shape[1])
        rows = pa.ListArray.from_arrays(pa.array([0, len(part)], pa.int32()), flat)
        name = f"{number:05d}.parquet"
        parquet.write_table(storage.join(folder, name), pa.table({"tokens": rows}))
        counts[name] = len(part)
    return counts


def by_faiss(vectors: np.ndarray, start: np.ndarray, iterations: int, cores: int) -> tuple[float, np.ndarray]:
    """Return seconds and centroids."""
    faiss.omp_set_num_threads(cores)
    model = faiss.Kmeans(vectors.shape[1], len(start), niter=iterations, max_points_per_centroid=len(vectors))
    begin = time.perf_counter()
    model.train(vectors, init_centroids=start)
    return time.perf_counter() - begin, model.centroids


def by_scikit_learn(vectors: np.ndarray, start: np.ndarray, iterations: int, cores: int) -> tuple[float, np.ndarray]:
    """Return seconds and centroids."""
    model = KMeans(len(start), init=start, n_init=1, max_iter=iterations, tol=0, algorithm="lloyd")
    with threadpool_limits(cores), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        begin = time.perf_counter()
        model.fit(vectors)
        seconds = time.perf_counter() - begin
    assert model.n_iter_ == iterations, "it converged before: take more rows or fewer iterations"
    return seconds, model.cluster_centers_


def by_actors(table: VectorTable, counts: dict[str, int]) -> Callable[..., tuple[float, np.ndarray]]:
    """Return a function that runs our k-means over actors that hold the table."""

    def run(vectors: np.ndarray, start: np.ndarray, iterations: int, cores: int) -> tuple[float, np.ndarray]:
        rows = RayRows(table, counts, cores)
        rows.ask(partial_sums, start.astype(np.float64), "euclidean")  # loads rows and compiled code
        begin = time.perf_counter()
        result = kmeans(rows, len(start), start=start.astype(np.float64), max_iterations=iterations, tolerance=0)
        seconds = time.perf_counter() - begin
        rows.close()
        assert result.iterations == iterations, "it converged before: take more rows or fewer iterations"
        return seconds, result.centroids

    return run


def main() -> None:
    """Measure and print the table."""
    flags = parser(__doc__, count=0)
    flags.add_argument("--rows", type=int, default=300_000)
    flags.add_argument("--clusters", type=int, default=27)
    flags.add_argument("--iterations", type=int, default=20)
    flags.add_argument("--repeats", type=int, default=3)
    arguments = flags.parse_args()
    patches = np.prod(load_backbone(arguments.backbone, input_size=arguments.size).grid(arguments.size, arguments.size))
    files = evenly(arguments.folder, arguments.images or int(-(-arguments.rows // patches)))
    vectors = np.ascontiguousarray(patch_vectors(files, arguments.backbone, arguments.size)[: arguments.rows])
    start = vectors[np.random.default_rng(0).choice(len(vectors), arguments.clusters, replace=False)]
    start_ray(600)
    table = Table("", "cores", "seconds", "of faiss", "inertia")
    with tempfile.TemporaryDirectory() as folder:
        ours = by_actors(VectorTable(folder, "tokens"), write_parts(folder, vectors))
        ways = {"faiss": by_faiss, "scikit-learn": by_scikit_learn, "datus2_ray": ours}
        for cores in (1, 2):
            # In turns, so that what else the machine does meets all alike.
            tries = [
                {name: way(vectors, start, arguments.iterations, cores) for name, way in ways.items()}
                for _ in range(arguments.repeats)
            ]
            median = {name: statistics.median(one[name][0] for one in tries) for name in ways}
            for name in ways:
                inertia = assign(vectors, tries[0][name][1].astype(np.float64))[1].sum()
                ratio = f"{median[name] / median['faiss']:.2f}"
                table.add_row(name, str(cores), f"{median[name]:.2f}", ratio, f"{inertia:.8g}")
    print(f"{len(vectors)} x {vectors.shape[1]}, K = {len(start)}, {arguments.iterations} iterations, median of "
          f"{arguments.repeats}; {platform.machine()}")  # fmt: skip
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
