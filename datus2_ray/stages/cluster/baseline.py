"""Baseline: plain spherical k-means on the patch tokens of the run's own forward pass, no graph and no segments.

It beats the published figure of DatUS² on COCO, so every report shows it beside ours: same tokens, same resolution,
same scaling (``cluster.scaling``), same K, same seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from datus2_ray.core.cluster.kmeans import kmeans
from datus2_ray.core.cluster.projection import Projection, fit_projection
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.once import run_once
from datus2_ray.engine.progress import Progress
from datus2_ray.stages.cluster.actors import VectorTable, count_vectors
from datus2_ray.stages.cluster.cluster import Clusters, in_actors, read_scaling, write_scaling
from datus2_ray.store import schemas, storage
from datus2_ray.store.run_folder import Commit, RunFolder, fingerprint

VERSION = 2


def baseline(context: RunContext, segments: Commit, clusters: int) -> Commit:
    """Fit the baseline's centroids.

    Parameters
    ----------
    context : RunContext
        The run.
    segments : Commit
        What discover committed, with tokens.
    clusters : int
        The run's K.

    Returns
    -------
    Commit
        Of ``baseline/``.
    """
    config = context.config
    identity = {**config.evaluate.identity(), "clusters": clusters, "seed": config.seed}
    identity |= {"shard_rows": config.cluster.shard_rows, "scaling": config.cluster.scaling}
    stamp = fingerprint("baseline", VERSION, identity, [segments.fingerprint])

    def work(progress: Progress) -> dict[str, Any]:
        folder = context.folder.path("segments")
        counts = count_vectors(folder, "tokens", sorted(segments.parts))
        progress.total = sum(counts.values())
        share = min(1.0, config.evaluate.token_sample / progress.total)
        table = VectorTable(folder, "tokens", share=share, seed=config.seed)
        hold = in_actors(table, counts, config.cluster, progress.tell_pass)
        projection = fit_projection(hold, config.cluster.scaling, None)
        restarts, noun = config.evaluate.token_restarts, "patch tokens"
        with hold(projection) as shards:
            result = kmeans(shards, clusters, metric="spherical", restarts=restarts, seed=config.seed, noun=noun)
        columns = {
            "cluster": np.arange(clusters, dtype=np.int32),
            "centroid": list(result.centroids),
            "tokens": result.sizes,
        }
        centroids = pa.table(columns, schema=schemas.TOKEN_CENTROIDS)
        storage.write_table(context.folder.path("baseline", "centroids.parquet"), centroids)
        write_scaling(context.folder.path("baseline"), projection.scaling)
        return {"share": share, "inertia": result.inertia, "iterations": result.iterations}

    return run_once(context, "baseline", "baseline", stamp, "tokens", work)


def read_baseline(folder: RunFolder) -> Clusters:
    """Read what a patch token is assigned to a cluster by."""
    table = storage.read_table(folder.path("baseline", "centroids.parquet"))
    centroids, projection = np.array(table["centroid"].to_pylist()), Projection(read_scaling(folder.path("baseline")))
    return Clusters(centroids, table["cluster"].to_numpy(), "spherical", projection)
