"""The questions that row blocks are asked: sums over their rows, a few rows of theirs, and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from datus2_ray.core.cluster.assignment import Assignment, Metric, Nearest, assign, chunks, metric_rows
from datus2_ray.core.cluster.distances import FloatArray, add_rows
from datus2_ray.core.cluster.row_hash import row_uniform
from datus2_ray.core.cluster.rows import RowBlock, RowBlocks, own_rows
from datus2_ray.core.cluster.threads import BLAS, in_threads


@dataclass(frozen=True)
class Moments:
    """Counts of rows and their float64 sums, before the first iteration.

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


def moments(block: RowBlock, metric: Metric) -> Moments:
    """Count a block's rows and sum them and their squares, weighted, in float64 and in fixed chunks.

    Rows that are not finite are counted and left out of the sums.
    """
    dimensions = block.x.shape[1]
    total = Moments(0, 0, 0, -1, 0.0, np.zeros(dimensions), np.zeros(dimensions))
    for chunk in chunks(len(block.x)):
        finite = np.logical_and.reduce(np.isfinite(block.x[chunk]), axis=1)
        rows, weights = metric_rows(block.x[chunk][finite], metric), block.weights[chunk][finite]
        usable = len(rows) if metric == "euclidean" else int(rows.any(axis=1).sum())
        bad = np.flatnonzero(~finite)
        first_bad = block.first_row + chunk.start + int(bad[0]) if bad.size else -1
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
    """What rows add to new centroids: weighted sums [K, d], weights [K], row counts [K], inertia."""

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
    block: RowBlock, centroids: NDArray[np.float64], metric: Metric, rows: NDArray[np.int64] | None = None
) -> PartialSums:
    """Assign a block's rows to their nearest centroids and sum them per cluster, in float64 and in fixed chunks.

    ``rows`` are the global numbers of the rows to use, in this order (those of other blocks are skipped); default all.
    The centroids, float64 [K, d], are unit rows for ``spherical``.
    """
    own = None if rows is None else own_rows(block, rows)
    assignment = Assignment(centroids, metric)
    k = len(centroids)
    sums, totals, counts, inertia = np.zeros(centroids.shape), np.zeros(k), np.zeros(k, np.int64), 0.0

    def nearest_of(chunk: slice) -> tuple[Nearest, NDArray[np.float64]]:
        selected = chunk if own is None else own[chunk]
        return assignment.nearest(block.x[selected]), block.weights[selected]

    with BLAS.limit(limits=1):
        for nearest, weights in in_threads(nearest_of, chunks(len(block.x) if own is None else len(own))):
            add_rows(nearest.rows, weights / nearest.lengths, nearest.labels, sums)
            totals += np.bincount(nearest.labels, weights, k)
            counts += np.bincount(nearest.labels, minlength=k)
            inertia += float((weights * nearest.distances).sum())
    return PartialSums(sums, totals, counts, inertia)


@dataclass(frozen=True)
class Rows:
    """Chosen rows: their keys [m], global numbers [m], nearest centroids [m], vectors [m, d] and weights [m]."""

    keys: NDArray[np.float64]
    numbers: NDArray[np.int64]
    labels: NDArray[np.int32]
    x: NDArray[np.float64]
    weights: NDArray[np.float64]


def farthest(
    block: RowBlock,
    centroids: NDArray[np.float64],
    count: int,
    metric: Metric,
    race: tuple[int | str, ...] | None = None,
) -> Rows:
    """Pick up to ``count`` rows of a block with the largest keys: the farthest, or a random draw that favours them.

    Without ``race`` a row's key is its distance to its nearest centroid. With it the key is weight * distance / E,
    where E is exponentially distributed and decided by this tuple and the row's global number: the largest ``count`` of
    all blocks together are then a draw without replacement with probabilities proportional to weight * distance. Rows
    on their centroid, and zero rows of ``spherical``, are never picked. The rows come by key, largest first, ties by
    global number, as the metric compares them.

    References
    ----------
    Efraimidis and Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters 97, 2006.
    """
    labels, keys = assign(block.x, centroids, metric)
    numbers = block.first_row + np.arange(len(keys))
    if race is not None:
        keys *= block.weights / -np.log(row_uniform(numbers, *race))
    if metric == "spherical":
        keys[~block.x.any(axis=1)] = 0.0
    picked = largest(keys, numbers, count)
    return Rows(
        keys[picked], numbers[picked], labels[picked], metric_rows(block.x[picked], metric), block.weights[picked]
    )


def farthest_rows(
    blocks: RowBlocks,
    centroids: NDArray[np.float64],
    count: int,
    metric: Metric,
    race: tuple[int | str, ...] | None = None,
) -> Rows:
    """Pick the ``count`` rows of all blocks with the largest keys; see :func:`farthest`."""
    answers = blocks.ask(farthest, centroids, count, metric, race)
    names = [field.name for field in fields(Rows)]
    merged = {name: np.concatenate([getattr(answer, name) for answer in answers]) for name in names}
    picked = largest(merged["keys"], merged["numbers"], count)
    return Rows(**{name: values[picked] for name, values in merged.items()})


def largest(keys: NDArray[np.float64], numbers: NDArray[np.int64], count: int) -> NDArray[np.intp]:
    """Return the positions of the ``count`` largest positive keys, largest first, ties by the smaller number."""
    positive = np.flatnonzero(keys > 0)
    if count < len(positive):
        positive = positive[keys[positive] >= np.partition(keys[positive], -count)[-count]]
    return positive[np.lexsort((numbers[positive], -keys[positive]))][:count]


def rows_at(block: RowBlock, rows: NDArray[np.int64]) -> tuple[FloatArray, NDArray[np.float64]]:
    """Return the vectors, in the block's data type, and weights of those global row numbers that lie in the block."""
    own = own_rows(block, rows)
    return block.x[own], block.weights[own]


def overlap(block: RowBlock, clusterings: Sequence[NDArray[np.float64]], metric: Metric) -> sp.csr_array:
    """Sum the areas of a block's rows per nearest centroid of the first clustering and nearest one of each.

    Each clustering is its centroids, float64 [M, d]. The result is int64, sparse, [M, clusterings · M].
    """
    first = clusterings[0]
    nearest = np.stack([block_labels(block, centroids, metric) for centroids in clusterings])
    columns = nearest + len(first) * np.arange(len(clusterings), dtype=np.int32)[:, None]
    rows, areas = (np.tile(values, len(clusterings)) for values in (nearest[0], block.areas.astype(np.int64)))
    return sp.csr_array((areas, (rows, columns.ravel())), shape=(len(first), len(first) * len(clusterings)))


def block_labels(block: RowBlock, centroids: NDArray[np.float64], metric: Metric) -> NDArray[np.int32]:
    """Return the nearest centroid of every row of a block, int32 [n]."""
    return assign(block.x, centroids, metric)[0]
