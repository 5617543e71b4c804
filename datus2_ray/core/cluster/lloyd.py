"""Exact Lloyd iterations over row blocks, and the fixed rule that moves empty clusters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.assignment import Metric, metric_rows
from datus2_ray.core.cluster.questions import PartialSums, farthest_rows, partial_sums
from datus2_ray.core.cluster.rows import RowBlocks, combined


@dataclass(frozen=True)
class Iteration:
    """One point of the k-means curve.

    ``inertia`` is of the centroids before this iteration's update (mini-batch: summed over the batches of the epoch,
    each with the centroids of its time), ``shift`` the sum of the centroids' squared moves, and ``relocated`` the
    number of empty clusters that were moved.
    """

    inertia: float
    shift: float
    relocated: int


@dataclass(frozen=True)
class Fit:
    """Result of one start: centroids [K, d], the sums of all rows under them, the curve, and whether it converged."""

    centroids: NDArray[np.float64]
    sums: PartialSums
    history: tuple[Iteration, ...]
    converged: bool


def lloyd(
    blocks: RowBlocks, centroids: NDArray[np.float64], metric: Metric, max_iterations: int, max_shift: float
) -> Fit:
    """Assign all rows and average the clusters, until the centroids stop moving.

    They have stopped when their squared moves sum to at most ``max_shift``. A move of exactly 0, which is what
    unchanged labels lead to, always stops; otherwise one more assignment makes the sums belong to the centroids. The
    first centroids are float64 [K, d], unit rows for ``spherical``.

    References
    ----------
    Lloyd, "Least squares quantization in PCM", 1982. Spherical: Dhillon and Modha, "Concept decompositions for large
    sparse text data using clustering", 2001.
    """
    history: list[Iteration] = []
    shift = np.inf
    while shift > max_shift and len(history) < max_iterations:
        sums = combined(blocks.ask(partial_sums, centroids, metric))
        filled, relocated = fill_empty(blocks, centroids, sums, metric)
        moved = means(filled, centroids, metric)
        shift = float(np.square(moved - centroids).sum())
        history.append(Iteration(sums.inertia, shift, relocated))
        centroids = moved
    if shift > 0:
        sums = combined(blocks.ask(partial_sums, centroids, metric))
    return Fit(centroids, sums, tuple(history), converged=shift <= max_shift)


def means(sums: PartialSums, centroids: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """Compute new centroids from sums; a cluster without rows, or whose unit rows cancel out, keeps its centroid."""
    if metric == "spherical":
        moved = metric_rows(sums.sums, metric)
        return np.where(moved.any(axis=1, keepdims=True), moved, centroids)
    full = np.flatnonzero(sums.counts > 0)
    moved = centroids.copy()
    moved[full] = sums.sums[full] / sums.weights[full, None]
    return moved


def fill_empty(
    blocks: RowBlocks, centroids: NDArray[np.float64], sums: PartialSums, metric: Metric
) -> tuple[PartialSums, int]:
    """Move one of the rows that are farthest from their centroids to every empty cluster.

    Rows are taken by distance, largest first, ties by global row number, and empty clusters by index, as scikit-learn
    does. Two exceptions keep the rule from making new empty clusters: a cluster's last row is not taken from it, and a
    row at distance 0 (or a zero row of ``spherical``) is not taken at all, so that with fewer different rows than
    clusters some stay empty.

    The sums are those under the centroids; returned are the sums after the moves, and the number of clusters filled.
    """
    empty = np.flatnonzero(sums.counts == 0)
    if not empty.size:
        return sums, 0
    # At most one row per cluster is skipped, so these are enough.
    far = farthest_rows(blocks, centroids, len(empty) + len(centroids), metric)
    totals, weights, counts = sums.sums.copy(), sums.weights.copy(), sums.counts.copy()
    relocated = 0
    for label, x, weight in zip(far.labels, far.x, far.weights, strict=True):
        if relocated == len(empty):
            break
        if counts[label] > 1:
            new = empty[relocated]
            totals[label] -= weight * x
            weights[label] -= weight
            counts[label] -= 1
            totals[new], weights[new], counts[new] = weight * x, weight, 1
            relocated += 1
    return replace(sums, sums=totals, weights=weights, counts=counts), relocated
