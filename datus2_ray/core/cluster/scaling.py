"""Scaling of sharded rows: what all rows share is taken off, and on request every coordinate gets deviation 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.assignment import chunks
from datus2_ray.core.cluster.distances import FloatArray
from datus2_ray.core.cluster.shard_sums import moments
from datus2_ray.core.cluster.shards import Shard, Shards, combined

#: What is done to a coordinate: taking its mean off, or also dividing it by its deviation.
Kind = Literal["centred", "standardised"]

#: Share of its mean up to which a coordinate's deviation is taken for the rounding of float32.
LEAST_DEVIATION = 1e-7


@dataclass(frozen=True)
class Scaling:
    """A shift and a stretch of every coordinate.

    Parameters
    ----------
    mean, deviation : float64 [d]
        Row x becomes (x - mean) / deviation.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    def transform(self, x: FloatArray) -> FloatArray:
        """Scale rows, computing in float64.

        Parameters
        ----------
        x : float16, float32 or float64 [n, d]

        Returns
        -------
        float [n, d]
            In the data type of `x`: the tokens of a large set, in float16, shall not take four times the memory.
        """
        scaled = np.empty_like(x)
        for chunk in chunks(len(x)):
            scaled[chunk] = (x[chunk] - self.mean) / self.deviation
        return scaled


def squared_deviations(shard: Shard, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the weighted squares of a shard's centred finite rows, in float64 and in fixed chunks.

    Parameters
    ----------
    shard : Shard
    mean : float64 [d]
        Mean of the rows of all shards.

    Returns
    -------
    float64 [d]
    """
    total = np.zeros(len(mean))
    for chunk in chunks(len(shard.x)):
        finite = np.isfinite(shard.x[chunk]).all(axis=1)
        centred = shard.x[chunk][finite] - mean
        total += (np.square(centred) * shard.weights[chunk][finite, None]).sum(axis=0)
    return total


def fit_scaling(shards: Shards, kind: Kind) -> Scaling:
    """Find the scaling of the rows of all shards, in one pass for the mean and another one for deviations about it.

    Under the spherical metric, a direction that all rows share makes all cosines alike, and what tells rows apart
    counts little.

    Parameters
    ----------
    shards : Shards
        Rows, float [n, d] in all; a row of weight 3 counts as three rows. Rows that are not finite are left out.
    kind : {"centred", "standardised"}
        Whether deviations stay as they are or become 1. They stay where a coordinate is the same in all rows, to
        :data:`LEAST_DEVIATION` of its mean.

    Returns
    -------
    Scaling
    """
    known = combined(shards.ask(moments, "euclidean"))
    weight = max(known.weight, np.finfo(np.float64).tiny)
    mean = known.sums / weight
    deviation = np.ones(len(mean))
    if kind == "standardised":
        found = np.sqrt(combined(shards.ask(squared_deviations, mean)) / weight)
        deviation = np.where(found > LEAST_DEVIATION * np.abs(mean), found, 1.0)
    return Scaling(mean, deviation)
