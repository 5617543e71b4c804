"""Cluster: segment descriptors → ``clusters/``: centroids by k-means over Ray actors, its curve, the projection."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from datus2_ray.core.cluster.merging import merge_centroids
from datus2_ray.core.cluster.projection import fit_projection
from datus2_ray.engine import prometheus
from datus2_ray.engine.clusters_table import write_clusters
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.kmeans import run_kmeans
from datus2_ray.engine.once import run_once
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.rows import RayRows, VectorTable, count_vectors
from datus2_ray.errors import DatusError
from datus2_ray.store.run_folder import Commit, fingerprint

VERSION = 3


def cluster(context: RunContext, segments: Commit, clusters: int) -> Commit:
    """Group the segments of the whole set into K clusters.

    The facts of ``clusters/`` hold K, the numbers of centroids and of segments, and the inertia.

    Raises
    ------
    UsageError
        If K is below 2 or above the number of segments.
    DatusError
        If no image has a valid segment, or a descriptor is not finite.
    """
    config = context.config.cluster
    identity = {**config.identity(), "clusters": clusters, "seed": context.config.seed}
    stamp = fingerprint("cluster", VERSION, identity, [segments.fingerprint])

    def work(progress: Progress) -> dict[str, Any]:
        folder = context.folder.path("segments")
        counts = count_vectors(folder, "sizes", sorted(segments.parts))
        progress.total = sum(counts.values())
        if progress.total == 0:
            raise DatusError("no image has a segment of more than tau patches; lower --set discover.tau=N")
        table = VectorTable(folder, "descriptors", "sizes" if config.weights == "area" else None)
        # Fewer segments than the finer clusters asked for are not a fault, as fewer than K are.
        finer = max(clusters, min(config.overclustering * clusters, progress.total))
        with closing(RayRows(table, counts, config.workers, on_pass=progress.tell_pass)) as rows:
            projection = fit_projection(rows, config.scaling, config.pca)
            result = run_kmeans(rows, finer, config, context.config.seed)
        members = merge_centroids(result.centroids, clusters, config.metric)
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
