"""Nearest centroids, decided row by row so that the answer does not depend on how the rows are blocked.

A matrix product rounds differently for other block sizes and other numbers of threads (measured with OpenBLAS). It is
used here, in float32, only to rule centroids out: where the product leaves more than one centroid within its own error
bound, the distances of these are computed directly in float64, one row at a time. The labels are thus exactly the arg
min of the direct distances, at the cost of the matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.distances import FloatArray, Rounding, choose_nearest, choose_second, row_lengths
from datus2_ray.core.cluster.threads import BLAS, in_threads
from datus2_ray.core.compiled import frozen

Metric = Literal["euclidean", "spherical"]

# A chunk of 512 rows of 384 float32 numbers is 0.8 MB and stays in a core's own cache from one use to the next.
CHUNK_ROWS = 512


def chunks(rows: int) -> Iterator[slice]:
    """Cut ``rows`` rows into chunks of ``CHUNK_ROWS``, counted from the first row."""
    for start in range(0, rows, CHUNK_ROWS):
        yield slice(start, min(start + CHUNK_ROWS, rows))


def metric_rows(x: FloatArray, metric: Metric) -> NDArray[np.float64]:
    """Convert rows, float [n, d], to the float64 rows that a metric compares.

    For ``spherical`` they are divided by their Euclidean lengths; zero rows stay zero.
    """
    rows = x.astype(np.float64)
    if metric == "spherical":
        rows /= lengths_of(rows)[:, None]
    return rows


def lengths_of(rows: FloatArray) -> NDArray[np.float64]:
    """Compute the Euclidean lengths of rows, float32 or float64 [n, d], with 1 for a zero row."""
    lengths = np.empty(len(rows))
    row_lengths(rows, lengths)
    return lengths


@dataclass(frozen=True)
class Nearest:
    """The rows of one chunk [n, d], float16 as float32, their nearest centroids and the distances to these.

    ``lengths`` divide the rows where they are summed: for ``spherical`` the Euclidean lengths (1 for a zero row), else
    1.
    """

    rows: FloatArray
    lengths: NDArray[np.float64]
    labels: NDArray[np.int32]
    distances: NDArray[np.float64]


class Assignment:
    """Assignment of rows to centroids, float64 [K, d] as :func:`metric_rows` returns them, chunk after chunk."""

    def __init__(self, centroids: NDArray[np.float64], metric: Metric) -> None:
        self._centroids = frozen(centroids)
        self._spherical = metric == "spherical"
        # What all centroids have in common moves all scores of a row alike: without it the product's error is smaller.
        middle = centroids.mean(axis=0)
        directions = (middle - centroids) * (1 if self._spherical else 2)
        squares = np.vecdot(centroids, centroids)
        self._offsets = np.zeros(len(centroids)) if self._spherical else squares - middle @ middle
        with np.errstate(over="ignore"):
            self._directions = np.ascontiguousarray(directions.T.astype(np.float32))
        # The worst rounding error of a product of d rounded terms is (d + 2) eps / 2 of the lengths (Higham, "Accuracy
        # and Stability", 2nd ed., section 3.1), and two scores are compared. Twice as wide are the bounds here: of the
        # product in float32, and of the direct distance in float64.
        dimensions = centroids.shape[1]
        steepest = float(np.sqrt(np.vecdot(directions, directions).max()))
        single, double = (float(np.finfo(kind).eps) for kind in (np.float32, np.float64))
        smallest = dimensions * float(np.finfo(np.float32).tiny)
        self._rounding = Rounding(
            product=2 * (dimensions + 8) * single * steepest + smallest,
            direct=4 * (dimensions + 8) * double,
            longest=float(np.sqrt(squares.max())),
            underflow=smallest * (1 + steepest),
        )

    def nearest(self, x: FloatArray) -> Nearest:
        """Find the nearest centroid of each row of one chunk, float16, float32 or float64 [n, d] with n >= 1."""
        rows = frozen(x.astype(np.float32) if x.dtype == np.float16 else x)
        lengths = lengths_of(rows) if self._spherical else np.ones(len(rows))
        # A score that overflows decides nothing, see choose_nearest().
        with np.errstate(over="ignore", invalid="ignore"):
            scores = rows.astype(np.float32, copy=False) @ self._directions
        labels, distances = np.empty(len(rows), np.int32), np.empty(len(rows))
        choose_nearest(
            rows, lengths, self._centroids, self._spherical, scores, self._offsets, self._rounding, labels, distances
        )
        return Nearest(rows, lengths, labels, distances)


def assign(
    x: FloatArray, centroids: NDArray[np.float64], metric: Metric = "euclidean"
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Assign every row to its nearest centroid, bitwise the same however the rows are cut into calls.

    The rows are float16, float32 or float64 [n, d]; the centroids, float64 [K, d], are L2-normalised for ``spherical``.

    Returns
    -------
    labels : int32 [n]
        On ties the lowest index; a zero row has no direction and gets label 0 under ``spherical``.
    distances : float64 [n]
        Squared Euclidean distances, or 1 - cosine.
    """
    assignment = Assignment(metric_rows(centroids, metric), metric)
    labels = np.empty(len(x), np.int32)
    distances = np.empty(len(x), np.float64)

    def write(chunk: slice) -> None:
        nearest = assignment.nearest(x[chunk])
        labels[chunk], distances[chunk] = nearest.labels, nearest.distances

    with BLAS.limit(limits=1):
        for _ in in_threads(write, chunks(len(x))):
            pass
    return labels, distances


def assign_second(
    x: FloatArray, centroids: NDArray[np.float64], labels: NDArray[np.int32], metric: Metric = "euclidean"
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Find the second nearest centroid of every row, bitwise the same however the rows are cut into calls.

    All distances are computed directly, which is quick for the rows of an image and slow for millions.

    Parameters
    ----------
    labels : int32 [n]
        Nearest centroid of every row, as :func:`assign` returns it; the other arguments are as there.

    Returns
    -------
    seconds : int32 [n]
        On ties the lowest index; -1 where there is one centroid only.
    distances : float64 [n]
        As :func:`assign` returns them; infinite where there is one centroid only.
    """
    rows = frozen(x.astype(np.float32) if x.dtype == np.float16 else x)
    spherical = metric == "spherical"
    lengths = lengths_of(rows) if spherical else np.ones(len(rows))
    seconds, distances = np.empty(len(x), np.int32), np.empty(len(x))
    choose_second(rows, lengths, frozen(metric_rows(centroids, metric)), spherical, labels, seconds, distances)
    return seconds, distances
