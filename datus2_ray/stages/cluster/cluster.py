"""Cluster: segment descriptors to fine clusters by k-means, several times, and the trees that merge them."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import Any

from datus2_ray.engine.machines import Device
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Placement, Stage, Whole
from datus2_ray.engine.uses import row_holders
from datus2_ray.errors import DatusError
from datus2_ray.store.facts import Clustered, Discovered, Encoded


def _compute(run: Run, placement: Placement, progress: Progress) -> Clustered:
    """Group the segments of the whole set into fine clusters, and merge these, as often as there are votes.

    Raises
    ------
    UsageError
        If K is below 2 or above the number of segments.
    DatusError
        If no image has a valid segment, a descriptor is not finite, or the descriptors do not fit into memory.
    """
    from datus2_ray.core.cluster.projection import fit_projection
    from datus2_ray.engine import prometheus
    from datus2_ray.engine.clustering.kmeans import count_fine, gather_votes, run_kmeans
    from datus2_ray.engine.clustering.rows import hold_rows
    from datus2_ray.engine.clustering.table import write_clusters
    from datus2_ray.engine.clustering.vectors import VectorTable, count_vectors

    config = run.config.cluster
    segments = run.described
    counts = count_vectors(segments.uri, "sizes", sorted(segments.parts))
    progress.total = sum(counts.values())
    if progress.total == 0:
        raise DatusError("no image has a segment of more than tau patches; lower --set discover.tau=N")
    weights = "sizes" if config.weights == "area" else None
    table = VectorTable(segments.uri, "descriptors", weights, areas="sizes")
    with closing(hold_rows(table, counts, config.workers, run.machines, progress.note_pass)) as rows:
        projection = fit_projection(rows, *config.projection)
        fine = count_fine(rows, _fine(run), run.required_k, config.metric)
        fit = partial(run_kmeans, rows, fine, config, run.config.seed)
        results = rows.each(fit, range(config.clusterings))
        votes = gather_votes(rows, results, config.metric)
    result = results[0]
    write_clusters(placement.uri, result, votes, projection)
    prometheus.count_segments(Clustered.stage, progress.total)
    return Clustered(
        centroids=fine,
        segments=progress.total,
        inertia=result.inertia,
        iterations=result.iterations,
        converged=result.converged,
        restart=result.restart,
        restart_inertias=tuple(result.restart_inertias),
        metric=config.metric,
        votes=len(votes),
    )


def _fine(run: Run) -> int:
    """Return the number of fine clusters to find: as set, whatever K is, unless K is larger; else K."""
    return max(run.config.cluster.fine or 0, run.required_k)


def _decides(run: Run, device: Device) -> dict[str, Any]:
    config = run.config.cluster
    return {**config.identity(), "fine": _fine(run), "votes": config.clusterings, "seed": run.config.seed}


CLUSTER = Stage(
    facts=Clustered,
    title="Group the segments of the whole set into fine clusters, and merge these in a tree",
    writes={
        "centroids.parquet": "centroids of fine clusters",
        "tree.parquet": "a row per merge of two of them",
        "votes.parquet": "if several vote, a row per clustering: its tree, and the area that its fine clusters share "
        "with those of centroids.parquet; with the tree, the clusters follow from it for every K",
        "history.parquet": "inertia per iteration",
        "scaling.parquet, pca.parquet": "what is done to descriptors first, if anything",
    },
    version=6,
    reads=(Discovered,),
    may_read=(Encoded,),
    decides=_decides,
    uses=lambda prospect: [row_holders(prospect)],
    work=Whole(compute=_compute, unit="segments"),
)
