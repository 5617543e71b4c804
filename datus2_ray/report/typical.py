"""The segments that a cluster is made of at its heart: those nearest to its centroid, from different images first."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, order=True)
class TypicalSegment:
    """One segment; ordered by distance, equal distances by image and number.

    Parameters
    ----------
    distance : float
        Distance of its descriptor to its cluster's centroid.
    image_id : str
        Its image.
    segment : int
        Its number in the image's patch map.
    part : str
        Name of the part in which the image lies.
    """

    distance: float
    image_id: str
    segment: int
    part: str


class TypicalSegments:
    """Keeps the nearest segments of every cluster while the images pass by: its size does not depend on their number.

    Parameters
    ----------
    clusters : int
        K.
    count : int
        Segments to keep a cluster, at least 1.
    """

    def __init__(self, clusters: int, count: int) -> None:
        self._count = count
        self._nearest: list[list[TypicalSegment]] = [[] for _ in range(clusters)]
        # A list apart, as an image full of alike segments would push all others out of the first one.
        self._one_an_image: list[list[TypicalSegment]] = [[] for _ in range(clusters)]

    def add_image(self, part: str, image_id: str, clusters: np.ndarray, distances: np.ndarray) -> None:
        """Take note of an image's segments.

        Parameters
        ----------
        part, image_id : str
            Where the image is.
        clusters, distances : ndarray
            Cluster and distance to its centroid of every segment, shape (S,).
        """
        seen: set[int] = set()
        for segment in np.argsort(distances, kind="stable").tolist():
            cluster = int(clusters[segment])
            found = TypicalSegment(float(distances[segment]), image_id, segment, part)
            self._keep(self._nearest[cluster], found)
            if cluster not in seen:
                seen.add(cluster)
                self._keep(self._one_an_image[cluster], found)

    def of(self, cluster: int) -> list[TypicalSegment]:
        """Give a cluster's nearest segments, nearest first.

        The best of each image come first into the choice; only where the cluster occurs in too few images do further
        segments of the same images fill it up.
        """
        chosen = self._one_an_image[cluster]
        others = [segment for segment in self._nearest[cluster] if segment not in chosen]
        return sorted([*chosen, *others][: self._count])

    def _keep(self, best: list[TypicalSegment], found: TypicalSegment) -> None:
        if len(best) < self._count or found < best[-1]:
            insort(best, found)
            del best[self._count :]
