"""Merging: more centroids than clusters are joined, by what lies near what, until K clusters are left."""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import cut_tree, linkage

from datus2_ray.core.assignment import Metric
from datus2_ray.core.descriptors import l2_normalise


def merge_centroids(centroids: np.ndarray, clusters: int, metric: Metric) -> np.ndarray:
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
    points = l2_normalise(centroids) if metric == "spherical" else centroids
    tree = linkage(np.asarray(points, dtype=np.float64), "average")
    # Not fcluster: where distances are equal, it may give fewer clusters than it was asked for.
    found = cut_tree(tree, clusters)[:, 0]
    _, first = np.unique(found, return_index=True)
    order = np.empty(clusters, dtype=np.int32)
    order[np.argsort(first)] = np.arange(clusters)
    merged: np.ndarray = order[found]
    return merged
