"""How well two label maps of the same images agree: what a clustering is worth that no label can judge."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from datus2_ray.core.score.confusion import confusion_matrix
from datus2_ray.core.score.partitions import adjusted_rand_index


def agreement(here: Iterable[np.ndarray], there: Iterable[np.ndarray], clusters: int) -> float:
    """Compute the adjusted Rand index of two sets of label maps, all patches of all images taken together.

    Two clusterings may number their clusters differently, and one that puts nearly everything into one cluster agrees
    with any: the index minds neither numbers nor what agrees by chance.

    Parameters
    ----------
    here, there : iterable of ndarray
        Label maps of the same images in the same order, uint8 or uint16, shape (h, w); clusters 0 … K-1, and noise,
        which is the data type's largest value and counts as a cluster of its own.
    clusters : int
        K.

    Returns
    -------
    float
        At most 1, which is perfect agreement; 0 is what chance gives.

    References
    ----------
    Ben-Hur, Elisseeff and Guyon, "A stability based method for discovering structure in clustered data", PSB (2002).
    """
    counts = np.zeros((clusters + 1, clusters + 1), dtype=np.int64)
    for one, other in zip(here, there, strict=True):
        # Noise of the first map must count as well, so it becomes the class after the last.
        seen = np.minimum(one, clusters).astype(np.uint16)
        counts += confusion_matrix(seen, other, clusters + 1, clusters)
    return adjusted_rand_index(counts)
