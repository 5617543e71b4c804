"""Baseline: spherical k-means on the patch tokens of the run's own forward pass, no graph and no segments.

Plain k-means beats the published figure of DatUS² on COCO, and k-means in many fine clusters, merged as those of the
segments are, beats plain k-means (see :mod:`~datus2_ray.stages.cluster.token_tree`). Every report shows both beside
ours: tokens of the same forward pass, same scaling (``cluster.scaling``), same K, same seed.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from datus2_ray.engine.machines import Device
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Placement, Stage, Whole
from datus2_ray.engine.uses import row_holders
from datus2_ray.store.facts import Discovered, TokensClustered


def _compute(run: Run, placement: Placement, progress: Progress) -> TokensClustered:
    """Group the tokens of the whole set, or a sample of them, into K clusters, scaled as those of the tree are.

    Raises
    ------
    UsageError
        If K is below 2 or above the number of tokens.
    DatusError
        If a token is not finite, or the tokens do not fit into memory.
    """
    from datus2_ray.core.cluster.kmeans import kmeans
    from datus2_ray.core.cluster.projection import fit_projection
    from datus2_ray.core.cluster.rows import Widening
    from datus2_ray.engine.clustering.table import write_token_clusters
    from datus2_ray.engine.clustering.tokens import hold_tokens

    config, k = run.config, run.required_k
    held, _ = hold_tokens(run, progress, run.config.evaluate.token_sample)
    with closing(held) as rows:
        projection = fit_projection(rows, config.cluster.scaling, None)
        rows.project(Widening())
        restarts, noun = config.evaluate.token_restarts, "patch tokens"
        result = kmeans(rows, k, metric="spherical", restarts=restarts, seed=config.seed, noun=noun)
    write_token_clusters(placement.uri, result, projection)
    return TokensClustered(result.inertia, result.iterations)


def _decides(run: Run, device: Device) -> dict[str, Any]:
    config = run.config
    # Not what only merges: runs that differ in it share the result.
    return {
        **config.evaluate.identity(),
        "k": run.required_k,
        "seed": config.seed,
        "scaling": config.cluster.scaling,
    }


BASELINE = Stage(
    facts=TokensClustered,
    title="Cluster patch tokens without segments, for comparison",
    writes={
        "centroids.parquet": "centroids of K clusters of tokens",
        "scaling.parquet": "what is done to tokens first, if anything",
    },
    version=5,
    reads=(Discovered,),
    decides=_decides,
    left_out=lambda prospect: prospect.uncompared,
    uses=lambda prospect: [row_holders(prospect)],
    work=Whole(compute=_compute, unit="tokens"),
)
