"""Corrections: masks that a person drew, as names of clusters and single segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.labels import Labels, upsample_nearest
from datus2_ray.core.names.edits import add_class, name_clusters, name_segments
from datus2_ray.core.names.names import UNNAMED, NamedClass, Names


@dataclass(frozen=True)
class DrawnImage:
    """What was drawn in an image.

    Parameters
    ----------
    fine : int [S]
        Nearest fine cluster of every segment.
    pixels : int [S, C]
        Pixels of every segment that have each of the drawn classes.
    sizes : int [S]
        Pixels of every segment.
    """

    image_id: str
    fine: NDArray[np.integer[Any]]
    pixels: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @property
    def classes(self) -> NDArray[np.int64]:
        """The class that more than half of the pixels of every segment have, int [S]; -1 where there is none."""
        if not self.pixels.size:
            return np.full(len(self.fine), UNNAMED)
        best = self.pixels.argmax(axis=1)
        return np.where(2 * self.pixels.max(axis=1) > self.sizes, best, UNNAMED)


def count_drawn(
    image_id: str,
    drawn: Labels,
    patch_map: NDArray[np.integer[Any]],
    fine: NDArray[np.integer[Any]],
    classes: int,
) -> DrawnImage:
    """Count the drawn classes in the segments of an image.

    Parameters
    ----------
    drawn : uint8 or uint16 [H, W]
        Class of every pixel; numbers beyond the classes are none.
    patch_map : int [h, w]
        Segment of every patch, -1 = noise.
    fine : int [S]
        Nearest fine cluster of every segment.
    classes : int
        Number of classes C.
    """
    patches: Any = patch_map.astype(np.int64)
    segments = upsample_nearest(patches, *drawn.shape)
    inside = segments >= 0
    cells = segments[inside] * (classes + 1) + np.minimum(drawn[inside], classes)
    counts = np.bincount(cells, minlength=len(fine) * (classes + 1)).reshape(len(fine), classes + 1)
    return DrawnImage(image_id, fine, counts[:, :classes], counts.sum(axis=1))


def correct(names: Names, classes: Sequence[NamedClass], images: Sequence[DrawnImage]) -> Names:
    """Return names that are those that were drawn, as far as segments allow.

    A fine cluster without a class gets the one that most of what was drawn in it has. A segment of which more than half
    has another class than its cluster is named by itself. All other names stay.

    Parameters
    ----------
    classes : sequence of NamedClass
        The drawn classes by their number. One whose name is known keeps the colour that it has.
    """
    used = {number for image in images for number in np.flatnonzero(image.pixels.any(axis=0)).tolist()}
    for number in sorted(used):
        taken = {named.colour for named in names.classes}
        given = classes[number]
        names = add_class(names, given.name, None if given.colour in taken else given.colour)
    for number, clusters in _clusters(names, len(classes), images).items():
        names = name_clusters(names, clusters, classes[number].name)
    own: dict[int, dict[str, list[int]]] = {}
    for image in images:
        drawn = image.classes
        for segment in np.flatnonzero(drawn != UNNAMED).tolist():
            number = int(drawn[segment])
            of_cluster = names.clusters.get(int(image.fine[segment]))
            like = of_cluster == names.class_id(classes[number].name)
            own.setdefault(UNNAMED if like else number, {}).setdefault(image.image_id, []).append(segment)
    for number, segments in own.items():
        names = name_segments(names, segments, None if number == UNNAMED else classes[number].name)
    return names


def _clusters(names: Names, classes: int, images: Sequence[DrawnImage]) -> Mapping[int, list[int]]:
    """Return the fine clusters without a class that get one, by its number."""
    leaves = max((int(image.fine.max()) + 1 for image in images if len(image.fine)), default=0)
    areas = np.zeros((leaves, classes), np.int64)
    for image in images:
        np.add.at(areas, image.fine, image.pixels)
    found: dict[int, list[int]] = {}
    for cluster in np.flatnonzero(areas.any(axis=1)).tolist():
        if cluster not in names.clusters:
            found.setdefault(int(areas[cluster].argmax()), []).append(cluster)
    return found
