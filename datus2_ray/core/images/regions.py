"""Regions: the pixels of a class, or those of them that are connected."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datus2_ray.core.images.labels import Labels


def void_of(mask: Labels) -> int:
    """Return the value of pixels without a class: the largest of the mask's type."""
    return int(np.iinfo(mask.dtype).max)


def regions(mask: Labels, connected: bool) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Yield each class of a mask with its pixels, bool [H, W]; with `connected`, each of its connected regions.

    Pixels are connected over their sides. Classes come in their order, and regions in that of their first pixels.
    """
    for number in np.unique(mask[mask != void_of(mask)]).tolist():
        pixels = mask == number
        if not connected:
            yield number, pixels
            continue
        labels, count = ndimage.label(pixels)
        for label in range(1, count + 1):
            yield number, labels == label


def without_small(mask: Labels, min_area: int) -> Labels:
    """Return a mask in which connected regions of fewer pixels have no class."""
    kept = mask.copy()
    for number in np.unique(mask[mask != void_of(mask)]).tolist():
        labels, _ = ndimage.label(mask == number)
        areas = np.bincount(labels.ravel())
        areas[0] = min_area  # all other pixels
        kept[areas[labels] < min_area] = void_of(mask)
    return kept


def box_of(region: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the left and upper side, width and height of the smallest box around a region, in pixels."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)
