"""Distances of rows to centroids, and the nearest one, compiled: in float64, a row at a time, terms in a fixed order.

The order is written out (32 sums side by side, which the compiler turns into vector instructions), not left to the
compiler, so that processors with wider or narrower registers compute the same bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.compiled import compiled

FloatArray = NDArray[np.floating[Any]]

LANES = 32


@compiled
def folded(lanes: NDArray[np.float64]) -> float:
    """Add up the lanes, in four sums side by side."""
    s0 = s1 = s2 = s3 = 0.0
    for lane in range(0, LANES, 4):
        s0 += lanes[lane]
        s1 += lanes[lane + 1]
        s2 += lanes[lane + 2]
        s3 += lanes[lane + 3]
    return (s0 + s1) + (s2 + s3)


@compiled
def inner_product(row: FloatArray, other: FloatArray, lanes: NDArray[np.float64]) -> float:
    """Sum the products of two vectors, float32 or float64 [d], in float64; ``lanes``, float64 [LANES], is scratch."""
    lanes[:] = 0.0
    whole = len(row) - len(row) % LANES
    for j in range(0, whole, LANES):
        for lane in range(LANES):
            lanes[lane] += np.float64(row[j + lane]) * other[j + lane]
    for j in range(whole, len(row)):
        lanes[j - whole] += np.float64(row[j]) * other[j]
    return folded(lanes)


@compiled
def squared_distance(row: FloatArray, centroid: NDArray[np.float64], lanes: NDArray[np.float64]) -> float:
    """Sum the squared differences of a row, float32 or float64 [d], to a centroid; ``lanes`` is scratch."""
    lanes[:] = 0.0
    whole = len(row) - len(row) % LANES
    for j in range(0, whole, LANES):
        for lane in range(LANES):
            difference = row[j + lane] - centroid[j + lane]
            lanes[lane] += difference * difference
    for j in range(whole, len(row)):
        difference = row[j] - centroid[j]
        lanes[j - whole] += difference * difference
    return folded(lanes)


@compiled
def distance(
    row: FloatArray, length: float, centroid: NDArray[np.float64], spherical: bool, lanes: NDArray[np.float64]
) -> float:
    """Compute the squared Euclidean distance, or 1 - cosine (1 for a zero row, never negative).

    ``length`` is the row's Euclidean length, 1 for a zero row, and unused for the Euclidean distance; for ``spherical``
    the centroid has length 1.
    """
    if spherical:
        return max(1.0 - inner_product(row, centroid, lanes) / length, 0.0)
    return squared_distance(row, centroid, lanes)


@compiled
def row_lengths(rows: FloatArray, lengths: NDArray[np.float64]) -> None:
    """Write every row's Euclidean length to ``lengths``; 1 for a zero row, so that one may divide by it."""
    lanes = np.empty(LANES)
    for i in range(len(rows)):
        length = np.sqrt(inner_product(rows[i], rows[i], lanes))
        lengths[i] = length if length > 0 else 1.0


@compiled
def distances_to(
    columns: NDArray[np.float64], centres: NDArray[np.float64], spherical: bool, distances: NDArray[np.float64]
) -> None:
    """Write the distances of rows to centres, with the bits of :func:`distance`, to ``distances``, [m, n].

    The columns, [d, n], are of rows as the metric compares them (length 1 or 0), the centres are [m, d]. Terms of many
    rows are added side by side, each row's in its own order: 4 times as fast as row by row.
    """
    d, n = columns.shape
    lane_sum, sums = np.empty(n), np.empty((4, n))
    for centre in range(len(centres)):
        sums[:] = 0.0
        for lane in range(min(LANES, d)):
            lane_sum[:] = 0.0
            for j in range(lane, d, LANES):
                of_centre = centres[centre, j]
                if spherical:
                    for i in range(n):
                        lane_sum[i] += columns[j, i] * of_centre
                else:
                    for i in range(n):
                        difference = columns[j, i] - of_centre
                        lane_sum[i] += difference * difference
            for i in range(n):
                sums[lane % 4, i] += lane_sum[i]
        for i in range(n):
            total = (sums[0, i] + sums[1, i]) + (sums[2, i] + sums[3, i])
            distances[centre, i] = max(1.0 - total, 0.0) if spherical else total


@compiled
def add_rows(
    rows: FloatArray, scales: NDArray[np.float64], labels: NDArray[np.int32], sums: NDArray[np.float64]
) -> None:
    """Add ``scale * row`` to the sums, float64 [K, d], of its label, row after row."""
    for i in range(len(rows)):
        k = labels[i]
        for j in range(rows.shape[1]):
            sums[k, j] += scales[i] * rows[i, j]


class Rounding(NamedTuple):
    """Bound on how far the difference of two scores of a row may be from that of the direct distances.

    ``product * length + direct * reach + underflow``: of the product in float32; of the direct distance in float64,
    where reach is ``(length + longest)²``, or ``length * (1 + longest)`` for ``spherical``; and of numbers too small
    for float32. ``length`` is the row's, ``longest`` the longest centroid's.
    """

    product: float
    direct: float
    longest: float
    underflow: float


@compiled
def choose_nearest(
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
    """Write every row's nearest centroid to ``labels``, on ties the lowest index, and its distance to ``distances``.

    ``scores + offsets``, float32 [n, K] and float64 [K], orders a row's centroids by distance up to ``rounding``; a
    score that is not finite has overflowed and decides nothing. The other arguments are as in :func:`distance`.
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


@compiled
def choose_second(
    rows: FloatArray,
    lengths: NDArray[np.float64],
    centroids: NDArray[np.float64],
    spherical: bool,
    labels: NDArray[np.int32],
    seconds: NDArray[np.int32],
    distances: NDArray[np.float64],
) -> None:
    """Write every row's nearest centroid but for that of ``labels`` to ``seconds``, on ties the lowest index.

    Where there is no other centroid it is -1, at an infinite distance. The other arguments are as in :func:`distance`.
    """
    lanes = np.empty(LANES)
    for i in range(len(rows)):
        second, nearest = -1, np.inf
        for k in range(len(centroids)):
            if k != labels[i]:
                other = distance(rows[i], lengths[i], centroids[k], spherical, lanes)
                if other < nearest:
                    second, nearest = k, other
        seconds[i], distances[i] = second, nearest
