"""Exact Lloyd iterations over fixed shards, and the fixed rule that moves empty clusters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.assignment import Metric, unit_rows
from datus2_ray.core.cluster.shard_rows import farthest_rows
from datus2_ray.core.cluster.shard_sums import PartialSums, partial_sums
from datus2_ray.core.cluster.shards import Shards, combined


@dataclass(frozen=True)
class Iteration:
    """One line of the k-means curve.

    Parameters
    ----------
    inertia : float
        Of the centroids before this iteration's update (mini-batch: summed over the batches of the epoch, each with the
        centroids that it met).
    shift : float
        Sum of the squared moves of the centroids.
    relocated : int
        How many empty clusters were moved.
    """

    inertia: float
    shift: float
    relocated: int


@dataclass(frozen=True)
class Fit:
    """What one start led to: centroids [K, d], the sums of all rows under them, the curve, and whether it converged."""

    centroids: NDArray[np.float64]
    sums: PartialSums
    history: tuple[Iteration, ...]
    converged: bool


def lloyd(shards: Shards, centroids: NDArray[np.float64], metric: Metric, max_iterations: int, max_shift: float) -> Fit:
    """Assign all rows and average the clusters, until the centroids stand still.

    Parameters
    ----------
    shards : Shards
    centroids : float64 [K, d]
        Where to start; unit rows for ``spherical``.
    metric : {"euclidean", "spherical"}
    max_iterations : int
    max_shift : float
        Stop when the squared moves of all centroids together are not larger. A move of exactly 0, which is what
        unchanged labels lead to, always stops.

    Returns
    -------
    Fit
        Its sums belong to its centroids: one more assignment is made unless the last move was 0.

    References
    ----------
    Lloyd, "Least squares quantization in PCM", 1982. Spherical: Dhillon and Modha, "Concept decompositions for large
    sparse text data using clustering", 2001.
    """
    history: list[Iteration] = []
    shift = np.inf
    while shift > max_shift and len(history) < max_iterations:
        sums = combined(shards.ask(partial_sums, centroids, metric))
        filled, relocated = fill_empty(shards, centroids, sums, metric)
        moved = means(filled, centroids, metric)
        shift = float(np.square(moved - centroids).sum())
        history.append(Iteration(sums.inertia, shift, relocated))
        centroids = moved
    if shift > 0:
        sums = combined(shards.ask(partial_sums, centroids, metric))
    return Fit(centroids, sums, tuple(history), converged=shift <= max_shift)


def means(sums: PartialSums, centroids: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """Turn sums into new centroids; a cluster without rows, or whose unit rows cancel out, keeps its centroid.

    Parameters
    ----------
    sums : PartialSums
    centroids : float64 [K, d]
        The centroids so far.
    metric : {"euclidean", "spherical"}

    Returns
    -------
    float64 [K, d]
    """
    if metric == "spherical":
        moved = unit_rows(sums.sums)
        return np.where(moved.any(axis=1, keepdims=True), moved, centroids)
    full = np.flatnonzero(sums.counts > 0)
    moved = centroids.copy()
    moved[full] = sums.sums[full] / sums.weights[full, None]
    return moved


def fill_empty(
    shards: Shards, centroids: NDArray[np.float64], sums: PartialSums, metric: Metric
) -> tuple[PartialSums, int]:
    """Give every empty cluster one of the rows that are farthest from their centroids.

    Rows are taken by distance, largest first, ties by global row number, and empty clusters by index, as scikit-learn
    does. Two exceptions keep the rule from making new empty clusters: a cluster's last row is not taken from it, and a
    row at distance 0 (or a zero row of ``spherical``) is not taken at all, so that with fewer different rows than
    clusters some stay empty.

    Parameters
    ----------
    shards : Shards
    centroids : float64 [K, d]
        The centroids that the sums belong to.
    sums : PartialSums
    metric : {"euclidean", "spherical"}

    Returns
    -------
    sums : PartialSums
        With the rows taken moved from their clusters to the empty ones.
    relocated : int
        Number of clusters filled.
    """
    empty = np.flatnonzero(sums.counts == 0)
    if not empty.size:
        return sums, 0
    # At most one row a cluster is passed over, so these are enough.
    far = farthest_rows(shards, centroids, len(empty) + len(centroids), metric)
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
