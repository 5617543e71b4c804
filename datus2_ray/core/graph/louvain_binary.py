"""Louvain's method on the paper's graph, compiled: dense, every link of the same weight, read from packed bits."""

from __future__ import annotations

import numpy as np

from datus2_ray.core.compiled import compiled
from datus2_ray.core.graph.louvain_csr import louvain_levels
from datus2_ray.core.graph.louvain_dense import optimize_binary
from datus2_ray.core.graph.louvain_dense_merge import in_order_of_products, links_between
from datus2_ray.core.graph.louvain_merge import renumber


@compiled
def unpack_rows(packed: np.ndarray, n: int) -> np.ndarray:
    """Unpack bits, first bit highest; uint8 of 0 and 1, shape (N, N)."""
    rows = np.empty((n, n), dtype=np.uint8)
    whole = n // 8
    for i in range(n):
        for b in range(whole):
            byte = packed[i, b]
            for t in range(8):
                rows[i, 8 * b + t] = (byte >> (7 - t)) & 1
        for j in range(8 * whole, n):
            rows[i, j] = (packed[i, j >> 3] >> (7 - (j & 7))) & 1
    return rows


@compiled
def sums_of_links(n: int, link: float) -> tuple[np.ndarray, np.ndarray]:
    """Sum 0 … n links of this weight one after the other, as a loop over them rounds: float64 and float32 (n + 1,)."""
    sums = np.zeros(n + 1)
    sums32 = np.zeros(n + 1, dtype=np.float32)
    for count in range(n):
        sums[count + 1] = sums[count] + link
        sums32[count + 1] = sums32[count] + np.float32(link)
    return sums, sums32


@compiled
def partition_binary(
    rows: np.ndarray,
    order: np.ndarray,
    degrees: np.ndarray,
    sums: np.ndarray,
    sums32: np.ndarray,
    resolution: float,
    tolerance: float,
) -> tuple[np.ndarray, float]:
    """Partition an undirected graph whose links all weigh the same, visiting its nodes in one order.

    Parameters
    ----------
    rows : ndarray
        Symmetric adjacency of 0 and 1 with at least one link, uint8, shape (N, N).
    order : ndarray
        In which order nodes are visited, int64, shape (N,).
    degrees : ndarray
        Links of every node, int64, shape (N,).
    sums, sums32 : ndarray
        As :func:`sums_of_links` gives them; a link's weight is its share of all.
    resolution, tolerance : float
        As in scikit-network, where both tolerances are the same here.

    Returns
    -------
    labels : ndarray
        Community of every node, int64, shape (N,).
    modularity : float
        Newman's modularity at this resolution.
    """
    n, total = len(degrees), degrees.sum()
    weights = degrees / total
    labels, increase, slots, counts = optimize_binary(
        rows, order, weights.astype(np.float32), sums32, np.float32(resolution), np.float32(tolerance)
    )
    names = np.unique(labels)
    communities = renumber(labels)
    links, merged = links_between(rows, labels, names, slots, counts, sums)
    if communities > 1 and np.float64(increase) > tolerance:
        indptr, indices, data = in_order_of_products(rows, labels, merged)
        merged_weights = np.zeros(communities)
        for i in range(n):
            merged_weights[labels[i]] += weights[i]
        partition = louvain_levels(indptr, indices, data, np.arange(communities), merged_weights, resolution, tolerance)
    else:
        partition = np.arange(communities)
    inner, volumes = 0, np.zeros(communities, dtype=np.int64)
    for a in range(communities):
        for b in range(communities):
            volumes[partition[a]] += links[a, b]
            if partition[a] == partition[b]:
                inner += links[a, b]
    modularity = inner / total
    for volume in volumes:
        modularity -= resolution * (volume / total) ** 2
    return partition[labels], modularity


@compiled
def louvain_binary(
    packed: np.ndarray, orders: np.ndarray, resolution: float, tolerances: np.ndarray
) -> tuple[np.ndarray, float]:
    """Partition an undirected graph whose links all weigh the same: the best of several orders of its nodes.

    Parameters
    ----------
    packed : ndarray
        Symmetric adjacency in bits, uint8, shape (N, ceil(N / 8)), as :func:`~affinity.pack` makes it.
    orders : ndarray
        Orders in which nodes are visited, int64, shape (O, N); N at most 65,535. The first of equals is kept.
    resolution : float
        As in :func:`partition_binary`.
    tolerances : ndarray
        The tolerance of each order, float64, shape (O,).

    Returns
    -------
    labels : ndarray
        Community of every node, int64, shape (N,).
    modularity : float
        Newman's modularity at this resolution. A graph without a link has a community a node and modularity 0.
    """
    n = orders.shape[1]
    rows = unpack_rows(packed, n)
    degrees = np.zeros(n, dtype=np.int64)
    for i in range(n):
        for j in range(n):
            degrees[i] += rows[i, j]
    if degrees.sum() == 0:
        return np.arange(n), 0.0
    sums, sums32 = sums_of_links(n, 1.0 / degrees.sum())
    best, highest = degrees, -np.inf
    for number in range(len(orders)):
        labels, modularity = partition_binary(
            rows, orders[number], degrees, sums, sums32, resolution, tolerances[number]
        )
        if number == 0 or modularity > highest:
            best, highest = labels, modularity
    return best, highest
