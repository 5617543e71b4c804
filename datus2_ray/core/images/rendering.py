"""How the images of a set become 8-bit RGB."""

from __future__ import annotations

from dataclasses import dataclass

#: Default and largest value of the largest size of images; maps that a run keeps may have the latter.
MAX_MEGAPIXELS, LARGEST_MEGAPIXELS = 110, 2000

#: Memory in bytes per pixel while an image is decoded, at most: Pillow's copies of 4 bytes, and arrays of 3.
PIXEL_BYTES = 18


@dataclass(frozen=True)
class Rendering:
    """How images become 8-bit RGB; the same for all images of a set, so that they stay comparable.

    Parameters
    ----------
    bands : tuple of int
        One or three bands, from 1 on, that are shown as grey or as red, green and blue; empty for the first three.
    ranges : tuple of (str, float, float)
        Low and high value, which become 0 and 255, per type of numbers, for example ``("uint16", 0, 4095)``.
    max_megapixels : int
        Larger images are refused.
    crop : int or None
        Side in pixels of the square that is cut from the middle of every image; None where images stay whole.
    """

    bands: tuple[int, ...] = ()
    ranges: tuple[tuple[str, float, float], ...] = ()
    max_megapixels: int = MAX_MEGAPIXELS
    crop: int | None = None

    @property
    def ranges_by_type(self) -> dict[str, tuple[float, float]]:
        """The ranges by the type of the numbers."""
        return {kind: (low, high) for kind, low, high in self.ranges}


DEFAULT = Rendering()
