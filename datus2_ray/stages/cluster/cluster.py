"""Cluster: segment descriptors → ``clusters/``: centroids by k-means over Ray actors, its curve, the projection."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from datus2_ray.config.stages import ClusterConfig
from datus2_ray.core.cluster.assignment import assign
from datus2_ray.core.cluster.cooccurrence import log_lift
from datus2_ray.core.cluster.kmeans import KMeansResult, Metric, kmeans
from datus2_ray.core.cluster.merging import merge_centroids
from datus2_ray.core.cluster.pca import PCA
from datus2_ray.core.cluster.projection import Projection, fit_projection
from datus2_ray.core.cluster.scaling import Scaling
from datus2_ray.core.cluster.shards import Shards
from datus2_ray.engine import prometheus
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.machines import Cluster
from datus2_ray.engine.once import run_once
from datus2_ray.engine.progress import Progress
from datus2_ray.errors import DatusError
from datus2_ray.stages.cluster.actors import RayShards, VectorTable, count_vectors
from datus2_ray.stages.cluster.cooccur import count_images_together
from datus2_ray.store import schemas, storage
from datus2_ray.store.run_folder import Commit, RunFolder, fingerprint

VERSION = 3


@dataclass(frozen=True)
class Clusters:
    """What is needed to assign a descriptor to a cluster.

    Parameters
    ----------
    centroids : ndarray
        float64, shape (M, d).
    members : ndarray
        Cluster of every centroid, 0 … K-1, int32, shape (M,); M is K where none were merged.
    metric : str
        Distance to the centroids.
    projection : Projection
        What is done to descriptors before it.
    """

    centroids: np.ndarray
    members: np.ndarray
    metric: Metric
    projection: Projection

    @property
    def count(self) -> int:
        """K."""
        return int(self.members.max()) + 1

    def assign(self, descriptors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give the cluster of every descriptor, and its distance to the nearest of that cluster's centroids."""
        if not len(descriptors):
            return np.empty(0, dtype=np.int32), np.empty(0)
        nearest, distances = assign(self.projection.transform(descriptors), self.centroids, self.metric)
        return self.members[nearest], distances


def cluster(context: RunContext, segments: Commit, clusters: int) -> Commit:
    """Group the segments of the whole set into K clusters.

    Parameters
    ----------
    context : RunContext
        The run.
    segments : Commit
        What discover committed.
    clusters : int
        K.

    Returns
    -------
    Commit
        Of ``clusters/``; its facts hold K, the numbers of centroids and of segments, and the inertia.

    Raises
    ------
    UsageError
        K is below 2 or above the number of segments.
    DatusError
        No image has a valid segment, or a descriptor is not finite.
    """
    config = context.config.cluster
    identity = {**config.identity(), "clusters": clusters, "seed": context.config.seed}
    stamp = fingerprint("cluster", VERSION, identity, [segments.fingerprint])

    def work(progress: Progress) -> dict[str, Any]:
        folder = context.folder.path("segments")
        counts = count_vectors(folder, "descriptors", sorted(segments.parts))
        progress.total = sum(counts.values())
        if progress.total == 0:
            raise DatusError("no image has a segment of more than tau patches; lower --set discover.tau=N")
        table = VectorTable(folder, "descriptors", "sizes" if config.weights == "area" else None)
        # Fewer segments than the finer clusters asked for are not a fault, as fewer than K are.
        finer = max(clusters, min(config.overclustering * clusters, progress.total))
        result, projection = fit(table, counts, finer, context, progress.tell_pass)
        lift = None
        if config.apart and finer > clusters:
            unmerged = Clusters(result.centroids, np.arange(finer, dtype=np.int32), config.metric, projection)
            lift = log_lift(*count_images_together(folder, sorted(segments.parts), unmerged.assign, finer))
        members = merge_centroids(result.centroids, clusters, config.metric, lift, config.apart)
        write_clusters(context.folder.path("clusters"), result, members, projection)
        prometheus.count_segments("cluster", progress.total)
        return {
            "clusters": clusters,
            "centroids": finer,
            "segments": progress.total,
            "inertia": result.inertia,
            "iterations": result.iterations,
            "converged": result.converged,
            "restart": result.restart,
            "restart_inertias": list(result.restart_inertias),
            "metric": config.metric,
        }

    return run_once(context, "cluster", "clusters", stamp, "segments", work)


def fit(
    table: VectorTable, counts: dict[str, int], clusters: int, context: RunContext, tell: Callable[[int], None]
) -> tuple[KMeansResult, Projection]:
    """Run k-means, after scaling and PCA where asked, over actors that hold the table's vectors."""
    config = context.config.cluster
    hold = in_actors(table, counts, config, tell)
    projection = fit_projection(hold, config.scaling, config.pca)
    with hold(projection) as shards:
        return run_kmeans(shards, clusters, config, context.config.seed), projection


def run_kmeans(shards: Shards, clusters: int, config: ClusterConfig, seed: int) -> KMeansResult:
    """Run k-means as the settings say, wherever the shards are."""
    return kmeans(
        shards,
        clusters,
        metric=config.metric,
        algorithm=config.algorithm,
        start=config.start,
        restarts=config.restarts,
        seed=seed,
        sample_size=config.start_sample,
        max_iterations=config.max_iterations,
        tolerance=config.tolerance,
        epochs=config.epochs,
        batch_size=config.batch_size,
        noun="segments",
    )


def in_actors(
    table: VectorTable, counts: dict[str, int], config: ClusterConfig, tell: Callable[[int], None]
) -> Callable[[Projection], closing[RayShards]]:
    """Give what holds a table's vectors, projected, in actors for as long as they are asked: one a CPU by default."""
    workers = config.workers or max(1, Cluster.now().cpus)
    return lambda projection: closing(RayShards(table, counts, config.shard_rows, workers, projection, tell))


def write_clusters(folder: str, result: KMeansResult, members: np.ndarray, projection: Projection) -> None:
    """Write centroids, curve and projection as tables."""
    centroids = {
        "cluster": members,
        "centroid": list(result.centroids),
        "segments": result.sizes,
    }
    storage.write_table(storage.join(folder, "centroids.parquet"), pa.table(centroids, schema=schemas.CENTROIDS))
    curve = [
        {"iteration": i + 1, "inertia": item.inertia, "shift": item.shift, "relocated": item.relocated}
        for i, item in enumerate(result.history)
    ]
    storage.write_table(storage.join(folder, "history.parquet"), pa.Table.from_pylist(curve, schema=schemas.HISTORY))
    write_scaling(folder, projection.scaling)
    if (pca := projection.pca) is not None:
        rows = {"mean": [pca.mean] * len(pca.components), "component": list(pca.components), "explained": pca.explained}
        storage.write_table(storage.join(folder, "pca.parquet"), pa.table(rows, schema=schemas.PCA))


def write_scaling(folder: str, scaling: Scaling | None) -> None:
    """Write a scaling as a table of one row a coordinate, where there is one."""
    if scaling is None:
        return
    columns = {"mean": scaling.mean, "deviation": scaling.deviation}
    storage.write_table(storage.join(folder, "scaling.parquet"), pa.table(columns, schema=schemas.SCALING))


def read_scaling(folder: str) -> Scaling | None:
    """Read what :func:`write_scaling` wrote, None where it wrote nothing."""
    if not storage.exists(storage.join(folder, "scaling.parquet")):
        return None
    table = storage.read_table(storage.join(folder, "scaling.parquet"))
    return Scaling(table["mean"].to_numpy(), table["deviation"].to_numpy())


def read_clusters(folder: RunFolder) -> Clusters:
    """Read what :func:`write_clusters` wrote."""
    facts = folder.require("clusters").facts
    table = storage.read_table(folder.path("clusters", "centroids.parquet"))
    pca = None
    if storage.exists(folder.path("clusters", "pca.parquet")):
        rows = storage.read_table(folder.path("clusters", "pca.parquet"))
        components = np.array(rows["component"].to_pylist())
        pca = PCA(np.array(rows["mean"][0].as_py()), components, rows["explained"].to_numpy())
    projection = Projection(read_scaling(folder.path("clusters")), pca)
    return Clusters(np.array(table["centroid"].to_pylist()), table["cluster"].to_numpy(), facts["metric"], projection)
