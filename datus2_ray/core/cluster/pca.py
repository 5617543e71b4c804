"""Principal components of sharded rows, from sums that are combined in shard order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.assignment import BLAS, chunks
from datus2_ray.core.cluster.distances import FloatArray
from datus2_ray.core.cluster.shard_sums import moments
from datus2_ray.core.cluster.shards import Shard, Shards, combined
from datus2_ray.errors import UsageError


@dataclass(frozen=True)
class PCA:
    """A projection to the directions of largest variance.

    Parameters
    ----------
    mean : float64 [d]
    components : float64 [p, d]
        Orthonormal rows, largest variance first; the entry of largest magnitude of each is positive.
    explained : float64 [p]
        Share of the total variance along each, in [0, 1].
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    explained: NDArray[np.float64]

    def transform(self, x: FloatArray) -> NDArray[np.float64]:
        """Project rows, bitwise the same however the rows are cut into calls.

        Parameters
        ----------
        x : float16, float32 or float64 [n, d]

        Returns
        -------
        float64 [n, p]
        """
        projected = np.empty((len(x), len(self.components)))
        for chunk in chunks(len(x)):
            centred = x[chunk].astype(np.float64) - self.mean
            # Row by row: a matrix product rounds differently for other block sizes (see assignment.py).
            projected[chunk] = np.vecdot(centred[:, None, :], self.components)
        return projected


def scatter(shard: Shard, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the weighted outer products of a shard's centred rows, in float64 and in fixed chunks.

    Parameters
    ----------
    shard : Shard
    mean : float64 [d]
        Mean of the rows of all shards.

    Returns
    -------
    float64 [d, d]
    """
    total = np.zeros((len(mean), len(mean)))
    # One thread, because the rounding of a product depends on their number.
    with BLAS.limit(limits=1):
        for chunk in chunks(len(shard.x)):
            centred = shard.x[chunk].astype(np.float64) - mean
            total += (centred * shard.weights[chunk, None]).T @ centred
    return total


def fit_pca(shards: Shards, components: int) -> PCA:
    """Find the principal components of the rows of all shards in two passes: mean, then scatter about the mean.

    Parameters
    ----------
    shards : Shards
        Finite rows, float [n, d] in all; a row of weight 3 counts as three rows.
    components : int
        p, from 1 to min(n, d).

    Returns
    -------
    PCA

    Raises
    ------
    UsageError
        p out of range.

    References
    ----------
    Jolliffe, "Principal Component Analysis", 2nd ed., 2002. Signs as scikit-learn 1.5 and later.
    """
    known = combined(shards.ask(moments, "euclidean"))
    most = min(known.rows, len(known.sums))
    if not 1 <= components <= most:
        raise UsageError(f"PCA to {components} components: choose from 1 to {most} for these {known.rows} rows")
    mean = known.sums / known.weight
    total = combined(shards.ask(scatter, mean))
    with BLAS.limit(limits=1):
        variances, vectors = np.linalg.eigh(total)
    directions = vectors.T[::-1][:components]
    strongest = np.abs(directions).argmax(axis=1)
    directions = directions * np.sign(directions[np.arange(components), strongest])[:, None]
    shares = np.maximum(variances[::-1][:components], 0.0) / max(float(np.trace(total)), np.finfo(np.float64).tiny)
    return PCA(mean, directions, shares)
