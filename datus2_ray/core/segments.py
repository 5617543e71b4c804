"""Segments: the 8-connected components of the communities on the patch grid, and which of them count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datus2_ray.core.components import label_components, measure


@dataclass(frozen=True)
class Segments:
    """The valid segments of one image, numbered from 0 in the raster order of their first patch.

    Parameters
    ----------
    patch_map : ndarray
        Segment of every patch, int16, shape (h, w), -1 = noise.
    sizes : ndarray
        Patches of every segment, int32, shape (S,).
    boxes : ndarray
        Top, left, bottom, right in patches, the last two exclusive, int16, shape (S, 4).
    """

    patch_map: np.ndarray
    sizes: np.ndarray
    boxes: np.ndarray


def find_segments(communities: np.ndarray, tau: int) -> Segments:
    """Find the valid segments of an image.

    Parameters
    ----------
    communities : ndarray
        Community of every patch, integer, shape (h, w).
    tau : int
        A component is valid if it has more patches than this; the others are noise (DatUS², step 5: 5 for all models).

    Returns
    -------
    Segments
        Possibly none at all.
    """
    parts, counts = label_components(np.ascontiguousarray(communities, dtype=np.int32))
    patch_map, boxes = measure(parts, counts, tau)
    return Segments(patch_map, counts[counts > tau].astype(np.int32), boxes)
