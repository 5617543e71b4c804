"""Segments: the 8-connected components of the communities on the patch grid, and which of them count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

#: Value of a patch that belongs to no valid segment.
NOISE = -1


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


def components(communities: np.ndarray) -> np.ndarray:
    """Split communities into 8-connected components.

    Parameters
    ----------
    communities : ndarray
        Community of every patch, integer, shape (h, w).

    Returns
    -------
    ndarray
        Component of every patch, int64, shape (h, w), numbered from 0 in the raster order of their first patch.
    """
    height, width = communities.shape
    index = np.arange(height * width).reshape(height, width)
    # Each pair of neighbours once: right, down, and the two downward diagonals.
    pairs = [
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1, :], np.s_[1:, :]),
        (np.s_[:-1, :-1], np.s_[1:, 1:]),
        (np.s_[:-1, 1:], np.s_[1:, :-1]),
    ]
    same = [communities[a] == communities[b] for a, b in pairs]
    rows = np.concatenate([index[a][equal] for (a, _), equal in zip(pairs, same, strict=True)])
    columns = np.concatenate([index[b][equal] for (_, b), equal in zip(pairs, same, strict=True)])
    graph = sp.coo_matrix((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(index.size, index.size))
    _, labels = connected_components(graph, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].reshape(height, width)


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
    parts = components(communities)
    counts = np.bincount(parts.ravel())
    valid = counts > tau
    number = np.where(valid, np.cumsum(valid) - 1, NOISE).astype(np.int16)
    patch_map = number[parts]
    boxes = np.zeros((int(valid.sum()), 4), dtype=np.int16)
    rows, columns = np.nonzero(patch_map >= 0)
    members = patch_map[rows, columns]
    boxes[:, :2] = np.iinfo(np.int16).max
    np.minimum.at(boxes, (members, 0), rows.astype(np.int16))
    np.minimum.at(boxes, (members, 1), columns.astype(np.int16))
    np.maximum.at(boxes, (members, 2), rows.astype(np.int16) + 1)
    np.maximum.at(boxes, (members, 3), columns.astype(np.int16) + 1)
    return Segments(patch_map, counts[valid].astype(np.int32), boxes)
