"""k-means and the tree of its clusters, with the settings of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datus2_ray.config.cluster import ClusterConfig
from datus2_ray.core.cluster.assignment import Metric
from datus2_ray.core.cluster.consensus import Vote
from datus2_ray.core.cluster.kmeans import KMeansResult, kmeans
from datus2_ray.core.cluster.questions import cluster_areas, moments, overlap
from datus2_ray.core.cluster.rows import RowBlocks, combined
from datus2_ray.core.cluster.tree import Tree, merge


def run_kmeans(blocks: RowBlocks, k: int, config: ClusterConfig, seed: int, number: int = 0) -> KMeansResult:
    """Cluster segments, which may lie in this process or in actors, into K clusters, from starts of this number on."""
    return kmeans(
        blocks,
        k,
        metric=config.metric,
        algorithm=config.algorithm,
        start=config.start,
        restarts=config.restarts,
        seed=seed,
        first_start=number * config.restarts,
        sample_size=config.start_sample,
        max_iterations=config.max_iterations,
        tolerance=config.tolerance,
        epochs=config.epochs,
        batch_size=config.batch_size,
        noun="segments",
    )


def count_fine(blocks: RowBlocks, fine: int, k: int, metric: Metric) -> int:
    """Return how many fine clusters there can be: as many as asked for, one per row where there are fewer rows.

    At least K in any case: more clusters than rows are a fault, which k-means names.
    """
    return max(k, min(fine, combined(blocks.ask(moments, metric)).usable))


def gather_votes(blocks: RowBlocks, results: Sequence[KMeansResult], metric: Metric) -> list[Vote]:
    """Return every clustering of these rows as the fine clusters of the first one see it."""
    first = results[0].centroids
    return [
        Vote(build_tree(blocks, one, metric), combined(blocks.ask(overlap, first, one.centroids, metric)))
        for one in results
    ]


def build_tree(blocks: RowBlocks, result: KMeansResult, metric: Metric) -> Tree:
    """Merge the clusters of k-means over these rows, weighted by their areas."""
    weights = combined(blocks.ask(cluster_areas, result.centroids, metric))
    # Where there are fewer different rows than clusters, some clusters have none.
    return merge(result.centroids, np.maximum(weights, 1))
