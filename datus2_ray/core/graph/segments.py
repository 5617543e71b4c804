"""Segments: 8-connected components of the communities on the patch grid; and, where wanted, the noise given to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datus2_ray.core.describe.tokens import l2_normalise, mean_tokens
from datus2_ray.core.graph.components import NOISE, label_components, measure


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


def give_noise_away(found: Segments, tokens: np.ndarray) -> Segments:
    """Give every patch of noise to the valid segment of its image that it is most alike, so that none is left.

    Parameters
    ----------
    found : Segments
        As :func:`find_segments` gives them.
    tokens : ndarray
        Patch tokens in raster order, float, shape (h · w, D). What counts is a token's direction from the mean over the
        image: the cosine between a patch's and the mean of a segment's.

    Returns
    -------
    Segments
        The same segments, grown; an image of noise alone is one segment.
    """
    noise = found.patch_map.ravel() == NOISE
    members = found.patch_map.ravel().astype(np.int64)
    if not noise.any():
        return found
    if not len(found.sizes):
        members[:] = 0
    else:
        directions = l2_normalise(tokens - tokens.mean(axis=0, dtype=np.float64))
        means = mean_tokens(directions, found.patch_map, len(found.sizes))
        nearest = np.full(len(members), -np.inf, dtype=np.float32)
        for segment, mean in enumerate(means):
            # Patch by patch: a matrix product may round differently for another number of threads.
            cosines = np.vecdot(directions, mean)
            nearer = noise & (cosines > nearest)
            members[nearer], nearest[nearer] = segment, cosines[nearer]
    sizes = np.bincount(members)
    patch_map, boxes = measure(members.reshape(found.patch_map.shape), sizes, 0)
    return Segments(patch_map, sizes.astype(np.int32), boxes)
