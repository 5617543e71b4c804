"""k-means over row blocks: checks, starts, restarts, and the result.

The loop asks :class:`~datus2_ray.core.cluster.rows.RowBlocks` and adds their answers in block order; whether a block is
an array in this process or in an actor elsewhere makes no difference to a single bit of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.assignment import Metric, metric_rows
from datus2_ray.core.cluster.lloyd import Fit, Iteration, lloyd
from datus2_ray.core.cluster.minibatch import minibatch
from datus2_ray.core.cluster.questions import Moments, moments
from datus2_ray.core.cluster.rows import RowBlocks, combined
from datus2_ray.core.cluster.start import Start, start_centroids
from datus2_ray.errors import DatusError, UsageError


@dataclass(frozen=True)
class KMeansResult:
    """The best of all restarts, which is number ``restart``, from 0.

    Parameters
    ----------
    centroids : float64 [K, d]
        Unit rows for ``spherical``.
    inertia : float
        Sum of weight * squared distance, or of weight * (1 - cosine), over all rows.
    sizes : int64 [K]
        Rows of each cluster. 0 only where there are fewer different rows than clusters.
    iterations : int
        Lloyd iterations, or epochs.
    converged : bool
        Whether the centroids stopped moving before the iterations ran out.
    """

    centroids: NDArray[np.float64]
    inertia: float
    sizes: NDArray[np.int64]
    iterations: int
    converged: bool
    history: tuple[Iteration, ...]
    restart: int
    restart_inertias: tuple[float, ...]


def kmeans(
    blocks: RowBlocks,
    k: int,
    *,
    metric: Metric = "euclidean",
    algorithm: Literal["lloyd", "minibatch"] = "lloyd",
    start: Start | NDArray[np.float64] = "k-means++",
    restarts: int = 1,
    seed: int = 0,
    first_start: int = 0,
    sample_size: int = 20_000,
    max_iterations: int = 300,
    tolerance: float = 1e-4,
    epochs: int = 50,
    batch_size: int = 1024,
    noun: str = "rows",
) -> KMeansResult:
    """Compute K centroids.

    Equal rows count as often as they occur, or as their weights say. Under ``spherical``, rows are compared by
    direction; a zero row has none: it is allowed, has distance 1 to every centroid, belongs to cluster 0, and moves
    nothing.

    Parameters
    ----------
    blocks : RowBlocks
        The rows, float [n, d] in all, with positive weights.
    algorithm : {"lloyd", "minibatch"}
        Exact Lloyd, or mini-batches with one full assignment at the end.
    start : {"k-means++", "k-means||", "random"} or float [K, d]
        How the first centroids are chosen, or the centroids themselves.
    restarts : int
        Number of starts with random choices of their own; the smallest inertia wins, the first of equals. Given
        centroids are run once.
    seed, first_start : int
        The choices of a start follow from the seed and its number; this is the number of the first.
    sample_size : int
        Max number of rows that the start ``k-means++`` uses.
    max_iterations, tolerance
        Lloyd only; it stops when the squared moves of the centroids sum to at most this times the mean variance of the
        columns (scikit-learn's rule).
    epochs, batch_size
        Mini-batch only.
    noun : str
        What a row is, in the plural, for error messages.

    Raises
    ------
    UsageError
        If K is below 2 or above the number of rows (``spherical``: of rows that are not zero), or if given centroids
        have another shape.
    DatusError
        If rows have NaN or infinity.
    """
    total = combined(blocks.ask(moments, metric))
    _check(total, k, noun)
    if not isinstance(start, str) and start.shape != (k, len(total.sums)):
        raise UsageError(f"start centroids have shape {start.shape}, expected {(k, len(total.sums))}")
    # The mean variance of the columns, weighted so that weights and repetition agree.
    variance = float(np.mean(total.squares / total.weight - np.square(total.sums / total.weight)))

    def fit(restart: int) -> Fit:
        key = (seed, first_start + restart)
        if isinstance(start, str):
            first = start_centroids(blocks, total, k, start, metric, key, sample_size)
        else:
            first = metric_rows(start, metric)
        if algorithm == "minibatch":
            return minibatch(blocks, first, metric, total.rows, epochs, batch_size, key)
        return lloyd(blocks, first, metric, max_iterations, tolerance * variance)

    fits = blocks.each(fit, range(restarts if isinstance(start, str) else 1))
    inertias = [candidate.sums.inertia for candidate in fits]
    chosen = inertias.index(min(inertias))
    best = fits[chosen]
    return KMeansResult(
        centroids=best.centroids,
        inertia=best.sums.inertia,
        sizes=best.sums.counts,
        iterations=len(best.history),
        converged=best.converged,
        history=best.history,
        restart=chosen,
        restart_inertias=tuple(inertias),
    )


def _check(total: Moments, k: int, noun: str) -> None:
    if total.bad:
        raise DatusError(
            f"{total.bad} of {total.rows} {noun} have NaN or infinity in their vectors, the first is number "
            f"{total.first_bad} (counted from 0); check the weights and settings that computed them"
        )
    if k < 2:
        raise UsageError(f"K = {k}: k-means needs at least 2 clusters; choose a larger K")
    if k > total.usable:
        kind = noun if total.usable == total.rows else f"{noun} with a vector that is not zero"
        raise UsageError(
            f"K = {k} is larger than the {total.usable} {kind} to cluster; choose a smaller K or give more data"
        )
