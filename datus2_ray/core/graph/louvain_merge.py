"""From the communities of a sparse graph to the graph of these communities, compiled: the sums in scipy's order."""

from __future__ import annotations

import numpy as np

from datus2_ray.core.compiled import compiled


@compiled
def renumber(labels: np.ndarray) -> int:
    """Renumber communities from 0 in the order of their names, in place; give how many there are."""
    used = np.zeros(labels.max() + 1, dtype=np.int64)
    for label in labels:
        used[label] = 1
    count = 0
    for label in range(len(used)):
        if used[label]:
            used[label] = count
            count += 1
    for i in range(len(labels)):
        labels[i] = used[labels[i]]
    return count


@compiled
def _product(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    other_indptr: np.ndarray,
    other_indices: np.ndarray,
    other_data: np.ndarray,
    columns: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Multiply two CSR matrices as scipy does (Gustavson): a row's columns come out last met, first."""
    rows = len(indptr) - 1
    out_indptr = np.zeros(rows + 1, dtype=np.int64)
    size = max(len(data), len(other_data))  # one of the two has one entry a row or a column: no more can come out
    out_indices = np.empty(size, dtype=np.int64)
    out_data = np.empty(size, dtype=np.float64)
    sums = np.zeros(columns)
    following = np.full(columns, -1, dtype=np.int64)
    end = 0
    for i in range(rows):
        head, length = -2, 0
        for p in range(indptr[i], indptr[i + 1]):
            j = indices[p]
            for q in range(other_indptr[j], other_indptr[j + 1]):
                k = other_indices[q]
                sums[k] += data[p] * other_data[q]
                if following[k] == -1:
                    following[k] = head
                    head = k
                    length += 1
        for _ in range(length):
            if sums[head] != 0:
                out_indices[end], out_data[end] = head, sums[head]
                end += 1
            done = head
            head = following[done]
            following[done], sums[done] = -1, 0.0
        out_indptr[i + 1] = end
    return out_indptr, out_indices[:end], out_data[:end]


@compiled
def aggregate(
    indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, weights: np.ndarray, labels: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Make a node of every community: adjacency in CSR (float64) and node weights (float64).

    Parameters
    ----------
    indptr, indices, data : ndarray
        Adjacency in CSR; `data` float64.
    weights : ndarray
        float64, shape (N,).
    labels : ndarray
        Community of every node, int64, numbered from 0.
    count : int
        Number of communities.
    """
    n = len(labels)
    members_indptr = np.zeros(count + 1, dtype=np.int64)
    merged_weights = np.zeros(count)
    for i in range(n):
        members_indptr[labels[i] + 1] += 1
        merged_weights[labels[i]] += weights[i]
    members_indptr = np.cumsum(members_indptr)
    place = members_indptr[:-1].copy()
    members = np.empty(n, dtype=np.int64)
    for i in range(n):
        members[place[labels[i]]] = i
        place[labels[i]] += 1
    ones = np.ones(n)
    a_indptr, a_indices, a_data = _product(indptr, indices, data, np.arange(n + 1), labels, ones, count)
    merged = _product(members_indptr, members, ones, a_indptr, a_indices, a_data, count)
    return merged[0], merged[1], merged[2], merged_weights
