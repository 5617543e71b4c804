"""Count the pixels per class and cluster of an image, in one pass over both maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.compiled import compiled, frozen
from datus2_ray.core.images.labels import Labels


def confusion_matrix(truth: Labels, predicted: Labels, classes: int, clusters: int) -> NDArray[np.int64]:
    """Count the pixels per class and cluster, int64 [C, K + 1]; the last column counts noise.

    Parameters
    ----------
    truth : uint8 or uint16 [H, W]
        Class ids; values outside [0, C) are ignored.
    predicted : uint8 or uint16 [H, W]
        Cluster ids in [0, K); noise is the largest value of the data type.
    classes, clusters : int
        C and K.

    Raises
    ------
    ValueError
        If the maps differ in size, or a scored pixel is neither a cluster nor noise.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"the ground truth is {truth.shape} and the prediction is {predicted.shape}")
    counts = np.zeros((classes, clusters + 1), np.int64)
    pixels = frozen(truth).reshape(-1), frozen(predicted).reshape(-1)
    outside = _add_pixels(*pixels, int(np.iinfo(predicted.dtype).max), counts)
    if outside >= 0:
        raise ValueError(f"cluster {outside} in a prediction of {clusters} clusters")
    return counts


@compiled
def _add_pixels(truth: Labels, predicted: Labels, noise: int, counts: NDArray[np.int64]) -> int:
    """Add pixels to the counts; return the largest value that is neither a cluster nor noise, -1 if there is none."""
    classes, clusters, outside = counts.shape[0], counts.shape[1] - 1, -1
    for i in range(len(truth)):
        if truth[i] < classes:
            cluster = predicted[i]
            if cluster == noise:
                counts[truth[i], clusters] += 1
            elif cluster < clusters:
                counts[truth[i], cluster] += 1
            else:
                outside = max(outside, int(cluster))
    return outside
