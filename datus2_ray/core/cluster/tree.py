"""The tree of clusters: fine clusters joined two by two, so that any smaller number of clusters can be read off it.

k-means makes clusters of like extent: it cuts a frequent class in pieces and puts rare ones together. Of many small
clusters those of one class lie near one another, and joined they may become as large as the class is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

from datus2_ray.errors import UsageError


@dataclass(frozen=True)
class Tree:
    """The merges of M fine clusters, in their order.

    Fine clusters are the nodes 0 … M-1, and merge number i makes node M + i, as in SciPy's linkage matrices.

    Parameters
    ----------
    left, right : int32 [M - 1]
        Nodes that a merge joins, the smaller number on the left.
    heights : float64 [M - 1]
        Mean distance between the rows of the two; where an earlier one is larger, by rounding or because the tree leads
        through given clusters, that one.
    weights : float64 [M - 1]
        Weight of the node that a merge makes, the sum of its fine clusters' weights.
    """

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    heights: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def leaves(self) -> int:
        """Number of fine clusters M."""
        return len(self.left) + 1

    def members(self, k: int) -> NDArray[np.int32]:
        """Return the cluster of every fine cluster where there are K, int32 [M].

        Clusters are numbered in the order of their first fine cluster. Those of K + 1 lie within those of K.

        Raises
        ------
        UsageError
            If K is below 1 or above the number of fine clusters.
        """
        leaves = self.leaves
        if not 1 <= k <= leaves:
            raise UsageError(f"K = {k} is not between 1 and the {leaves} fine clusters that there are")
        top = np.arange(2 * leaves - 1)
        for merge in reversed(range(leaves - k)):
            top[[self.left[merge], self.right[merge]]] = top[leaves + merge]
        _, first, labels = np.unique(top[:leaves], return_index=True, return_inverse=True)
        numbers = np.empty(k, dtype=np.int32)
        numbers[np.argsort(first)] = np.arange(k)
        members: NDArray[np.int32] = numbers[labels]
        return members

    def spans(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the fine clusters in an order in which those of every node stand together, and each node's place.

        Returns
        -------
        order : int32 [M]
            Fine clusters, as a dendrogram has them from left to right.
        spans : int32 [2 M - 1, 2]
            Start and end (exclusive) of every node in that order.
        """
        leaves = self.leaves
        spans = np.zeros((2 * leaves - 1, 2), dtype=np.int32)
        spans[:leaves, 1] = 1
        for merge in range(leaves - 1):
            spans[leaves + merge, 1] = spans[self.left[merge], 1] + spans[self.right[merge], 1]
        # From the root down: a node's left part begins where it begins.
        for merge in reversed(range(leaves - 1)):
            left, right = self.left[merge], self.right[merge]
            spans[left] += spans[leaves + merge, 0]
            spans[right] += spans[left, 1]
        order: NDArray[np.int32] = np.argsort(spans[:leaves, 0]).astype(np.int32)
        return order, spans


def merge(
    centroids: NDArray[np.float64], weights: NDArray[np.float64], members: NDArray[np.int32] | None = None
) -> Tree:
    """Join the two clusters with the smallest mean distance between their rows, until one is left.

    The result is that of rows that are each repeated as often as they weigh, without the merges of equal rows. Of equal
    distances, the pair that has the first fine cluster is joined, then the one whose other part comes first.

    Parameters
    ----------
    centroids : float64 [M, d]
        As :func:`~datus2_ray.core.cluster.assignment.metric_rows` returns them: distances are Euclidean.
    weights : float64 [M]
        Positive weights of the centroids.
    members : int32 [M], optional
        Clusters through which the tree leads: their parts are joined first, then they themselves.

    Notes
    -----
    The time grows with the square of M, times the number of clusters whose nearest one is merged; the memory is that of
    one M x M matrix.

    References
    ----------
    Sokal and Michener, "A statistical method for evaluating systematic relationships" (1958), average linkage (UPGMA).
    Lance and Williams, "A general theory of classificatory sorting strategies" (1967), the recurrence.
    """
    leaves = len(centroids)
    between, weight = squareform(pdist(centroids)), weights.astype(np.float64)
    apart = 0.0
    if members is not None:
        # Added to the distance of each two parts of different clusters, so that it is above all within a cluster.
        apart = 1 + float(between.max())
        between += apart * (members[:, None] != members)
    np.fill_diagonal(between, np.inf)
    # A cluster stands in the row of its first fine cluster; rows of others are infinite, and so is the diagonal.
    node = np.arange(leaves)
    nearest, least = between.argmin(axis=1), between.min(axis=1)
    left, right = np.empty((2, leaves - 1), dtype=np.int32)
    heights, joined = np.empty((2, leaves - 1))
    for step in range(leaves - 1):
        i = int(least.argmin())
        j = int(nearest[i])
        left[step], right[step] = sorted((node[i], node[j]))
        heights[step], joined[step] = least[i], weight[i] + weight[j]
        row = (weight[i] * between[i] + weight[j] * between[j]) / joined[step]
        row[[i, j]] = np.inf
        between[i], between[:, i] = row, row
        between[j], between[:, j] = np.inf, np.inf
        weight[i], node[i] = joined[step], leaves + step
        stale = np.flatnonzero((nearest == i) | (nearest == j))
        nearest[stale], least[stale] = between[stale].argmin(axis=1), between[stale].min(axis=1)
        nearest[j], least[j] = -1, np.inf
        closer = (row < least) | ((row == least) & (i < nearest))
        nearest[closer], least[closer] = i, row[closer]
    if members is not None:
        heights[leaves - len(np.unique(members)) :] -= apart
    # Rounding may put a merge a last digit below the one before it; clusters may lie nearer than parts of one do.
    return Tree(left, right, np.maximum.accumulate(heights), joined)
