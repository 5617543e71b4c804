"""Mini-batch k-means: running means over batches drawn by a seeded permutation of the global row numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.assignment import Metric, metric_rows
from datus2_ray.core.cluster.lloyd import Fit, Iteration, fill_empty
from datus2_ray.core.cluster.questions import partial_sums
from datus2_ray.core.cluster.row_hash import sample_rows
from datus2_ray.core.cluster.rows import RowBlocks, combined


def minibatch(
    blocks: RowBlocks,
    centroids: NDArray[np.float64],
    metric: Metric,
    rows: int,
    epochs: int,
    batch_size: int,
    key: tuple[int, ...],
) -> Fit:
    """Update the centroids batch by batch; every epoch uses every row once, in an order of its own.

    A centroid is the mean of the rows assigned to it so far, each with the centroids of its time: scikit-learn's update
    rule. Its random reassignment of small clusters is not used: when a cluster was assigned no row in a whole epoch,
    the clusters that are empty are moved by the fixed rule of :func:`~lloyd.fill_empty` and start anew.

    Parameters
    ----------
    centroids : float64 [K, d]
        The start; unit rows for ``spherical``, whose running means are normalised before every batch.
    rows : int
        Number of rows of all blocks.
    key : tuple of int
        Seed and number of the restart.

    Returns
    -------
    Fit
        Its sums are those of one full assignment at the end; its history has one point per epoch; ``converged`` is
        whether the last epoch moved nothing.

    References
    ----------
    Sculley, "Web-scale k-means clustering", WWW 2010.
    """
    running, weights = centroids.copy(), np.zeros(len(centroids))
    history: list[Iteration] = []
    for epoch in range(epochs):
        before, inertia, relocated = centroids, 0.0, 0
        counts = np.zeros(len(centroids), np.int64)
        order = sample_rows(rows, rows, *key, "epoch", epoch)
        for first in range(0, rows, batch_size):
            sums = combined(blocks.ask(partial_sums, centroids, metric, order[first : first + batch_size]))
            updated = np.flatnonzero(sums.counts > 0)
            total = running[updated] * weights[updated, None] + sums.sums[updated]
            weights += sums.weights
            running[updated] = total / weights[updated, None]
            centroids = _centroids(running, centroids, metric)
            inertia += sums.inertia
            counts += sums.counts
        if not counts.all():
            sums = combined(blocks.ask(partial_sums, centroids, metric))
            filled, relocated = fill_empty(blocks, centroids, sums, metric)
            new = np.flatnonzero((sums.counts == 0) & (filled.counts > 0))
            running[new], weights[new] = filled.sums[new] / filled.weights[new, None], 0.0
            centroids = _centroids(running, centroids, metric)
        history.append(Iteration(inertia, float(np.square(centroids - before).sum()), relocated))
    sums = combined(blocks.ask(partial_sums, centroids, metric))
    return Fit(centroids, sums, tuple(history), converged=history[-1].shift == 0)


def _centroids(running: NDArray[np.float64], centroids: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """Turn running means into centroids; a mean without a direction leaves its ``spherical`` centroid where it was."""
    if metric == "spherical":
        return np.where(running.any(axis=1, keepdims=True), metric_rows(running, metric), centroids)
    return running.copy()
