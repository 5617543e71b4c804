"""Rendered demo scenes: pictures with exact masks that cost no licence, no download and no labelling.

Everything is painted from back to front with NumPy, SciPy and Pillow: clouds and grass in perspective, water that
mirrors, lit crowns of leaves, houses, animals with fur. Each scene depends on its seed and index alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datus2_ray.demo.scenes.camera import develop
from datus2_ray.demo.scenes.compositions import compose

__all__ = ["CLASSES", "render"]

CLASSES = ("sky", "grass", "water", "building", "tree", "animal")


def render(
    index: int, seed: int = 0, height: int = 240, width: int = 320
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Render one scene.

    Eight kinds of scene (pasture, lakeside, village, animal portrait, forest edge, waterfront, coast, farm) take turns
    by ``index``; everything else is drawn from a generator seeded by ``seed`` and ``index``.

    Parameters
    ----------
    index : int
        Which scene.
    seed : int
        Another seed, other scenes.
    height, width : int
        Size in pixels.

    Returns
    -------
    pixels : ndarray of uint8, shape [height, width, 3]
        RGB.
    labels : ndarray of uint8, shape [height, width]
        Index into ``CLASSES`` for every pixel.
    """
    rng = np.random.default_rng([seed, index])
    canvas = compose(rng, index, height, width)
    return develop(rng, canvas.pixels), canvas.labels
