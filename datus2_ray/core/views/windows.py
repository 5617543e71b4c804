"""Large images: how many patches one is seen in, and the blocks of them that are segmented one by one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

#: Most patches of an image, as the int16 of a patch map can number them.
MAX_PATCHES = 2**15 - 1

#: An image is large if its longer side is more than this many windows.
LARGE = 4

#: Rows and columns of a block of patches.
Block = tuple[slice, slice]


@dataclass(frozen=True)
class Windows:
    """How large images are seen: at the scale at which a window of them is what a backbone sees.

    Parameters
    ----------
    window : int
        Side of a window in pixels of the image itself.
    side, patch : int
        Side of the square that the backbone sees, and of its patches, in pixels; the first a multiple of the second.
    """

    window: int
    side: int
    patch: int

    def grid(self, height: int, width: int) -> tuple[int, int] | None:
        """Return the rows and columns of patches of a large image, at most 32,767 in all; None of one seen whole.

        The aspect is kept. An image that the limit would leave less than two windows along its longer side is seen
        whole.

        Parameters
        ----------
        height, width : int
            Of the image itself, in pixels.
        """
        if max(height, width) <= LARGE * self.window:
            return None
        cells = self.side // self.patch
        scale = min(cells / self.window, sqrt(MAX_PATCHES / (height * width)))
        rows, columns = (max(1, int(length * scale)) for length in (height, width))
        return (rows, columns) if max(rows, columns) >= 2 * cells else None

    def is_large(self, height: int, width: int) -> bool:
        """Return whether an image of this size, in pixels, is seen in windows."""
        return self.grid(height, width) is not None

    def blocks(self, rows: int, columns: int) -> list[Block]:
        """Cut a grid of patches into the fewest equal blocks, to within a patch, no larger than what a window shows."""
        return [(down, across) for down in self._cut(rows) for across in self._cut(columns)]

    def _cut(self, length: int) -> list[slice]:
        count = -(-length // (self.side // self.patch))
        edges = [length * number // count for number in range(count + 1)]
        return [slice(start, stop) for start, stop in pairwise(edges)]
