"""Segment descriptors: the mean of a segment's patch tokens, which needs no further forward pass; two kinds joined."""

from __future__ import annotations

import numpy as np


def l2_normalise(vectors: np.ndarray) -> np.ndarray:
    """Scale rows to length 1; a row of zeros stays zero.

    Parameters
    ----------
    vectors : ndarray
        Float, shape (n, D).

    Returns
    -------
    ndarray
        float32, shape (n, D).
    """
    length = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(length > 0, length, 1.0)).astype(np.float32)


def mean_tokens(tokens: np.ndarray, patch_map: np.ndarray, segments: int) -> np.ndarray:
    """Describe every segment by the L2-normalised mean of its patch tokens: no further forward pass.

    Parameters
    ----------
    tokens : ndarray
        Patch tokens in raster order, float, shape (N, D).
    patch_map : ndarray
        Segment of every patch, -1 = noise, shape (h, w) with h·w = N.
    segments : int
        Number of valid segments S.

    Returns
    -------
    ndarray
        float32, shape (S, D).
    """
    members = patch_map.ravel()
    # A segment's patches side by side, in raster order still, then one sum a run of them.
    order = np.argsort(members, kind="stable")[np.count_nonzero(members < 0) :]
    starts = np.searchsorted(members[order], np.arange(segments))
    return l2_normalise(np.add.reduceat(tokens[order].astype(np.float64), starts, axis=0))


def join(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Join two kinds of descriptors so that both count alike: the product of two rows is the mean of both cosines.

    Parameters
    ----------
    first, second : ndarray
        float32, rows of length 1, shapes (S, D) and (S, E).

    Returns
    -------
    ndarray
        float32, rows of length 1, shape (S, D + E).
    """
    return l2_normalise(np.concatenate([first, second], axis=1))
