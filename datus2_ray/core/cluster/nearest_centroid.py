"""The nearest centroid of each row, compiled: direct distances to those centroids that rounded scores leave open."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.distances import LANES, FloatArray, distance
from datus2_ray.core.compiled import compiled


class Rounding(NamedTuple):
    """How far the difference of two scores of a row may be from that of the direct distances.

    ``product * length + direct * reach + underflow``: of the product in float32; of the direct distance in float64,
    where reach is ``(length + longest)²``, or ``length * (1 + longest)`` for ``spherical``; and of numbers too small
    for float32. ``length`` is the row's, ``longest`` the longest centroid's.
    """

    product: float
    direct: float
    longest: float
    underflow: float


@compiled
def choose(
    rows: FloatArray,
    lengths: NDArray[np.float64],
    centroids: NDArray[np.float64],
    spherical: bool,
    scores: NDArray[np.float32],
    offsets: NDArray[np.float64],
    rounding: Rounding,
    labels: NDArray[np.int32],
    distances: NDArray[np.float64],
) -> None:
    """Write every row's nearest centroid and its distance.

    Parameters
    ----------
    rows : float32 or float64 [n, d]
        As they lie in their shard.
    lengths : float64 [n]
        For ``spherical``: their Euclidean lengths, 1 for a zero row. Else unused.
    centroids : float64 [K, d]
        Of length 1 for ``spherical``.
    spherical : bool
        Whether the distance is 1 - cosine instead of squared Euclidean.
    scores : float32 [n, K]
        Of which ``scores + offsets`` orders a row's centroids by distance, but for rounding. One that is not finite has
        overflowed and tells nothing.
    offsets : float64 [K]
    rounding : Rounding
    labels : int32 [n]
        Written: on ties the lowest index.
    distances : float64 [n]
        Written.
    """
    lanes = np.empty(LANES)
    for i in range(len(rows)):
        label, lowest = 0, np.inf
        for k in range(len(centroids)):
            value = scores[i, k] + offsets[k]
            if value < lowest:
                label, lowest = k, value
        nearest = distance(rows[i], lengths[i], centroids[label], spherical, lanes)
        # By the triangle inequality no row is longer than this.
        length = lengths[i] if spherical else np.sqrt(nearest) + rounding.longest
        reach = length * (1 + rounding.longest) if spherical else (length + rounding.longest) ** 2
        limit = lowest + rounding.product * length + rounding.direct * reach + rounding.underflow
        if lowest == -np.inf:
            limit = np.inf
        for k in range(len(centroids)):
            value = scores[i, k] + offsets[k]
            if k != label and (value == np.inf or not value > limit):
                other = distance(rows[i], lengths[i], centroids[k], spherical, lanes)
                if other < nearest or (other == nearest and k < label):
                    label, nearest = k, other
        labels[i], distances[i] = label, nearest
