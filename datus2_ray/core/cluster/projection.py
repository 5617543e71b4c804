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


def fit_projection(
    blocks: RowBlocks, scaling: Literal["none"] | Kind, components: int | None, whitening: float = 0.0
) -> Projection:
    """Fit scaling, then PCA on the scaled rows as :func:`fit_pca` does, and leave the rows projected."""
    projection = Projection()
    if scaling != "none":
        scaled = fit_scaling(blocks, scaling)
        blocks.project(scaled)
        projection = Projection(scaled)
    return projection if components is None else add_pca(blocks, projection, components, whitening)


def add_pca(blocks: RowBlocks, projection: Projection, components: int, whitening: float) -> Projection:
    """Fit PCA on rows that a projection without PCA left, and leave them projected by both."""
    pca = fit_pca(blocks, components, whitening)
    blocks.project(pca)
    return replace(projection, pca=pca)
