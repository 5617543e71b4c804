"""Louvain's method on a weighted sparse graph, compiled: step for step what scikit-network computes, to the last bit.

scikit-network's sums are float32, so the partition depends on the order in which they are made. This follows it:
nodes in their order, ties to the lowest label, both aggregation products in the order of scipy's matrix product.
"""

from __future__ import annotations

import numpy as np

from datus2_ray.core.compiled import compiled
from datus2_ray.core.graph.louvain_gain import gain_without, is_better
from datus2_ray.core.graph.louvain_merge import aggregate, renumber


@compiled
def optimize(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    order: np.ndarray,
    weights: np.ndarray,
    resolution: np.float32,
    tolerance: np.float32,
) -> tuple[np.ndarray, np.float32]:
    """Move nodes one after the other into the neighbouring community that raises modularity most, in passes.

    Parameters
    ----------
    indptr, indices, data : ndarray
        Symmetric adjacency in CSR that sums to 1; `data` float32.
    order : ndarray
        In which order nodes are visited, int64, shape (N,).
    weights : ndarray
        Weight of every node, its row's share of all weights, float32, shape (N,).
    resolution, tolerance : float32
        The least gain of modularity in a pass that makes another one worth while.

    Returns
    -------
    labels : ndarray
        Community of every node, int64, shape (N,), named by one of the nodes.
    increase : float32
        Gain of modularity.
    """
    n = len(weights)
    labels = np.arange(n)
    community_weights = weights.copy()
    links = np.zeros(n, dtype=np.float32)  # of the current node to each community
    met = np.empty(n, dtype=np.int64)
    increase = np.float32(0)
    while True:
        increase_pass = np.float32(0)
        for i in order:
            own = labels[i]
            count = 0
            loop = np.float32(0)
            for p in range(indptr[i], indptr[i + 1]):
                j = indices[p]
                label = labels[j]
                if links[label] == 0 and label != own:
                    met[count] = label
                    count += 1
                links[label] += data[p]
                if j == i:
                    loop += data[p]
            weight = weights[i]
            pull = resolution * weight
            leaving = gain_without(links[own] - loop, pull, community_weights[own] - weight)
            best, best_gain = own, np.float32(0)
            for m in range(count):
                label = met[m]
                gain = gain_without(links[label], pull, community_weights[label]) - leaving
                if is_better(gain, label, best_gain, best, own):
                    best, best_gain = label, gain
                links[label] = 0
            links[own] = 0
            if best != own:
                increase_pass += best_gain
                labels[i] = best
                community_weights[own] -= weight
                community_weights[best] += weight
        increase += increase_pass
        if increase_pass <= tolerance:
            return labels, increase


@compiled
def louvain_levels(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    order: np.ndarray,
    weights: np.ndarray,
    resolution: float,
    tolerance: float,
) -> np.ndarray:
    """Optimise and aggregate until a level gains no more than the tolerance.

    Parameters
    ----------
    indptr, indices, data : ndarray
        Symmetric adjacency in CSR that sums to 1; `data` float64.
    order : ndarray
        In which order nodes are visited in the first level, int64, shape (N,).
    weights : ndarray
        Node weights, float64, shape (N,).
    resolution, tolerance : float
        As in scikit-network, where both tolerances are the same here.

    Returns
    -------
    ndarray
        Community of every node, int64, shape (N,), numbered from 0.
    """
    partition = np.arange(len(weights))
    while True:
        labels, increase = optimize(
            indptr,
            indices,
            data.astype(np.float32),
            order,
            weights.astype(np.float32),
            np.float32(resolution),
            np.float32(tolerance),
        )
        count = renumber(labels)
        for i in range(len(partition)):
            partition[i] = labels[partition[i]]
        if count == 1 or np.float64(increase) <= tolerance:
            return partition
        indptr, indices, data, weights = aggregate(indptr, indices, data, weights, labels, count)
        order = np.arange(count)


@compiled
def louvain_weighted(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    orders: np.ndarray,
    resolution: float,
    tolerances: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Partition an undirected weighted graph: the best of several orders of its nodes.

    Parameters
    ----------
    indptr, indices, data : ndarray
        Symmetric adjacency in CSR, columns sorted; int64, int64, float64.
    orders : ndarray
        Orders in which nodes are visited, int64, shape (O, N). The first of equals is kept.
    resolution : float
        As in :func:`louvain_levels`.
    tolerances : ndarray
        The tolerance of each order, float64, shape (O,).

    Returns
    -------
    labels : ndarray
        Community of every node, int64, shape (N,).
    modularity : float
        Newman's modularity at this resolution. A graph without a link has a community a node and modularity 0.
    """
    n = len(indptr) - 1
    weights = np.zeros(n)
    for i in range(n):
        for p in range(indptr[i], indptr[i + 1]):
            weights[i] += data[p]
    total = weights.sum()
    best, highest = np.arange(n), 0.0
    if total == 0:
        return best, highest
    weights, shares = weights / total, data / data.sum()
    for number in range(len(orders)):
        labels = louvain_levels(indptr, indices, shares, orders[number], weights, resolution, tolerances[number])
        volumes = np.zeros(n)
        modularity = 0.0
        for i in range(n):
            volumes[labels[i]] += weights[i]
            for p in range(indptr[i], indptr[i + 1]):
                if labels[indices[p]] == labels[i]:
                    modularity += shares[p]
        modularity -= resolution * (volumes**2).sum()
        if number == 0 or modularity > highest:
            best, highest = labels, modularity
    return best, highest
