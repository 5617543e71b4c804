"""k-means over fixed shards: checks, starts, restarts, and the result.

The loop asks shards (:class:`~datus2_ray.core.cluster.shards.Shards`) and adds their answers in shard order; whether a
shard is an array in this process or in an actor elsewhere makes no difference to a single bit of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.assignment import Metric, assign, metric_rows
from datus2_ray.core.cluster.lloyd import Fit, Iteration, lloyd
from datus2_ray.core.cluster.minibatch import minibatch
from datus2_ray.core.cluster.shard_rows import shard_labels
from datus2_ray.core.cluster.shard_sums import Moments, moments
from datus2_ray.core.cluster.shards import LocalShards, Shard, Shards, combined
from datus2_ray.core.cluster.start import Start, start_centroids
from datus2_ray.errors import DatusError, UsageError

__all__ = [
    "Iteration",
    "KMeansResult",
    "LocalShards",
    "Metric",
    "Shard",
    "Shards",
    "Start",
    "assign",
    "kmeans",
    "shard_labels",
]


@dataclass(frozen=True)
class KMeansResult:
    """The best of all restarts.

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
        Whether the centroids stood still before the iterations ran out.
    history : tuple of Iteration
        The curve of this restart.
    start : str
        ``k-means++``, ``k-means||``, ``random`` or ``given``.
    restart : int
        Which restart this is, from 0.
    restart_inertias : tuple of float
        The inertia of every restart.
    """

    centroids: NDArray[np.float64]
    inertia: float
    sizes: NDArray[np.int64]
    iterations: int
    converged: bool
    history: tuple[Iteration, ...]
    start: str
    restart: int
    restart_inertias: tuple[float, ...]


def kmeans(
    shards: Shards,
    clusters: int,
    *,
    metric: Metric = "euclidean",
    algorithm: Literal["lloyd", "minibatch"] = "lloyd",
    start: Start | NDArray[np.float64] = "k-means++",
    restarts: int = 1,
    seed: int = 0,
    sample_size: int = 20_000,
    max_iterations: int = 300,
    tolerance: float = 1e-4,
    epochs: int = 50,
    batch_size: int = 1024,
    noun: str = "rows",
) -> KMeansResult:
    """Find K centroids.

    Rows that are equal count as often as they occur, or as their weights say. Under ``spherical``, rows are compared by
    direction; a zero row has none: it is allowed, has distance 1 to every centroid, belongs to cluster 0, and moves
    nothing.

    Parameters
    ----------
    shards : Shards
        The rows, float [n, d] in all, with positive weights.
    clusters : int
        K.
    metric : {"euclidean", "spherical"}
    algorithm : {"lloyd", "minibatch"}
        Exact Lloyd, or mini-batches with one full assignment at the end.
    start : {"k-means++", "k-means||", "random"} or float [K, d]
        How the first centroids are chosen, or what they are.
    restarts : int
        Number of starts with random choices of their own; the smallest inertia wins, the first of equals. Given
        centroids are run once.
    seed : int
        Seed of every random choice, not negative.
    sample_size : int
        How many rows the start ``k-means++`` looks at, at most.
    max_iterations : int
        Lloyd only.
    tolerance : float
        Lloyd only: stop when the squared moves of the centroids sum to at most this times the mean variance of the
        columns (scikit-learn's rule).
    epochs, batch_size : int
        Mini-batch only.
    noun : str
        What a row is, in the plural, for the messages of errors.

    Returns
    -------
    KMeansResult

    Raises
    ------
    UsageError
        K below 2 or above the number of rows (``spherical``: of rows that are not zero); given centroids of another
        shape.
    DatusError
        Rows with NaN or infinity.
    """
    known = combined(shards.ask(moments, metric))
    _check(known, clusters, noun)
    if not isinstance(start, str) and start.shape != (clusters, len(known.sums)):
        raise UsageError(f"start centroids have shape {start.shape}, expected {(clusters, len(known.sums))}")
    # The mean variance of the columns, weighted so that weights and repetition agree.
    variance = float(np.mean(known.squares / known.weight - np.square(known.sums / known.weight)))

    def fit(restart: int) -> Fit:
        key = (seed, restart)
        if isinstance(start, str):
            first = start_centroids(shards, known, clusters, start, metric, key, sample_size)
        else:
            first = metric_rows(start, metric)
        if algorithm == "minibatch":
            return minibatch(shards, first, metric, known.rows, epochs, batch_size, key)
        return lloyd(shards, first, metric, max_iterations, tolerance * variance)

    inertias: list[float] = []
    for restart in range(restarts if isinstance(start, str) else 1):
        candidate = fit(restart)
        if not inertias or candidate.sums.inertia < min(inertias):
            best, chosen = candidate, restart
        inertias.append(candidate.sums.inertia)
    return KMeansResult(
        centroids=best.centroids,
        inertia=best.sums.inertia,
        sizes=best.sums.counts,
        iterations=len(best.history),
        converged=best.converged,
        history=best.history,
        start=start if isinstance(start, str) else "given",
        restart=chosen,
        restart_inertias=tuple(inertias),
    )


def _check(known: Moments, clusters: int, noun: str) -> None:
    if known.bad:
        raise DatusError(
            f"{known.bad} of {known.rows} {noun} have NaN or infinity in their vectors, the first is number "
            f"{known.first_bad} (counted from 0); look at what made them"
        )
    if clusters < 2:
        raise UsageError(f"K = {clusters}: k-means needs at least 2 clusters; choose a larger K")
    if clusters > known.usable:
        kind = noun if known.usable == known.rows else f"{noun} with a vector that is not zero"
        raise UsageError(
            f"K = {clusters} is larger than the {known.usable} {kind} to cluster; choose a smaller K or give more data"
        )
