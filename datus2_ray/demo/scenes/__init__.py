"""Rendered scenes with exact masks, which need no licence, no download and no labelling.

Everything is painted from back to front with NumPy, SciPy and Pillow. A scene depends on its seed and index only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datus2_ray.demo.scenes.canvas import develop
from datus2_ray.demo.scenes.compositions import compose


def render(
    index: int, seed: int = 0, height: int = 240, width: int = 320
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Render one scene.

    The kinds of scene (pasture, lakeside, village, animal portrait, forest edge, waterfront, coast, farm) take turns by
    `index`; everything else is drawn from a generator seeded by `seed` and `index`.

    Returns
    -------
    pixels : ndarray of uint8, shape [height, width, 3]
        RGB.
    labels : ndarray of uint8, shape [height, width]
        Class of every pixel, see :mod:`datus2_ray.sources.layouts.demo`.
    """
    rng = np.random.default_rng([seed, index])
    canvas = compose(rng, index, height, width)
    return develop(rng, canvas.pixels), canvas.labels
