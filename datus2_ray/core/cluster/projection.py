"""Projection: the space in which distances are taken, after scaling and PCA; both may be absent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from datus2_ray.core.cluster.distances import FloatArray
from datus2_ray.core.cluster.pca import PCA, fit_pca
from datus2_ray.core.cluster.rows import RowBlocks
from datus2_ray.core.cluster.scaling import Kind, Scaling, fit_scaling


@dataclass(frozen=True)
class Projection:
    """Scaling, then PCA; None leaves rows as they are."""

    scaling: Scaling | None = None
    pca: PCA | None = None

    def transform(self, x: FloatArray) -> FloatArray:
        """Project rows, float [n, d], bitwise the same however they are cut into calls.

        The result is float64 [n, p] after PCA, else [n, d] in the data type of `x`.
        """
        for step in (self.scaling, self.pca):
            if step is not None:
                x = step.transform(x)
        return x


def fit_projection(blocks: RowBlocks, scaling: Literal["none"] | Kind, components: int | None) -> Projection:
    """Fit scaling, then PCA on the scaled rows, and leave the rows projected.

    Raises
    ------
    UsageError
        If there are more components than rows or coordinates.
    """
    projection = Projection()
    if scaling != "none":
        scaled = fit_scaling(blocks, scaling)
        blocks.project(scaled)
        projection = Projection(scaled)
    if components is not None:
        pca = fit_pca(blocks, components)
        blocks.project(pca)
        projection = replace(projection, pca=pca)
    return projection
