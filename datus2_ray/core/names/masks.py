"""Masks of classes: what names make of masks of clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.labels import Labels, unlabelled, upsample_nearest
from datus2_ray.core.names.names import UNNAMED, NamedClass


def classes_of_clusters(
    fine: NDArray[np.integer[Any]], members: NDArray[np.integer[Any]], areas: NDArray[Any], classes: int
) -> NDArray[np.int32]:
    """Return the class that most of the area of each of K clusters has, int32 [K]; -1 where most is unnamed.

    Parameters
    ----------
    fine, members : int [M]
        Class, or -1, and cluster of every fine cluster.
    areas : int or float [M]
        Area of every fine cluster.
    classes : int
        Number of classes; of equal areas the lowest class counts, and any class before none.
    """
    cells = members.astype(np.int64) * (classes + 1) + np.where(fine == UNNAMED, classes, fine)
    counts = np.bincount(cells, areas, (int(members.max()) + 1) * (classes + 1)).reshape(-1, classes + 1)
    best = counts.argmax(axis=1)
    return np.where(best == classes, UNNAMED, best).astype(np.int32)


def label_table(classes: Sequence[NamedClass]) -> Labels:
    """Return the label that pixels of every class get, then that of pixels without a class.

    Returns
    -------
    ndarray
        Shape [C + 1], so that index -1 is no class; uint8 with 255 for none, uint16 with 65535 for more than 254
        classes. Ignored classes have the label of none.
    """
    table = unlabelled((len(classes) + 1,), len(classes))
    for number, named in enumerate(classes):
        if not named.ignore:
            table[number] = number
    return table


def paint_clusters(clusters: Labels, cluster_classes: NDArray[np.integer[Any]], table: Labels) -> Labels:
    """Return the class of every pixel, given its cluster.

    Parameters
    ----------
    clusters : uint8 or uint16 [H, W]
        Cluster of every pixel, in [0, K); anything else is noise.
    cluster_classes : int [K]
        Class of every cluster, -1 for none.
    table : uint8 or uint16 [C + 1]
        As :func:`label_table` returns it.
    """
    index = np.minimum(clusters, len(cluster_classes))
    painted: Labels = table[np.append(cluster_classes, UNNAMED)][index]
    return painted


def paint_segments(
    clusters: Labels,
    cluster_classes: NDArray[np.integer[Any]],
    patch_map: NDArray[np.integer[Any]],
    segment_clusters: NDArray[np.integer[Any]],
    segment_classes: NDArray[np.integer[Any]],
    table: Labels,
) -> Labels:
    """Return the class of every pixel, given its cluster and its segment.

    A pixel whose cluster is that of its segment has the segment's class; any other, such as one that the refinement
    moved across a border, has the class of its cluster.

    Parameters
    ----------
    patch_map : int [h, w]
        Segment of every patch, -1 = noise.
    segment_clusters, segment_classes : int [S]
        Cluster of every segment; its class, -1 for none.

    See Also
    --------
    paint_clusters : For the other parameters.
    """
    height, width = clusters.shape

    def spread(of_segments: NDArray[Any], of_noise: int) -> NDArray[Any]:
        patches: Any = np.append(of_segments, of_noise)[patch_map]
        return upsample_nearest(patches, height, width)

    own = spread(segment_clusters, UNNAMED) == clusters
    painted = paint_clusters(clusters, cluster_classes, table)
    painted[own] = table[spread(segment_classes, UNNAMED)][own]
    return painted
