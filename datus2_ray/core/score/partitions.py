"""NMI and ARI of two partitions from their contingency table, exact for any number of pixels."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def normalized_mutual_information(table: NDArray[np.int64]) -> float:
    """Compute the mutual information of rows and columns over the arithmetic mean of their entropies.

    `table` holds counts, int64 [C, K], not all zero. The result is in [0, 1]; it is 1 if both partitions have a single
    part (scikit-learn's convention).

    References
    ----------
    Vinh, Epps and Bailey, "Information theoretic measures for clusterings comparison", JMLR 11, 2010.
    """
    total = int(table.sum())
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    entropies = _entropy(rows, total) + _entropy(columns, total)
    if entropies == 0:
        return 1.0
    i, j = np.nonzero(table)
    shares = table[i, j] / total
    # Separate logarithms: the product of two marginals overflows int64.
    logs = np.log(shares) - np.log(rows[i] / total) - np.log(columns[j] / total)
    return min(max(2 * math.fsum(shares * logs) / entropies, 0.0), 1.0)


def _entropy(counts: NDArray[np.int64], total: int) -> float:
    shares = counts[counts > 0] / total
    return -math.fsum(shares * np.log(shares))


def adjusted_rand_index(table: NDArray[np.int64]) -> float:
    """Compute the share of pairs on which rows and columns agree, corrected for chance.

    `table` holds counts, int64 [C, K], not all zero. The result is at most 1; it is 1 if the partitions are equal, even
    with a single part (scikit-learn's convention). Pairs of 10^10 pixels overflow int64, so they are Python integers.

    References
    ----------
    Hubert and Arabie, "Comparing partitions", Journal of Classification 2, 1985.
    """

    def pairs(counts: NDArray[np.int64]) -> int:
        return sum(n * (n - 1) // 2 for n in counts.ravel().tolist())

    together, in_row, in_column = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    every = pairs(table.sum(keepdims=True))
    if together == in_row == in_column:
        return 1.0
    # (together - expected) / (mean - expected) with expected = in_row * in_column / every, times 2 * every.
    chance = 2 * in_row * in_column
    return (2 * together * every - chance) / ((in_row + in_column) * every - chance)
