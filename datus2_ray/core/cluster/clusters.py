"""Clusters: centroids, which of them form a cluster, and the assignment of descriptors to clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datus2_ray.core.cluster.assignment import Metric, assign, assign_second
from datus2_ray.core.cluster.projection import Projection


@dataclass(frozen=True)
class Nearest:
    """The two fine clusters that are nearest to each of n descriptors, and the distances to their centroids.

    Parameters
    ----------
    fine, second : int32 [n]
        The second is -1 where there is one fine cluster only.
    distances, second_distances : float64 [n]
    """

    fine: np.ndarray
    second: np.ndarray
    distances: np.ndarray
    second_distances: np.ndarray


@dataclass(frozen=True)
class Clusters:
    """K clusters of descriptors.

    Parameters
    ----------
    centroids : float64 [M, d]
    members : int32 [M]
        Cluster of every centroid, 0 … K-1; M is K where none were merged.
    metric : {"euclidean", "spherical"}
    projection : Projection
        Applied to descriptors before distances are taken.
    """

    centroids: np.ndarray
    members: np.ndarray
    metric: Metric
    projection: Projection

    @property
    def k(self) -> int:
        """Number of clusters."""
        return int(self.members.max()) + 1

    def assign(self, descriptors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return every descriptor's cluster, int32 [n], and the distance to its nearest centroid, float64 [n]."""
        if not len(descriptors):
            return np.empty(0, dtype=np.int32), np.empty(0)
        nearest, distances = assign(self.projection.transform(descriptors), self.centroids, self.metric)
        return self.members[nearest], distances

    def nearest(self, descriptors: np.ndarray) -> Nearest:
        """Return the two nearest fine clusters of every descriptor, float [n, d]."""
        if not len(descriptors):
            return Nearest(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0), np.empty(0))
        projected = self.projection.transform(descriptors)
        fine, distances = assign(projected, self.centroids, self.metric)
        second, second_distances = assign_second(projected, self.centroids, fine, self.metric)
        return Nearest(fine, second, distances, second_distances)
