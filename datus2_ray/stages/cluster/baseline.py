"""Baseline: plain spherical k-means on the patch tokens of the run's own forward pass, no graph and no segments.

It beats the published figure of DatUS² on COCO, so every report shows it beside ours: same tokens, same resolution,
same scaling (``cluster.scaling``), same K, same seed.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from datus2_ray.core.cluster.kmeans import kmeans
from datus2_ray.core.cluster.projection import fit_projection
from datus2_ray.engine.clusters_table import write_baseline
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.once import run_once
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.rows import RayRows, VectorTable, count_vectors
from datus2_ray.store.run_folder import Commit, fingerprint

VERSION = 2


def baseline(context: RunContext, segments: Commit, clusters: int) -> Commit:
    """Fit the baseline's centroids to the tokens in ``segments/`` and write them to ``baseline/``."""
    config = context.config
    identity = {**config.evaluate.identity(), "clusters": clusters, "seed": config.seed}
    identity |= {"scaling": config.cluster.scaling}
    stamp = fingerprint("baseline", VERSION, identity, [segments.fingerprint])

    def work(progress: Progress) -> dict[str, Any]:
        folder = context.folder.path("segments")
        counts = count_vectors(folder, "patch_map", sorted(segments.parts))
        progress.total = sum(counts.values())
        share = min(1.0, config.evaluate.token_sample / progress.total)
        table = VectorTable(folder, "tokens", share=share, seed=config.seed)
        restarts, noun = config.evaluate.token_restarts, "patch tokens"
        with closing(RayRows(table, counts, config.cluster.workers, on_pass=progress.tell_pass)) as rows:
            projection = fit_projection(rows, config.cluster.scaling, None)
            result = kmeans(rows, clusters, metric="spherical", restarts=restarts, seed=config.seed, noun=noun)
        write_baseline(context.folder.path("baseline"), result, projection)
        return {"share": share, "inertia": result.inertia, "iterations": result.iterations}

    return run_once(context, "baseline", "baseline", stamp, "tokens", work)
