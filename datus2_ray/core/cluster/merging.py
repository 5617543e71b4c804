"""Merging: more centroids than clusters are joined by average linkage until K clusters are left."""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import pdist

from datus2_ray.core.cluster.assignment import Metric
from datus2_ray.core.describe.tokens import l2_normalise


def merge_centroids(centroids: np.ndarray, k: int, metric: Metric) -> np.ndarray:
    """Join centroids by average linkage.

    k-means makes clusters of like extent: it cuts a frequent class in pieces and puts rare ones together. Of many small
    clusters those of one class lie near one another, and joined they may become as large as the class is.

    The centroids are float [M, d], with M at least K. Returned is the cluster of each, int32 [M]; clusters are numbered
    in the order of their first centroid.

    References
    ----------
    Sokal and Michener, "A statistical method for evaluating systematic relationships" (1958), average linkage (UPGMA).
    """
    if k == len(centroids):
        return np.arange(k, dtype=np.int32)
    points = np.asarray(l2_normalise(centroids) if metric == "spherical" else centroids, dtype=np.float64)
    # Not fcluster: where distances are equal, it may return fewer clusters than were asked for.
    cut = cut_tree(linkage(pdist(points), "average"), k)[:, 0]
    _, first = np.unique(cut, return_index=True)
    order = np.empty(k, dtype=np.int32)
    order[np.argsort(first)] = np.arange(k)
    merged: np.ndarray = order[cut]
    return merged
