"""Scaling of row blocks: the mean of all rows is subtracted, and optionally every coordinate gets deviation 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.assignment import chunks
from datus2_ray.core.cluster.distances import FloatArray
from datus2_ray.core.cluster.questions import moments
from datus2_ray.core.cluster.rows import RowBlock, RowBlocks, combined

#: ``centred`` subtracts the mean of every coordinate, ``standardised`` also divides by its deviation.
Kind = Literal["centred", "standardised"]

#: Share of its mean up to which a coordinate's deviation is taken for the rounding of float32.
MIN_DEVIATION = 1e-7


@dataclass(frozen=True)
class Scaling:
    """Row x becomes (x - mean) / deviation, both float64 [d]."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    def transform(self, x: FloatArray) -> FloatArray:
        """Scale rows, float [n, d], in float64; the result has the data type of `x`."""
        scaled = np.empty_like(x)
        for chunk in chunks(len(x)):
            scaled[chunk] = (x[chunk] - self.mean) / self.deviation
        return scaled


def squared_deviations(block: RowBlock, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the weighted squares of a block's finite rows about the mean of all rows, float64 [d], in fixed chunks."""
    total = np.zeros(len(mean))
    for chunk in chunks(len(block.x)):
        finite = np.isfinite(block.x[chunk]).all(axis=1)
        centred = block.x[chunk][finite] - mean
        total += (np.square(centred) * block.weights[chunk][finite, None]).sum(axis=0)
    return total


def fit_scaling(blocks: RowBlocks, kind: Kind) -> Scaling:
    """Compute the scaling of all rows in one pass for the mean and another one for the deviations about it.

    Under the spherical metric, a direction that all rows share makes all cosines alike and hides what distinguishes
    rows.

    Rows that are not finite are left out. With ``standardised`` deviations become 1, except of coordinates that are
    the same in all rows up to :data:`MIN_DEVIATION` of their mean.
    """
    total = combined(blocks.ask(moments, "euclidean"))
    weight = max(total.weight, np.finfo(np.float64).tiny)
    mean = total.sums / weight
    deviation = np.ones(len(mean))
    if kind == "standardised":
        measured = np.sqrt(combined(blocks.ask(squared_deviations, mean)) / weight)
        deviation = np.where(measured > MIN_DEVIATION * np.abs(mean), measured, 1.0)
    return Scaling(mean, deviation)
