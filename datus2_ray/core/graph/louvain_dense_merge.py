"""From the communities of a dense binary graph to the graph of these communities, compiled."""

from __future__ import annotations

import numpy as np

from datus2_ray.core.compiled import compiled


@compiled
def links_between(
    rows: np.ndarray, labels: np.ndarray, names: np.ndarray, slots: np.ndarray, counts: np.ndarray, sums: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sum the links between every two communities: exactly, and in float64 as scikit-network's products do.

    Parameters
    ----------
    rows : ndarray
        Adjacency of 0 and 1, uint8, shape (N, N).
    labels : ndarray
        Community of every node, int64, shape (N,), numbered from 0.
    names : ndarray
        Node by which :func:`~datus2_ray.core.graph.louvain_dense.optimize_binary` names each community, shape (C,).
    slots, counts : ndarray
        As it gives them.
    sums : ndarray
        Weight of 0, 1, 2, … links, summed one by one in float64, shape (N + 1,).

    Returns
    -------
    links : ndarray
        int64, shape (C, C).
    weights : ndarray
        float64, shape (C, C).
    """
    communities = len(names)
    links = np.zeros((communities, communities), dtype=np.int64)
    weights = np.zeros((communities, communities))
    for b in range(communities):
        slot = slots[names[b]]
        for i in range(len(labels)):
            count = counts[slot, i] if slot >= 0 else rows[names[b], i]
            links[labels[i], b] += count
            weights[labels[i], b] += sums[count]
    return links, weights


@compiled
def in_order_of_products(
    rows: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put the graph of the communities into CSR, its columns in the order that scipy's two products leave them in.

    Each product gives a row's columns last met, first. The next level's float32 sums follow this order.

    Parameters
    ----------
    rows, labels : ndarray
        As in :func:`links_between`.
    weights : ndarray
        float64, shape (C, C).

    Returns
    -------
    indptr, indices, data : ndarray
        int64, int64, float64.
    """
    n, communities = len(labels), len(weights)
    indptr = np.zeros(communities + 1, dtype=np.int64)
    indices = np.empty(communities * communities, dtype=np.int64)
    data = np.empty(communities * communities)
    wanted = np.zeros(communities, dtype=np.int64)
    for a in range(communities):
        for b in range(communities):
            wanted[a] += weights[a, b] != 0
    met = np.empty(communities, dtype=np.int64)
    met_by = np.full(communities, -1, dtype=np.int64)
    pushed = np.full((communities, communities), False)
    pushes = np.zeros(communities, dtype=np.int64)
    stack = np.empty((communities, communities), dtype=np.int64)
    for i in range(n):
        a = labels[i]
        if pushes[a] == wanted[a]:
            continue
        count = 0
        for j in range(n):
            b = labels[j]
            if rows[i, j] and met_by[b] != i:
                met_by[b] = i
                met[count] = b
                count += 1
                if count == wanted[a]:
                    break
        for m in range(count - 1, -1, -1):
            b = met[m]
            if not pushed[a, b]:
                pushed[a, b] = True
                stack[a, pushes[a]] = b
                pushes[a] += 1
    end = 0
    for a in range(communities):
        for m in range(pushes[a] - 1, -1, -1):
            indices[end], data[end] = stack[a, m], weights[a, stack[a, m]]
            end += 1
        indptr[a + 1] = end
    return indptr, indices[:end], data[:end]
