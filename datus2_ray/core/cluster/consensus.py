"""Consensus: which of the fine clusters belong together, by the vote of several clusterings of the same rows.

What a tree merges last depends on where k-means started. Several clusterings cut at K clusters agree on most of the
area, and err in different places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from datus2_ray.core.cluster.tree import Tree


@dataclass(frozen=True)
class Vote:
    """A clustering of the rows, with the area that its fine clusters share with those that are to be merged.

    Parameters
    ----------
    tree : Tree
        Its own fine clusters, L of them, merged.
    overlap : int64, sparse [M, L]
        Area of the rows that are in one of the fine clusters to be merged, and in one of its own.
    """

    tree: Tree
    overlap: sp.csr_array

    def areas(self, k: int) -> NDArray[np.int64]:
        """Return the area of every fine cluster in each of the K clusters of its tree, int64 [M, K]."""
        one_hot = np.eye(k, dtype=np.int64)[self.tree.members(k)]
        areas: NDArray[np.int64] = self.overlap @ one_hot
        return areas


def agree(votes: Sequence[Vote], k: int) -> NDArray[np.int32]:
    """Return the cluster of every fine cluster, int32 [M], 0 … K-1, none of which is empty.

    First, each vote gives every fine cluster whole to the cluster in which most of its area is; the clusters of two
    votes are matched so that they share the largest area of these. Those of every vote are matched with those of the
    vote that shares most with the others. Then every fine cluster takes the cluster in which most of its area is,
    summed over the votes. Areas are integers, so that their sums are the same everywhere.

    Parameters
    ----------
    votes : sequence of Vote
        The first is of the fine clusters themselves: its `overlap` is diagonal, and positive there.

    Raises
    ------
    UsageError
        If K is below 1 or above the number of fine clusters of a vote.

    References
    ----------
    Strehl and Ghosh, "Cluster ensembles", JMLR 3, 2002, for the consensus of partitions; Dudoit and Fridlyand, "Bagging
    to improve the accuracy of a clustering procedure", Bioinformatics 19, 2003, for matching and voting (BagClust1).
    """
    areas = [vote.areas(k) for vote in votes]
    weights = areas[0].sum(axis=1)
    labels = [of_vote.argmax(axis=1) for of_vote in areas]
    shared = np.zeros((len(votes), len(votes)), dtype=np.int64)
    for a, b in combinations(range(len(votes)), 2):
        shared[a, b] = shared[b, a] = _match(labels[a], labels[b], weights, k)[1]
    middle = labels[int(shared.sum(axis=1).argmax())]
    total = np.zeros_like(areas[0])
    for of_vote, own in zip(areas, labels, strict=True):
        matched, _ = _match(middle, own, weights, k)
        total += of_vote[:, matched]
    return _without_empty(total.argmax(axis=1).astype(np.int32), total)


def _match(
    a: NDArray[np.intp], b: NDArray[np.intp], weights: NDArray[np.int64], k: int
) -> tuple[NDArray[np.intp], int]:
    """Return which cluster of partition b belongs to each of partition a, and the area that these pairs share."""
    table = np.zeros((k, k), dtype=np.int64)
    np.add.at(table, (a, b), weights)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return columns, int(table[rows, columns].sum())


def _without_empty(members: NDArray[np.int32], total: NDArray[np.int64]) -> NDArray[np.int32]:
    """Move one fine cluster into each empty cluster: the one with the largest share of its area there.

    A cluster's only fine cluster is not moved.
    """
    counts = np.bincount(members, minlength=total.shape[1])
    for cluster in np.flatnonzero(counts == 0):
        shares = np.where(counts[members] > 1, total[:, cluster] / np.maximum(total.sum(axis=1), 1), -1.0)
        taken = int(shares.argmax())
        counts[members[taken]] -= 1
        members[taken], counts[cluster] = cluster, 1
    return members
