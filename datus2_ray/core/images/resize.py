"""The sizes at which models see images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Maximum ratio of the sides where the aspect is kept; a longer image is squeezed.
MAX_ASPECT = 3


def resize(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize [H, W, 3] or [H, W] by Pillow's bicubic filter on uint8, antialiased; the aspect is not kept."""
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def fit(height: int, width: int, short_side: int, multiple: int) -> tuple[int, int]:
    """Compute the height and width nearest to an image's aspect whose sides are multiples of a number.

    Parameters
    ----------
    height, width : int
        Of the image, in pixels.
    short_side : int
        New length of the shorter side; the longer one is at most :data:`MAX_ASPECT` times this.
    multiple : int
        Side of a patch in pixels; divides `short_side`.
    """
    scale = short_side / min(height, width)
    long_side = min(scale * max(height, width), MAX_ASPECT * short_side)
    long_side = max(short_side, round(long_side / multiple) * multiple)
    return (short_side, long_side) if height <= width else (long_side, short_side)
