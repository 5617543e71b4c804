"""Direct distances of rows to centroids in float64, compiled: each row alone, its terms always added in one order.

The order is written out (32 sums side by side, which the compiler turns into vector instructions), not left to the
compiler, so that processors with wider or narrower registers give the same bits.
"""

from __future__ import annotations

from typing import Any

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
    """Give the squared Euclidean distance, or 1 - cosine (1 for a zero row, never negative).

    Parameters
    ----------
    row : float32 or float64 [d]
        As it lies in its shard.
    length : float
        Its Euclidean length, 1 for a zero row; unused for the Euclidean distance.
    centroid : float64 [d]
        Of length 1 for ``spherical``.
    spherical : bool
        Which of the two.
    lanes : float64 [LANES]
        Scratch.
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
    rows: FloatArray, centroid: NDArray[np.float64], spherical: bool, distances: NDArray[np.float64]
) -> None:
    """Write every row's distance to one centroid to ``distances``; rows as the metric sees them (of length 1 or 0)."""
    lanes = np.empty(LANES)
    for i in range(len(rows)):
        distances[i] = distance(rows[i], 1.0, centroid, spherical, lanes)


@compiled
def add_rows(
    rows: FloatArray, scales: NDArray[np.float64], labels: NDArray[np.int32], sums: NDArray[np.float64]
) -> None:
    """Add ``scale * row`` to the sums, float64 [K, d], of its label, row after row."""
    for i in range(len(rows)):
        k = labels[i]
        for j in range(rows.shape[1]):
            sums[k, j] += scales[i] * rows[i, j]
