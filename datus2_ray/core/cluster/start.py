"""First centroids of k-means: k-means++ on a sample, k-means||, or random rows.

No choice depends on how the rows are cut into blocks: it is decided by the seed and a row's global number. k-means++ is
written out because scikit-learn's uses matrix products, whose rounding depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.assignment import Metric, chunks, metric_rows
from datus2_ray.core.cluster.distances import FloatArray, distances_to
from datus2_ray.core.cluster.questions import Moments, farthest_rows, partial_sums, rows_at
from datus2_ray.core.cluster.row_hash import sample_rows
from datus2_ray.core.cluster.rows import RowBlocks, combined
from datus2_ray.core.cluster.threads import in_threads

Start = Literal["k-means++", "k-means||", "random"]

# Bahmani et al. find 5 rounds of 2 K rows as good as k-means++ on all rows (section 5).
PARALLEL_ROUNDS = 5
OVERSAMPLING = 2

#: Chunks of rows from which on their distances are computed in several threads; a chunk takes 0.05 ms.
WORTH_THREADS = 32


def start_centroids(
    blocks: RowBlocks,
    total: Moments,
    k: int,
    start: Start,
    metric: Metric,
    key: tuple[int, ...],
    sample_size: int,
) -> NDArray[np.float64]:
    """Choose the first centroids among the rows, float64 [K, d], unit rows for ``spherical``.

    Parameters
    ----------
    total : Moments
        The moments of all rows. K is at most the usable ones: under ``spherical`` a zero row is never a start.
    key : tuple of int
        Seed and number of the restart.
    sample_size : int
        Max number of rows that ``k-means++`` uses.
    """
    if start == "k-means||":
        return kmeans_parallel(blocks, total, k, metric, key)
    # Some of the rows drawn may be zero rows, which are dropped: draw as many more.
    needed = k if start == "random" else max(sample_size, k)
    drawn = sample_rows(total.rows, min(needed + total.rows - total.usable, total.rows), *key, start)
    if start == "random":
        x, _ = _rows_in_order(blocks, drawn)
        return metric_rows(x[x.any(axis=1)] if metric == "spherical" else x, metric)[:k]
    x, weights = _rows_in_order(blocks, np.sort(drawn))
    rows = metric_rows(x, metric)
    if metric == "spherical":
        weights = weights * rows.any(axis=1)
    return kmeans_plus_plus(rows, weights, k, metric, np.random.default_rng(key))


def _rows_in_order(blocks: RowBlocks, numbers: NDArray[np.int64]) -> tuple[FloatArray, NDArray[np.float64]]:
    """Fetch rows and their weights from the blocks, in the order of ``numbers``."""
    order = np.argsort(numbers)
    answers = blocks.ask(rows_at, numbers[order])
    place = np.argsort(order)
    x, weights = (np.concatenate(parts)[place] for parts in zip(*answers, strict=True))
    return x, weights


def kmeans_plus_plus(
    rows: NDArray[np.float64], weights: NDArray[np.float64], k: int, metric: Metric, random: np.random.Generator
) -> NDArray[np.float64]:
    """Choose K rows far from each other: greedy k-means++ with 2 + log K trials per centroid, as in scikit-learn.

    Rows, float64 [n, d], are as the metric compares them; one of weight 0 is not chosen. Where there are fewer
    different rows than K, some are chosen twice.

    References
    ----------
    Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
    """
    trials = 2 + int(np.log(k))
    # Chunks stay in the core's own cache while all candidates are compared with them.
    columns = [np.ascontiguousarray(rows[chunk].T) for chunk in chunks(len(rows))]
    chosen = _draw(weights, random.random(1))
    closest = _distances(columns, rows[chosen], metric)[:, 0]
    for _ in range(1, k):
        candidates = _draw(closest * weights, random.random(trials))
        distances = np.minimum(_distances(columns, rows[candidates], metric), closest[:, None])
        best = int(np.argmin((distances * weights[:, None]).sum(axis=0)))
        chosen = np.append(chosen, candidates[best])
        closest = distances[:, best]
    return rows[chosen]


def _draw(masses: NDArray[np.float64], uniform: NDArray[np.float64]) -> NDArray[np.intp]:
    """Turn numbers of [0, 1) into positions, drawn with probabilities proportional to the masses."""
    cumulated = np.cumsum(masses)
    # Rounding can carry a draw past the last positive mass, which is also the answer where all masses are zero.
    last = np.searchsorted(cumulated, cumulated[-1])
    drawn: NDArray[np.intp] = np.minimum(np.searchsorted(cumulated, uniform * cumulated[-1], side="right"), last)
    return drawn


def _distances(
    columns: Sequence[NDArray[np.float64]], centres: NDArray[np.float64], metric: Metric
) -> NDArray[np.float64]:
    """Compute the distances of all rows, [d, n] for every chunk of them, to some centres [m, d]: float64 [n, m]."""

    def compare(chunk: NDArray[np.float64]) -> NDArray[np.float64]:
        distances = np.empty((len(centres), chunk.shape[1]))
        distances_to(chunk, centres, metric == "spherical", distances)
        return distances

    each = in_threads(compare, columns) if len(columns) >= WORTH_THREADS else map(compare, columns)
    return np.concatenate(list(each), axis=1).T


def kmeans_parallel(
    blocks: RowBlocks, total: Moments, k: int, metric: Metric, key: tuple[int, ...]
) -> NDArray[np.float64]:
    """Choose centroids by k-means||: a few rounds of many rows at once, then weighted k-means++ among these.

    Every round draws exactly 2 K rows without replacement, with probabilities proportional to weight times distance to
    the rows drawn before (the paper's variant of exactly l rows from the joint distribution, section 5.3). Drawn as a
    race of exponential clocks, it needs one pass over the rows and not the total distance, whose rounding would depend
    on the blocks. Parameters and result are those of :func:`start_centroids`.

    References
    ----------
    Bahmani, Moseley, Vattani, Kumar and Vassilvitskii, "Scalable k-means++", VLDB 2012.
    """
    candidates = start_centroids(blocks, total, 1, "random", metric, key, 1)
    for number in range(PARALLEL_ROUNDS):
        drawn = farthest_rows(blocks, candidates, OVERSAMPLING * k, metric, (*key, "k-means||", number))
        candidates = np.concatenate([candidates, drawn.x])
    weights = combined(blocks.ask(partial_sums, candidates, metric)).weights
    return kmeans_plus_plus(candidates, weights, k, metric, np.random.default_rng(key))
