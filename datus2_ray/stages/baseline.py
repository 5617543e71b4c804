"""Baseline: plain spherical k-means on the patch tokens of the run's own forward pass, no graph and no segments.

It beats the published figure of DatUS² on COCO, so every report shows it beside ours: same tokens, same resolution,
same K, same seed.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from datus2_ray import schemas, storage
from datus2_ray.context import RunContext
from datus2_ray.core.kmeans import kmeans
from datus2_ray.progress import Progress
from datus2_ray.run_folder import Commit, RunFolder, fingerprint
from datus2_ray.stages.cluster import default_workers
from datus2_ray.stages.shard_actors import RayShards, VectorTable, count_vectors

VERSION = 1


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
    identity["shard_rows"] = config.cluster.shard_rows
    stamp = fingerprint("baseline", VERSION, identity, [segments.fingerprint])
    done = context.folder.commit_of("baseline")
    if done is not None and done.fingerprint == stamp:
        Progress("baseline", 0).skip(f"{done.facts['tokens']:,} tokens, done before")
        return done
    context.folder.begin("baseline", stamp)
    context.events.write("begin", stage="baseline")
    folder = context.folder.path("segments")
    counts = count_vectors(folder, "tokens", sorted(segments.parts))
    total = sum(counts.values())
    progress = Progress("baseline", total, "tokens")
    share = min(1.0, config.evaluate.token_sample / total)
    table = VectorTable(folder, "tokens", share=share, seed=config.seed)
    workers = config.cluster.workers or default_workers()
    tell = lambda passes: progress.advance(0, note=f"pass {passes}")  # noqa: E731
    shards = RayShards(table, counts, config.cluster.shard_rows, workers, tell=tell)
    restarts = config.evaluate.token_restarts
    result = kmeans(shards, clusters, metric="spherical", restarts=restarts, seed=config.seed, noun="patch tokens")
    shards.close()
    centroids = {
        "cluster": np.arange(clusters, dtype=np.int32),
        "centroid": list(result.centroids),
        "tokens": result.sizes,
    }
    storage.write_table(
        context.folder.path("baseline", "centroids.parquet"), pa.table(centroids, schema=schemas.TOKEN_CENTROIDS)
    )
    facts = {"tokens": total, "share": share, "inertia": result.inertia, "iterations": result.iterations}
    commit = Commit(stamp, segments.rows_out, segments.rows_out, 0, {}, facts)
    context.folder.finish("baseline", commit)
    progress.advance(total)
    context.events.write("end", stage="baseline", tokens=total, errors=0, seconds=progress.finish())
    return commit


def read_baseline(folder: RunFolder) -> np.ndarray:
    """Read the baseline's centroids: float64, shape (K, D)."""
    table = storage.read_table(folder.path("baseline", "centroids.parquet"))
    return np.array(table["centroid"].to_pylist())
