"""Mini-batch k-means: running means over batches drawn by a seeded permutation of the global row numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.assignment import Metric, unit_rows
from datus2_ray.core.cluster.lloyd import Fit, Iteration, fill_empty
from datus2_ray.core.cluster.row_hash import sample_rows
from datus2_ray.core.cluster.shard_sums import partial_sums
from datus2_ray.core.cluster.shards import Shards, combined


def minibatch(
    shards: Shards,
    centroids: NDArray[np.float64],
    metric: Metric,
    rows: int,
    epochs: int,
    batch_size: int,
    key: tuple[int, ...],
) -> Fit:
    """Update the centroids batch by batch; every epoch sees every row once, in an order of its own.

    A centroid is the mean of the rows that it was given so far, each with the centroids of its time: scikit-learn's
    update rule. Not taken over is its random reassignment of small clusters: here, when a cluster was given no row in a
    whole epoch, the clusters that are empty are moved by the fixed rule of :func:`~lloyd.fill_empty` and start anew.

    Parameters
    ----------
    shards : Shards
    centroids : float64 [K, d]
        Where to start; unit rows for ``spherical``.
    metric : {"euclidean", "spherical"}
        For ``spherical`` the running means are normalised before every batch.
    rows : int
        Number of rows of all shards.
    epochs : int
    batch_size : int
        Rows a batch; the last one of an epoch may have fewer.
    key : tuple of int
        Seed and number of the restart.

    Returns
    -------
    Fit
        With the sums of one full assignment at the end, one line of history an epoch, and ``converged`` false unless
        the last epoch moved nothing.

    References
    ----------
    Sculley, "Web-scale k-means clustering", WWW 2010.
    """
    running, seen = centroids.copy(), np.zeros(len(centroids))
    history: list[Iteration] = []
    for epoch in range(epochs):
        before, inertia, relocated = centroids, 0.0, 0
        given = np.zeros(len(centroids), np.int64)
        order = sample_rows(rows, rows, *key, "epoch", epoch)
        for first in range(0, rows, batch_size):
            sums = combined(shards.ask(partial_sums, centroids, metric, order[first : first + batch_size]))
            fed = np.flatnonzero(sums.counts > 0)
            running[fed] = (running[fed] * seen[fed, None] + sums.sums[fed]) / (seen + sums.weights)[fed, None]
            seen += sums.weights
            centroids = _towards(running, centroids, metric)
            inertia += sums.inertia
            given += sums.counts
        if not given.all():
            sums = combined(shards.ask(partial_sums, centroids, metric))
            filled, relocated = fill_empty(shards, centroids, sums, metric)
            new = np.flatnonzero((sums.counts == 0) & (filled.counts > 0))
            running[new], seen[new] = filled.sums[new] / filled.weights[new, None], 0.0
            centroids = _towards(running, centroids, metric)
        history.append(Iteration(inertia, float(np.square(centroids - before).sum()), relocated))
    sums = combined(shards.ask(partial_sums, centroids, metric))
    return Fit(centroids, sums, tuple(history), converged=history[-1].shift == 0)


def _towards(running: NDArray[np.float64], centroids: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """Turn running means into centroids; a mean without a direction leaves its ``spherical`` centroid where it was."""
    if metric == "spherical":
        return np.where(running.any(axis=1, keepdims=True), unit_rows(running), centroids)
    return running.copy()
