"""Cluster: segment descriptors to centroids by k-means over Ray actors, merged to K clusters."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from datus2_ray.engine.machines import Device
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Placement, Stage, Whole
from datus2_ray.engine.uses import row_holders
from datus2_ray.errors import DatusError
from datus2_ray.store.facts import Clustered, Discovered


def _compute(run: Run, placement: Placement, progress: Progress) -> Clustered:
    """Group the segments of the whole set into K clusters.

    Raises
    ------
    UsageError
        If K is below 2 or above the number of segments.
    DatusError
        If no image has a valid segment, a descriptor is not finite, or the descriptors do not fit into memory.
    """
    from datus2_ray.core.cluster.merging import merge_centroids
    from datus2_ray.core.cluster.projection import fit_projection
    from datus2_ray.engine import prometheus
    from datus2_ray.engine.clustering.kmeans import run_kmeans
    from datus2_ray.engine.clustering.rows import RayRows, VectorTable, count_vectors
    from datus2_ray.engine.clustering.table import write_clusters

    config, k = run.config.cluster, run.required_k
    segments = run.commit(Discovered)
    counts = count_vectors(segments.uri, "sizes", sorted(segments.parts))
    progress.total = sum(counts.values())
    if progress.total == 0:
        raise DatusError("no image has a segment of more than tau patches; lower --set discover.tau=N")
    table = VectorTable(segments.uri, "descriptors", "sizes" if config.weights == "area" else None)
    table.check_memory(counts, run.machines)
    # Fewer segments than the finer clusters asked for are not a fault, as fewer than K are.
    finer = max(k, min(config.overclustering * k, progress.total))
    with closing(RayRows(table, counts, config.workers, on_pass=progress.note_pass)) as rows:
        projection = fit_projection(rows, config.scaling, config.pca)
        result = run_kmeans(rows, finer, config, run.config.seed)
    members = merge_centroids(result.centroids, k, config.metric)
    write_clusters(placement.uri, result, members, projection)
    prometheus.count_segments(Clustered.stage, progress.total)
    return Clustered(
        clusters=k,
        centroids=finer,
        segments=progress.total,
        inertia=result.inertia,
        iterations=result.iterations,
        converged=result.converged,
        restart=result.restart,
        restart_inertias=tuple(result.restart_inertias),
        metric=config.metric,
    )


def _decides(run: Run, device: Device) -> dict[str, Any]:
    return {**run.config.cluster.identity(), "k": run.required_k, "seed": run.config.seed}


CLUSTER = Stage(
    facts=Clustered,
    title="Group the segments of the whole set into clusters",
    writes={
        "centroids.parquet": "centroids and the cluster of each",
        "history.parquet": "inertia per iteration",
        "scaling.parquet, pca.parquet": "what is done to descriptors first, if anything",
    },
    version=4,
    reads=(Discovered,),
    decides=_decides,
    uses=lambda prospect: [row_holders(prospect)],
    work=Whole(compute=_compute, unit="segments"),
)
