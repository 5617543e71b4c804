"""Regions: the pixels of a class, or those of them that are connected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.labels import Labels


def void_of(mask: Labels) -> int:
    """Return the value of pixels without a class: the largest of the mask's type."""
    return int(np.iinfo(mask.dtype).max)


@dataclass(frozen=True)
class Region:
    """Pixels of a class in an image.

    Parameters
    ----------
    number : int
        The class.
    top, left : int
        Place of the smallest box around them in the image, in pixels.
    pixels : bool [h, w]
        Which pixels of the box they are.
    shape : tuple of int
        Height and width of the image.
    """

    number: int
    top: int
    left: int
    pixels: NDArray[np.bool_]
    shape: tuple[int, int]

    @property
    def area(self) -> int:
        """Number of the pixels."""
        return int(self.pixels.sum())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left and upper side, width and height of the box."""
        return self.left, self.top, self.pixels.shape[1], self.pixels.shape[0]

    def paint(self, image: NDArray[Any], value: int) -> None:
        """Set the pixels of an image that are in the region."""
        height, width = self.pixels.shape
        image[self.top : self.top + height, self.left : self.left + width][self.pixels] = value

    def run_lengths(self, by_column: bool) -> NDArray[np.int64]:
        """Return the lengths of the runs of pixels outside and inside, in turn, over all of the image.

        Pixels are taken row by row, or column by column; the first run is outside, and may be empty.
        """
        pixels, across, first, second = self.pixels, self.shape[1], self.top, self.left
        if by_column:
            pixels, across, first, second = pixels.T, self.shape[0], self.left, self.top
        line, place = np.nonzero(np.diff(np.pad(pixels, ((0, 0), (1, 1))), axis=1))
        places, times = np.unique((first + line) * across + second + place, return_counts=True)
        # A run that ends with a line, and one that begins with the next, are one.
        lengths: NDArray[np.int64] = np.diff(places[times == 1], prepend=0, append=self.shape[0] * self.shape[1])
        return lengths if lengths[-1] else lengths[:-1]


def regions(mask: Labels, connected: bool) -> Iterator[Region]:
    """Yield the region of each class of a mask; with `connected`, each of its connected regions.

    Pixels are connected over their sides. Classes come in their order, and regions in that of their first pixels.
    """
    # Imported here and below: readers of annotations, which every process imports, need this module but not SciPy.
    from scipy import ndimage

    for number in np.unique(mask[mask != void_of(mask)]).tolist():
        pixels = mask == number
        labels = ndimage.label(pixels)[0] if connected else pixels.astype(np.uint8)
        for label, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
            box = np.ascontiguousarray(labels[rows, columns] == label)
            yield Region(number, rows.start, columns.start, box, mask.shape)


def without_small(mask: Labels, min_area: int) -> Labels:
    """Return a mask in which connected regions of fewer pixels have no class."""
    from scipy import ndimage

    kept = mask.copy()
    for number in np.unique(mask[mask != void_of(mask)]).tolist():
        labels, _ = ndimage.label(mask == number)
        areas = np.bincount(labels.ravel())
        areas[0] = min_area  # all other pixels
        kept[areas[labels] < min_area] = void_of(mask)
    return kept
