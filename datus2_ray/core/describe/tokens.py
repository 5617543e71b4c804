"""Describe a segment by the mean of its patch tokens, without another forward pass."""

from __future__ import annotations

import numpy as np


def l2_normalise(vectors: np.ndarray) -> np.ndarray:
    """Scale the rows (n, D) to length 1, float32; a row of zeros stays zero."""
    length = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(length > 0, length, 1.0)).astype(np.float32)


def mean_tokens(tokens: np.ndarray, patch_map: np.ndarray, segments: int) -> np.ndarray:
    """Compute the L2-normalised mean of every segment's patch tokens, float32 (S, D).

    Parameters
    ----------
    tokens : ndarray
        Patch tokens in raster order, float, shape (h · w, D).
    patch_map : ndarray
        Segment of every patch, -1 = noise, shape (h, w).
    segments : int
        Number of segments S.
    """
    members = patch_map.ravel()
    # The patches of a segment become one run, still in raster order; then one sum per run.
    order = np.argsort(members, kind="stable")[np.count_nonzero(members < 0) :]
    starts = np.searchsorted(members[order], np.arange(segments))
    return l2_normalise(np.add.reduceat(tokens[order].astype(np.float64), starts, axis=0))


def join(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Concatenate unit rows (S, D) and (S, E) to unit rows: the product of two rows is the mean of both cosines."""
    return l2_normalise(np.concatenate([first, second], axis=1))
