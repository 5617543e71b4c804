"""The few rows that a shard answers with: the farthest, a weighted draw, or those asked for; and its labels."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.assignment import Metric, assign, metric_rows
from datus2_ray.core.cluster.distances import FloatArray
from datus2_ray.core.cluster.row_hash import row_uniform
from datus2_ray.core.cluster.shards import Shard, Shards, own_rows


@dataclass(frozen=True)
class Rows:
    """Chosen rows: their keys [m], global numbers [m], nearest centroids [m], vectors [m, d] and weights [m]."""

    keys: NDArray[np.float64]
    numbers: NDArray[np.int64]
    labels: NDArray[np.int32]
    x: NDArray[np.float64]
    weights: NDArray[np.float64]


def farthest(
    shard: Shard, centroids: NDArray[np.float64], count: int, metric: Metric, race: tuple[int | str, ...] | None = None
) -> Rows:
    """Pick the ``count`` rows of a shard with the largest keys: the farthest rows, or a random draw that favours them.

    Parameters
    ----------
    shard : Shard
    centroids : float64 [K, d]
        Unit rows for ``spherical``.
    count : int
        How many rows at most. Rows on their centroid, and zero rows of ``spherical``, are never picked.
    metric : {"euclidean", "spherical"}
    race : tuple, optional
        Without it a row's key is its distance to its nearest centroid. With it the key is weight * distance / E, where
        E is exponentially distributed and decided by this key and the row's global number: the largest ``count`` of all
        shards together are then a draw without replacement with probabilities proportional to weight * distance.

    Returns
    -------
    Rows
        By key, largest first, ties by global number; vectors as the metric sees them.

    References
    ----------
    Efraimidis and Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters 97, 2006.
    """
    labels, keys = assign(shard.x, centroids, metric)
    numbers = shard.first_row + np.arange(len(keys))
    if race is not None:
        keys *= shard.weights / -np.log(row_uniform(numbers, *race))
    if metric == "spherical":
        keys[~shard.x.any(axis=1)] = 0.0
    picked = largest(keys, numbers, count)
    return Rows(
        keys[picked], numbers[picked], labels[picked], metric_rows(shard.x[picked], metric), shard.weights[picked]
    )


def farthest_rows(
    shards: Shards,
    centroids: NDArray[np.float64],
    count: int,
    metric: Metric,
    race: tuple[int | str, ...] | None = None,
) -> Rows:
    """Pick the ``count`` rows of all shards with the largest keys; parameters and answer as in :func:`farthest`."""
    answers = shards.ask(farthest, centroids, count, metric, race)
    names = [field.name for field in fields(Rows)]
    merged = {name: np.concatenate([getattr(answer, name) for answer in answers]) for name in names}
    picked = largest(merged["keys"], merged["numbers"], count)
    return Rows(**{name: values[picked] for name, values in merged.items()})


def largest(keys: NDArray[np.float64], numbers: NDArray[np.int64], count: int) -> NDArray[np.intp]:
    """Give the positions of the ``count`` largest positive keys, largest first, ties by the smaller number.

    Parameters
    ----------
    keys : float64 [n]
    numbers : int64 [n]
    count : int

    Returns
    -------
    intp [m], m <= count
    """
    at = np.flatnonzero(keys > 0)
    if count < len(at):
        at = at[keys[at] >= np.partition(keys[at], -count)[-count]]
    return at[np.lexsort((numbers[at], -keys[at]))][:count]


def rows_at(shard: Shard, rows: NDArray[np.int64]) -> tuple[FloatArray, NDArray[np.float64]]:
    """Give those of the rows asked for that lie in a shard.

    Parameters
    ----------
    shard : Shard
    rows : int64 [m]
        Global row numbers in ascending order.

    Returns
    -------
    x : float [l, d]
        In ascending order, in the shard's own data type.
    weights : float64 [l]
    """
    own = own_rows(shard, rows)
    return shard.x[own], shard.weights[own]


def shard_labels(shard: Shard, centroids: NDArray[np.float64], metric: Metric) -> NDArray[np.int32]:
    """Give the nearest centroid of every row of a shard.

    Parameters
    ----------
    shard : Shard
    centroids : float64 [K, d]
    metric : {"euclidean", "spherical"}

    Returns
    -------
    int32 [n]
    """
    return assign(shard.x, centroids, metric)[0]
