"""Merging: more centroids than clusters are joined, by what lies near what, until K clusters are left."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import pdist

from datus2_ray.core.cluster.assignment import Metric
from datus2_ray.core.describe.tokens import l2_normalise


def merge_centroids(
    centroids: np.ndarray,
    clusters: int,
    metric: Metric,
    lift: NDArray[np.float64] | None = None,
    apart: float = 0.0,
) -> np.ndarray:
    """Join centroids by average linkage.

    k-means makes clusters of like extent. A class that is seen everywhere is cut in pieces by it, and rare ones share
    what is left; of many small clusters those of one class lie near one another, and joined they may become as large as
    it is.

    Parameters
    ----------
    centroids : ndarray
        float, shape (M, d).
    clusters : int
        K, at most M.
    metric : str
        ``euclidean``, or ``spherical``, for which directions alone count.
    lift : ndarray, optional
        Of :func:`~datus2_ray.core.cluster.cooccurrence.log_lift`, shape (M, M).
    apart : float
        What a pair's distance gains for sharing images: distances and lifts are brought to mean 0 and variance 1 over
        all pairs, and the lifts count so many times. Two clusters that are often seen in one image are two things; two
        that never are may be one thing in two lights.

    Returns
    -------
    ndarray
        Cluster of every centroid, int32, shape (M,); clusters are numbered in the order of their first centroid.

    References
    ----------
    Sokal and Michener, "A statistical method for evaluating systematic relationships" (1958), average linkage (UPGMA).
    """
    if clusters == len(centroids):
        return np.arange(clusters, dtype=np.int32)
    points = np.asarray(l2_normalise(centroids) if metric == "spherical" else centroids, dtype=np.float64)
    distances = pdist(points)
    if lift is not None and apart:
        pairs = np.triu_indices(len(points), 1)
        distances = _standardised(distances) + apart * _standardised(lift[pairs])
        distances -= distances.min()  # the tree's heights must not fall below 0
    tree = linkage(distances, "average")
    # Not fcluster: where distances are equal, it may give fewer clusters than it was asked for.
    found = cut_tree(tree, clusters)[:, 0]
    _, first = np.unique(found, return_index=True)
    order = np.empty(clusters, dtype=np.int32)
    order[np.argsort(first)] = np.arange(clusters)
    merged: np.ndarray = order[found]
    return merged


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    deviation = values.std()
    centred: NDArray[np.float64] = values - values.mean()
    return centred / deviation if deviation > 0 else centred
