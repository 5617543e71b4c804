"""Principal components of row blocks, whitened or not, from sums that are combined in block order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.assignment import chunks
from datus2_ray.core.cluster.distances import FloatArray
from datus2_ray.core.cluster.questions import moments
from datus2_ray.core.cluster.rows import RowBlock, RowBlocks, combined
from datus2_ray.core.cluster.threads import BLAS

#: Deviation along a component, relative to the largest one, up to which it is taken for rounding.
MIN_DEVIATION = 1e-5


@dataclass(frozen=True)
class PCA:
    """A projection to the directions of largest variance.

    Parameters
    ----------
    mean : float64 [d]
    components : float64 [p, d]
        Orthonormal, largest variance first; the entry of largest magnitude of each is positive.
    explained : float64 [p]
        Share of the total variance along each, in [0, 1].
    factors : float64 [p]
        What the coordinate along each is multiplied by; 1 without whitening.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    explained: NDArray[np.float64]
    factors: NDArray[np.float64]

    def transform(self, x: FloatArray) -> NDArray[np.float64]:
        """Project rows, float [n, d] to [n, p], bitwise the same however they are cut into calls."""
        projected = np.empty((len(x), len(self.components)))
        for chunk in chunks(len(x)):
            centred = x[chunk].astype(np.float64) - self.mean
            # Row by row: a matrix product rounds differently for other block sizes (see assignment.py).
            projected[chunk] = np.vecdot(centred[:, None, :], self.components) * self.factors
        return projected


def scatter(block: RowBlock, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the weighted outer products of a block's rows about the mean of all rows, float64 [d, d], in fixed chunks."""
    total = np.zeros((len(mean), len(mean)))
    # One thread, because the rounding of a product depends on their number.
    with BLAS.limit(limits=1):
        for chunk in chunks(len(block.x)):
            centred = block.x[chunk].astype(np.float64) - mean
            total += (centred * block.weights[chunk, None]).T @ centred
    return total


def fit_pca(blocks: RowBlocks, components: int, whitening: float = 0.0) -> PCA:
    """Compute the principal components of all rows in two passes: mean, then scatter about the mean.

    Parameters
    ----------
    components : int
        Max number of components; there are no more than rows or coordinates.
    whitening : float
        Power of the deviation along a component, relative to the largest one, that coordinates are divided by: 0
        leaves all distances between rows as they are, 1 gives all components the same deviation. Components along
        which rows differ by less than :data:`MIN_DEVIATION` of the largest deviation are not amplified.

    References
    ----------
    Jolliffe, "Principal Component Analysis", 2nd ed., 2002. Signs as scikit-learn 1.5 and later.
    """
    sums = combined(blocks.ask(moments, "euclidean"))
    components = min(components, sums.rows, len(sums.sums))
    mean = sums.sums / sums.weight
    total = combined(blocks.ask(scatter, mean))
    with BLAS.limit(limits=1):
        variances, vectors = np.linalg.eigh(total)
    directions = vectors.T[::-1][:components]
    strongest = np.abs(directions).argmax(axis=1)
    directions = directions * np.sign(directions[np.arange(components), strongest])[:, None]
    shares = np.maximum(variances[::-1][:components], 0.0) / max(float(np.trace(total)), np.finfo(np.float64).tiny)
    deviations = np.sqrt(shares / max(float(shares[0]), np.finfo(np.float64).tiny))
    factors = np.where(deviations > MIN_DEVIATION, deviations, 1.0) ** -whitening
    return PCA(mean, directions, shares, factors)
