"""The typical segments of a cluster: those nearest to its centroid, from different images first."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, order=True)
class TypicalSegment:
    """A segment of the patch map of an image, ordered by its distance to the centroid of its cluster."""

    distance: float
    image_id: str
    segment: int
    part: str


class TypicalSegments:
    """Keeps the `count` nearest segments of every cluster; its size does not depend on the number of images."""

    def __init__(self, clusters: int, count: int) -> None:
        self._count = count
        self._nearest: list[list[TypicalSegment]] = [[] for _ in range(clusters)]
        # Apart, because an image full of similar segments would push all others out of the first list.
        self._one_per_image: list[list[TypicalSegment]] = [[] for _ in range(clusters)]

    def add_image(self, part: str, image_id: str, clusters: np.ndarray, distances: np.ndarray) -> None:
        """Add the segments of an image, with the cluster of each and the distance to its centroid, shape (S,)."""
        seen: set[int] = set()
        for segment in np.argsort(distances, kind="stable").tolist():
            cluster = int(clusters[segment])
            candidate = TypicalSegment(float(distances[segment]), image_id, segment, part)
            self._keep(self._nearest[cluster], candidate)
            if cluster not in seen:
                seen.add(cluster)
                self._keep(self._one_per_image[cluster], candidate)

    def of(self, cluster: int) -> list[TypicalSegment]:
        """Return the nearest segments of a cluster, nearest first.

        Further segments of an image are taken only if the cluster occurs in too few images.
        """
        chosen = self._one_per_image[cluster]
        others = [segment for segment in self._nearest[cluster] if segment not in chosen]
        return sorted([*chosen, *others][: self._count])

    def _keep(self, best: list[TypicalSegment], candidate: TypicalSegment) -> None:
        if len(best) < self._count or candidate < best[-1]:
            insort(best, candidate)
            del best[self._count :]
