"""Segments: 8-connected components of the communities on the patch grid; and, where wanted, the noise given to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datus2_ray.core.compiled import compiled
from datus2_ray.core.describe.tokens import l2_normalise, mean_tokens

#: Value of a patch that belongs to no valid segment.
NOISE = -1


@compiled
def label_components(communities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split communities into 8-connected components.

    Parameters
    ----------
    communities : ndarray
        Community of every patch, integer, shape (h, w).

    Returns
    -------
    parts : ndarray
        Component of every patch, int64, shape (h, w), numbered from 0 in the raster order of their first patch.
    sizes : ndarray
        Patches of every component, int64.
    """
    height, width = communities.shape
    parts = np.full((height, width), -1, dtype=np.int64)
    sizes = np.zeros(height * width, dtype=np.int64)
    waiting = np.empty(height * width, dtype=np.int64)
    count = 0
    for start in range(height * width):
        if parts[start // width, start % width] >= 0:
            continue
        community = communities[start // width, start % width]
        parts[start // width, start % width] = count
        waiting[0], end = start, 1
        while end > 0:
            end -= 1
            y, x = waiting[end] // width, waiting[end] % width
            sizes[count] += 1
            for v in range(max(y - 1, 0), min(y + 2, height)):
                for u in range(max(x - 1, 0), min(x + 2, width)):
                    if parts[v, u] < 0 and communities[v, u] == community:
                        parts[v, u] = count
                        waiting[end] = v * width + u
                        end += 1
        count += 1
    return parts, sizes[:count].copy()


@compiled
def measure(parts: np.ndarray, sizes: np.ndarray, tau: int) -> tuple[np.ndarray, np.ndarray]:
    """Renumber the components that are large enough, and find their boxes.

    Parameters
    ----------
    parts, sizes : ndarray
        Of :func:`label_components`.
    tau : int
        A component is valid if it has more patches than this.

    Returns
    -------
    patch_map : ndarray
        Valid component of every patch, int16, shape (h, w), numbered from 0 in their order; :data:`NOISE` elsewhere.
    boxes : ndarray
        Top, left, bottom, right, the last two exclusive, int16, shape (S, 4).
    """
    height, width = parts.shape
    numbers = np.full(len(sizes), NOISE, dtype=np.int16)
    valid = 0
    for part in range(len(sizes)):
        if sizes[part] > tau:
            numbers[part] = valid
            valid += 1
    patch_map = np.empty((height, width), dtype=np.int16)
    boxes = np.zeros((valid, 4), dtype=np.int16)
    boxes[:, 0], boxes[:, 1] = height, width
    for y in range(height):
        for x in range(width):
            number = numbers[parts[y, x]]
            patch_map[y, x] = number
            if number >= 0:
                boxes[number, 0], boxes[number, 1] = min(boxes[number, 0], y), min(boxes[number, 1], x)
                boxes[number, 2], boxes[number, 3] = max(boxes[number, 2], y + 1), max(boxes[number, 3], x + 1)
    return patch_map, boxes


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
