"""Segments: 8-connected components of the communities on the patch grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from datus2_ray.core.describe.tokens import l2_normalise, mean_tokens
from datus2_ray.core.graph.louvain import number_by_first
from datus2_ray.core.views.windows import MAX_PATCHES
from datus2_ray.errors import UsageError

#: Value of a patch that belongs to no valid segment.
NOISE = -1

_EIGHT_NEIGHBOURS = np.ones((3, 3))


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
    found : int
        Components of communities of any size: those that are noise, or were given away, included.
    """

    patch_map: np.ndarray
    sizes: np.ndarray
    boxes: np.ndarray
    found: int


def label_components(communities: np.ndarray) -> np.ndarray:
    """Split a map of communities, integer (h, w), into 8-connected components.

    Returns the component of every patch, int32 (h, w), numbered from 0 in the raster order of their first patch.
    """
    components = np.empty(communities.shape, dtype=np.int32)
    count = 0
    for community in np.unique(communities):
        labels, found = ndimage.label(communities == community, _EIGHT_NEIGHBOURS)
        inside = labels > 0
        components[inside] = labels[inside] + (count - 1)
        count += found
    return number_by_first(components)


def find_segments(communities: np.ndarray, tau: int) -> Segments:
    """Find the valid segments of an image: the components of more than `tau` patches; all others are noise.

    `communities` holds the community of every patch, integer, shape (h, w). DatUS², step 5, uses a `tau` of 5.
    """
    return _collect(label_components(communities), tau)


def every_patch(height: int, width: int) -> Segments:
    """Return a segment per patch of a grid, in raster order.

    Raises
    ------
    UsageError
        If there are more patches than int16 can number.
    """
    count = height * width
    if count > MAX_PATCHES:
        raise UsageError(
            f"{height} × {width} patches cannot be units each, at most {MAX_PATCHES:,} can: lower discover.grid or "
            "discover.input_size"
        )
    rows, columns = np.indices((height, width), dtype=np.int16).reshape(2, -1)
    boxes = np.stack([rows, columns, rows + 1, columns + 1], axis=1)
    return Segments(
        np.arange(count, dtype=np.int16).reshape(height, width), np.ones(count, dtype=np.int32), boxes, count
    )


def give_noise_away(segments: Segments, tokens: np.ndarray) -> Segments:
    """Assign every noise patch to the valid segment with the most similar mean token.

    Similarity is the cosine of tokens from which the mean over the image is subtracted. An image of noise alone becomes
    one segment.

    Parameters
    ----------
    segments : Segments
        From :func:`find_segments`.
    tokens : ndarray
        Patch tokens in raster order, float, shape (h · w, D).
    """
    noise = segments.patch_map.ravel() == NOISE
    members = segments.patch_map.ravel().astype(np.int64)
    if not noise.any():
        return segments
    if not len(segments.sizes):
        members[:] = 0
    else:
        directions = l2_normalise(tokens - tokens.mean(axis=0, dtype=np.float64))
        means = mean_tokens(directions, segments.patch_map, len(segments.sizes))
        highest = np.full(len(members), -np.inf, dtype=np.float32)
        for segment, mean in enumerate(means):
            # Patch by patch: a matrix product may round differently with another number of threads.
            cosines = np.vecdot(directions, mean)
            higher = noise & (cosines > highest)
            members[higher], highest[higher] = segment, cosines[higher]
    return replace(_collect(members.reshape(segments.patch_map.shape), 0), found=segments.found)


def join_segments(parts: Sequence[tuple[tuple[slice, slice], Segments]], height: int, width: int) -> Segments:
    """Return the segments of an image from those of the blocks of patches that its grid is cut into.

    Parameters
    ----------
    parts : sequence of ((slice, slice), Segments)
        Rows and columns of a block, and its segments.
    height, width : int
        Rows and columns of the whole grid.
    """
    members = np.full((height, width), NOISE, dtype=np.int64)
    count = 0
    for cells, segments in parts:
        members[cells] = np.where(segments.patch_map == NOISE, NOISE, segments.patch_map + count)
        count += len(segments.sizes)
    valid = members != NOISE
    members[valid] = number_by_first(members[valid])
    patch_map = members.astype(np.int16)
    found = sum(segments.found for _, segments in parts)
    return Segments(patch_map, np.bincount(members[valid]).astype(np.int32), _boxes(patch_map), found)


def _collect(components: np.ndarray, tau: int) -> Segments:
    sizes = np.bincount(components.ravel())
    valid = sizes > tau
    numbers = np.full(len(sizes), NOISE, dtype=np.int16)
    numbers[valid] = np.arange(np.count_nonzero(valid))
    patch_map = numbers[components]
    return Segments(patch_map, sizes[valid].astype(np.int32), _boxes(patch_map), len(sizes))


def _boxes(patch_map: np.ndarray) -> np.ndarray:
    edges = [(y.start, x.start, y.stop, x.stop) for y, x in ndimage.find_objects(patch_map + 1)]
    return np.array(edges, dtype=np.int16).reshape(-1, 4)
