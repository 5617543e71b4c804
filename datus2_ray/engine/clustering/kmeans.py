"""k-means and the tree of its clusters, with the settings of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from datus2_ray.config.cluster import ClusterConfig
from datus2_ray.core.cluster.assignment import Metric
from datus2_ray.core.cluster.consensus import Vote
from datus2_ray.core.cluster.kmeans import KMeansResult, kmeans
from datus2_ray.core.cluster.questions import moments, overlap
from datus2_ray.core.cluster.rows import RowBlocks, combined
from datus2_ray.core.cluster.tree import merge

#: Min rows per centroid that k-means++ chooses from: of as many rows as centroids it would take all.
START = 10


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
        sample_size=max(config.start_sample, START * k),
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
    """Return the trees of clusterings of these rows, and the area that each shares with the first one's fine clusters.

    Clusterings have the same number of fine clusters. In the first, one that no row is nearest to has an area of 1.
    """
    centroids = [one.centroids for one in results]
    fine = len(centroids[0])
    # Side by side in one sparse matrix: the sum over the blocks is then a sum of matrices.
    side_by_side = combined(blocks.ask(overlap, centroids, metric)).tocsc()
    overlaps = [side_by_side[:, start : start + fine] for start in range(0, fine * len(results), fine)]
    overlaps[0] = sp.diags_array(np.maximum(overlaps[0].diagonal(), 1), dtype=np.int64)
    votes = []
    for own, shared in zip(centroids, overlaps, strict=True):
        # Where there are fewer different rows than clusters, some clusters have none.
        areas = np.maximum(shared.sum(axis=0), 1).astype(np.float64)
        votes.append(Vote(merge(own, areas), sp.csr_array(shared)))
    return votes
