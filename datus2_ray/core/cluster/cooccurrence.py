"""Which clusters occur in the same images, and how much more often than by chance."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

#: Added to shares of images before their logarithm is taken: pairs that never meet would have none.
SMOOTHING = 1e-3


def count_together(images: Iterable[np.ndarray], clusters: int) -> NDArray[np.int64]:
    """Count the images in which two clusters both occur.

    Parameters
    ----------
    images : iterable of ndarray
        Clusters of every image's segments, integers below `clusters`, any number of each.
    clusters : int
        M.

    Returns
    -------
    ndarray
        int64, shape (M, M), symmetric; on the diagonal the images in which a cluster occurs at all. Counts of several
        sets of images may be added.
    """
    counts = np.zeros((clusters, clusters), dtype=np.int64)
    for segments in images:
        present = np.unique(segments)
        counts[np.ix_(present, present)] += 1
    return counts


def log_lift(counts: NDArray[np.int64], images: int) -> NDArray[np.float64]:
    """Compute the logarithm of how much more often than by chance two clusters share an image.

    Parameters
    ----------
    counts : ndarray
        Of :func:`count_together`.
    images : int
        Number of images, at least 1.

    Returns
    -------
    ndarray
        float64, shape (M, M), in nats: above 0 where they attract each other, below where they avoid each other.

    References
    ----------
    Church and Hanks, "Word Association Norms, Mutual Information, and Lexicography", Computational Linguistics 16
    (1990), for the measure.
    """
    together = counts / images
    alone = np.diag(together)
    lift: NDArray[np.float64] = np.log((together + SMOOTHING) / (np.outer(alone, alone) + SMOOTHING))
    return lift
