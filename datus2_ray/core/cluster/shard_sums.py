"""The sums that a shard answers with: moments before the first iteration, sums per cluster in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.assignment import BLAS, Assignment, Metric, chunks, metric_rows
from datus2_ray.core.cluster.distances import add_rows
from datus2_ray.core.cluster.shards import Shard, own_rows


@dataclass(frozen=True)
class Moments:
    """What is known of rows before the first iteration: numbers of rows, float64 sums, and rows that are not finite.

    ``usable`` counts the rows that can be a centroid: all, or for ``spherical`` those that are not zero. ``first_bad``
    is the smallest global number of a row with NaN or infinity, -1 where there is none (``bad`` is 0).
    """

    rows: int
    usable: int
    bad: int
    first_bad: int
    weight: float
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]

    def __add__(self, later: Moments) -> Moments:
        """Combine with the moments of later rows."""
        return Moments(
            self.rows + later.rows,
            self.usable + later.usable,
            self.bad + later.bad,
            self.first_bad if self.bad else later.first_bad,
            self.weight + later.weight,
            self.sums + later.sums,
            self.squares + later.squares,
        )


def moments(shard: Shard, metric: Metric) -> Moments:
    """Count a shard's rows and sum them and their squares, weighted, in float64 and in fixed chunks.

    Parameters
    ----------
    shard : Shard
    metric : {"euclidean", "spherical"}

    Returns
    -------
    Moments
        Rows that are not finite are counted and left out of the sums.
    """
    dimensions = shard.x.shape[1]
    total = Moments(0, 0, 0, -1, 0.0, np.zeros(dimensions), np.zeros(dimensions))
    for chunk in chunks(len(shard.x)):
        finite = np.logical_and.reduce(np.isfinite(shard.x[chunk]), axis=1)
        rows, weights = metric_rows(shard.x[chunk][finite], metric), shard.weights[chunk][finite]
        usable = len(rows) if metric == "euclidean" else int(rows.any(axis=1).sum())
        bad = np.flatnonzero(~finite)
        first_bad = shard.first_row + chunk.start + int(bad[0]) if bad.size else -1
        weighted = rows * weights[:, None]
        total += Moments(
            len(finite),
            usable,
            bad.size,
            first_bad,
            float(weights.sum()),
            weighted.sum(axis=0),
            (weighted * rows).sum(axis=0),
        )
    return total


@dataclass(frozen=True)
class PartialSums:
    """What a shard adds to new centroids: weighted sums [K, d], weights [K], row counts [K], inertia."""

    sums: NDArray[np.float64]
    weights: NDArray[np.float64]
    counts: NDArray[np.int64]
    inertia: float

    def __add__(self, other: PartialSums) -> PartialSums:
        """Combine with the sums of other rows."""
        return PartialSums(
            self.sums + other.sums,
            self.weights + other.weights,
            self.counts + other.counts,
            self.inertia + other.inertia,
        )


def partial_sums(
    shard: Shard, centroids: NDArray[np.float64], metric: Metric, rows: NDArray[np.int64] | None = None
) -> PartialSums:
    """Assign a shard's rows to their nearest centroids and sum them per cluster, in float64 and in fixed chunks.

    Parameters
    ----------
    shard : Shard
    centroids : float64 [K, d]
        Unit rows for ``spherical``.
    metric : {"euclidean", "spherical"}
    rows : int64 [m], optional
        Global numbers of the rows to use, in this order (those of other shards are passed over); all by default.

    Returns
    -------
    PartialSums
    """
    own = None if rows is None else own_rows(shard, rows)
    assignment = Assignment(centroids, metric)
    clusters = len(centroids)
    sums, totals, counts, inertia = np.zeros(centroids.shape), np.zeros(clusters), np.zeros(clusters, np.int64), 0.0
    with BLAS.limit(limits=1):
        for chunk in chunks(len(shard.x) if own is None else len(own)):
            at = chunk if own is None else own[chunk]
            found, weights = assignment.nearest(shard.x[at]), shard.weights[at]
            add_rows(found.rows, weights / found.lengths, found.labels, sums)
            totals += np.bincount(found.labels, weights, clusters)
            counts += np.bincount(found.labels, minlength=clusters)
            inertia += float((weights * found.distances).sum())
    return PartialSums(sums, totals, counts, inertia)
