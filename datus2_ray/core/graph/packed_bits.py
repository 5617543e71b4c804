"""Reading a graph that travels as packed bits; apart from its making, so that CPU tasks need no torch."""

from __future__ import annotations

import numpy as np


def unpack(packed: np.ndarray, n: int) -> np.ndarray:
    """Undo :func:`~datus2_ray.core.graph.affinity.pack`.

    Parameters
    ----------
    packed : ndarray
        uint8, shape (N, ceil(N / 8)).
    n : int
        Number of patches N.

    Returns
    -------
    ndarray
        Bool, shape (N, N).
    """
    return np.unpackbits(packed, axis=1, count=n).view(bool)
