"""Carry names over from one clustering of the same images to another, by what overlaps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.labels import upsample_nearest
from datus2_ray.core.names.names import UNNAMED, Names

#: A cluster or segment takes a class that more than this share of it had.
MAJORITY = 0.5


@dataclass(frozen=True)
class SegmentedImage:
    """The segments of an image.

    Parameters
    ----------
    patch_map : int [h, w]
        Segment of every patch, -1 = noise.
    fine : int [S]
        Nearest fine cluster of every segment.
    """

    image_id: str
    patch_map: NDArray[np.integer[Any]]
    fine: NDArray[np.integer[Any]]


@dataclass(frozen=True)
class CarriedOver:
    """Names of the new clustering, and what could not be carried over.

    Parameters
    ----------
    open_clusters : dict of int to str
        New fine clusters that are unnamed although some of them was named: the class that most of that had.
    open_segments : dict of str to list of int
        Single segments that were named and that no new segment stands for, by image id.
    """

    names: Names
    open_clusters: dict[int, str]
    open_segments: dict[str, list[int]]


def carry_over(
    names: Names, clustering: str, leaves: int, images: Iterable[tuple[SegmentedImage, SegmentedImage]]
) -> CarriedOver:
    """Name the fine clusters of another clustering as more than half of their patches were named.

    A single segment that was named by itself is found again where more than half of a new segment was it.

    Parameters
    ----------
    clustering : str
        Fingerprint of the new clustering.
    leaves : int
        Number of its fine clusters.
    images : iterable of pairs of SegmentedImage
        Every image by the old clustering and by the new one; the grids of patches may differ.
    """
    count = len(names.classes)
    areas = np.zeros((leaves, count + 1), np.int64)
    alone: dict[str, list[tuple[int, int, int]]] = {}
    open_segments = {image_id: list(found) for image_id, found in names.segments.items()}
    for old, new in images:
        own = names.segments.get(old.image_id, {})
        cells = upsample_nearest(old.patch_map, *new.patch_map.shape)  # type: ignore[arg-type]
        # Clusters are named by what their own name was: single segments are exceptions from it.
        by_cluster = replace(names, segments={}).of_segments(old.image_id, old.fine)
        classes = np.append(by_cluster, UNNAMED)[cells]
        fine = np.append(new.fine, -1)[new.patch_map]
        inside = fine >= 0
        np.add.at(areas, (fine[inside], classes[inside]), 1)
        for number in np.unique(new.patch_map[np.isin(cells, list(own))]) if own else ():
            if number < 0:
                continue
            covered, counts = np.unique(cells[new.patch_map == number], return_counts=True)
            most = int(counts.argmax())
            if int(covered[most]) in own and counts[most] > MAJORITY * counts.sum():
                found = int(covered[most])
                alone.setdefault(old.image_id, []).append((int(number), own[found], int(new.fine[number])))
                if found in open_segments[old.image_id]:
                    open_segments[old.image_id].remove(found)
    best = areas[:, :count].argmax(axis=1) if count else np.zeros(leaves, np.int64)
    most = areas[np.arange(leaves), best]
    taken = most > MAJORITY * areas.sum(axis=1)
    clusters = {int(number): int(best[number]) for number in np.flatnonzero(taken)}
    rest = np.flatnonzero(~taken & (most > 0))
    segments = {
        image_id: {number: known for number, known, fine in found if clusters.get(fine) != known}
        for image_id, found in alone.items()
    }
    return CarriedOver(
        Names(clustering, names.classes, clusters, {image_id: found for image_id, found in segments.items() if found}),
        {int(number): names.classes[int(best[number])].name for number in rest},
        {image_id: found for image_id, found in open_segments.items() if found},
    )
