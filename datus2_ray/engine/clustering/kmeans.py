"""k-means with the settings of a run."""

from __future__ import annotations

from datus2_ray.config.stages import ClusterConfig
from datus2_ray.core.cluster.kmeans import KMeansResult, kmeans
from datus2_ray.core.cluster.rows import RowBlocks


def run_kmeans(blocks: RowBlocks, k: int, config: ClusterConfig, seed: int) -> KMeansResult:
    """Cluster segments, which may lie in this process or in actors, into K clusters."""
    return kmeans(
        blocks,
        k,
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
