"""Nearest centroids, decided row by row so that the answer does not depend on how the rows are blocked.

A matrix product rounds differently for other block sizes and other numbers of threads (measured with OpenBLAS). It is
used here only to rule centroids out: where the product leaves more than one centroid within its own error bound, the
distances of these are computed directly, one row at a time. The labels are thus exactly the arg min of the direct
distances, at the cost of the matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped, unused-ignore]

Metric = Literal["euclidean", "spherical"]
FloatArray = NDArray[np.floating[Any]]

# A chunk of 512 rows of 384 float64 numbers is 1.5 MB and stays in a core's own cache (fastest of 128 to 4096 rows).
CHUNK_ROWS = 512

# Two threads on products as small as one chunk's are 3 times slower than one where cores are shared with other work.
BLAS = ThreadpoolController().select(user_api="blas")


def workspace(dimensions: int) -> NDArray[np.float64]:
    """Reserve the memory for one chunk's rows and for what is computed from them.

    Fresh arrays of this size for every chunk cost as much in page faults as the arithmetic itself.

    Parameters
    ----------
    dimensions : int
        d.

    Returns
    -------
    float64 [2, CHUNK_ROWS, d]
    """
    return np.empty((2, CHUNK_ROWS, dimensions))


def chunks(rows: int) -> Iterator[slice]:
    """Cut ``rows`` rows into chunks of ``CHUNK_ROWS``, counted from the first row.

    Parameters
    ----------
    rows : int
        Number of rows.

    Yields
    ------
    slice
    """
    for start in range(0, rows, CHUNK_ROWS):
        yield slice(start, min(start + CHUNK_ROWS, rows))


def unit_rows(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide every row by its Euclidean length; zero rows stay zero.

    Parameters
    ----------
    x : float64 [n, d]

    Returns
    -------
    float64 [n, d]
    """
    return metric_rows(x, "spherical")


def metric_rows(x: FloatArray, metric: Metric, out: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Bring rows into the space in which a metric's distances and means are taken.

    Parameters
    ----------
    x : float [n, d]
    metric : {"euclidean", "spherical"}
    out : float64 [m, d], optional
        Where to write them, m >= n.

    Returns
    -------
    float64 [n, d]
        The rows themselves, divided by their Euclidean lengths for ``spherical`` (zero rows stay zero).
    """
    rows = np.empty(x.shape) if out is None else out[: len(x)]
    rows[...] = x
    if metric == "spherical":
        lengths = np.sqrt(np.vecdot(rows, rows))
        lengths[lengths == 0] = 1.0
        rows /= lengths[:, None]
    return rows


def row_distances(
    rows: NDArray[np.float64],
    centroids: NDArray[np.float64],
    metric: Metric,
    scratch: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Compute the distance of every row to the centroid beside it, each row alone.

    Parameters
    ----------
    rows : float64 [n, d]
        As :func:`metric_rows` gives them.
    centroids : float64 [n, d] or [d]
        The centroid of each row, or one for all.
    metric : {"euclidean", "spherical"}
    scratch : float64 [n, d], optional
        Overwritten; may be ``centroids``.

    Returns
    -------
    float64 [n]
        Squared Euclidean distances, or 1 - cosine (1 for a zero row, never negative).
    """
    if metric == "spherical":
        distances: NDArray[np.float64] = np.maximum(1.0 - np.vecdot(rows, centroids), 0.0)
    else:
        differences = np.subtract(rows, centroids, out=scratch)
        distances = np.vecdot(differences, differences)
    return distances


def nearest(
    rows: NDArray[np.float64], centroids: NDArray[np.float64], metric: Metric, scratch: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Find the nearest centroid of each row of one chunk; on ties the centroid with the lowest index.

    Parameters
    ----------
    rows : float64 [n, d]
        As :func:`metric_rows` gives them.
    centroids : float64 [K, d]
        Likewise.
    metric : {"euclidean", "spherical"}
    scratch : float64 [m, d]
        Overwritten, m >= n.

    Returns
    -------
    labels : int32 [n]
    distances : float64 [n]
        As :func:`row_distances` defines them.
    """
    scores = centroids @ rows.T
    row_lengths = np.sqrt(np.vecdot(rows, rows))
    squares = np.vecdot(centroids, centroids)
    longest = np.sqrt(squares.max())
    # Twice the worst rounding error of a product of d terms (Higham, "Accuracy and Stability", 2nd ed., section 3.1),
    # for the matrix product and for the direct distance.
    unit_error = 4 * (rows.shape[1] + 8) * np.finfo(np.float64).eps
    if metric == "spherical":
        scores *= -1
        # The direct distance 1 - cosine is rounded near 1, whatever the lengths.
        error = unit_error * (row_lengths * longest + 1.0)
    else:
        scores *= -2
        scores += squares[:, None]
        error = unit_error * (row_lengths + longest) ** 2
    labels = scores.argmin(axis=0).astype(np.int32)
    possible = scores <= scores.min(axis=0) + error
    beside = np.take(centroids, labels, axis=0, out=scratch[: len(rows)], mode="clip")
    distances = row_distances(rows, beside, metric, beside)

    open_rows = np.flatnonzero(np.count_nonzero(possible, axis=0) > 1)
    best = np.full(len(open_rows), np.inf)
    for k in np.flatnonzero(np.count_nonzero(possible[:, open_rows], axis=1)):
        at = np.flatnonzero(possible[k, open_rows])
        distance = row_distances(rows[open_rows[at]], centroids[k], metric)
        closer = distance < best[at]
        best[at[closer]] = distance[closer]
        labels[open_rows[at[closer]]] = k
    distances[open_rows] = best
    return labels, distances


def assign(
    x: FloatArray, centroids: NDArray[np.float64], metric: Metric = "euclidean"
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Assign every row to its nearest centroid, bitwise the same however the rows are cut into calls.

    Parameters
    ----------
    x : float16, float32 or float64 [n, d]
    centroids : float64 [K, d]
        L2-normalised here for ``spherical``.
    metric : {"euclidean", "spherical"}

    Returns
    -------
    labels : int32 [n]
        On ties the lowest index; a zero row has no direction and gets label 0 under ``spherical``.
    distances : float64 [n]
        Squared Euclidean distances, or 1 - cosine.
    """
    centroids = metric_rows(centroids, metric)
    labels = np.empty(len(x), np.int32)
    distances = np.empty(len(x), np.float64)
    rows, scratch = workspace(x.shape[1])
    with BLAS.limit(limits=1):
        for chunk in chunks(len(x)):
            labels[chunk], distances[chunk] = nearest(metric_rows(x[chunk], metric, rows), centroids, metric, scratch)
    return labels, distances
