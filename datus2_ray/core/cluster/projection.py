"""Projection: where vectors lie when their distances are taken, after scaling and PCA; both may be absent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal

from datus2_ray.core.cluster.distances import FloatArray
from datus2_ray.core.cluster.pca import PCA, fit_pca
from datus2_ray.core.cluster.scaling import Kind, Scaling, fit_scaling
from datus2_ray.core.cluster.shards import Shards


@dataclass(frozen=True)
class Projection:
    """Scaling, then PCA.

    Parameters
    ----------
    scaling : Scaling or None
        None leaves coordinates as they are.
    pca : PCA or None
        None keeps all directions.
    """

    scaling: Scaling | None = None
    pca: PCA | None = None

    def transform(self, x: FloatArray) -> FloatArray:
        """Project rows, bitwise the same however the rows are cut into calls.

        Parameters
        ----------
        x : float16, float32 or float64 [n, d]

        Returns
        -------
        float [n, p]
            float64 after PCA, else in the data type of `x`.
        """
        for step in (self.scaling, self.pca):
            if step is not None:
                x = step.transform(x)
        return x


def fit_projection(
    hold: Callable[[Projection], AbstractContextManager[Shards]],
    scaling: Literal["none"] | Kind,
    components: int | None,
) -> Projection:
    """Find scaling and PCA, the second of rows that the first has scaled.

    Parameters
    ----------
    hold : callable
        Gives the shards of the projected rows, for as long as they are asked.
    scaling : {"none", "centred", "standardised"}
        See :func:`~datus2_ray.core.cluster.scaling.fit_scaling`.
    components : int or None
        Dimensions that PCA keeps; None for no PCA.

    Raises
    ------
    UsageError
        More components than rows or coordinates.
    """
    projection = Projection()
    if scaling != "none":
        with hold(projection) as shards:
            projection = Projection(fit_scaling(shards, scaling))
    if components is not None:
        with hold(projection) as shards:
            projection = replace(projection, pca=fit_pca(shards, components))
    return projection
