"""Louvain's method on the graph of the paper, compiled: dense, links of equal weight; bitwise scikit-network's result.

Two thirds of all pairs of patches are joined, so nearly all the time goes into summing the links of a node to the
communities around it. These counts are kept instead: one row per community, updated by one row of the adjacency when a
node moves. A community that no node has joined yet needs no row of counts: it is the node's row of the adjacency. Links
weigh the same, so the float32 sums by which scikit-network decides depend on the counts alone and come from a table.
"""

from __future__ import annotations

import numpy as np

from datus2_ray.core.compiled import compiled
from datus2_ray.core.graph.louvain_sparse import Csr, gain_without, is_better, louvain_levels, renumber


@compiled
def unpack_rows(packed: np.ndarray, n: int) -> np.ndarray:
    """Unpack bits, first bit highest, into uint8 of 0 and 1, shape (N, N)."""
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
    """Sum 0 … n links of this weight one by one, with the rounding of a loop: float64 and float32, shape (n + 1,)."""
    sums = np.zeros(n + 1)
    sums32 = np.zeros(n + 1, dtype=np.float32)
    for count in range(n):
        sums[count + 1] = sums[count] + link
        sums32[count + 1] = sums32[count] + np.float32(link)
    return sums, sums32


@compiled
def _join(counts: np.ndarray, row: np.ndarray) -> None:
    for j in range(len(counts)):
        counts[j] += row[j]


@compiled
def _leave(counts: np.ndarray, row: np.ndarray) -> None:
    for j in range(len(counts)):
        counts[j] -= row[j]


@compiled
def optimize_binary(
    rows: np.ndarray,
    order: np.ndarray,
    weights: np.ndarray,
    link_sums: np.ndarray,
    resolution: np.float32,
    tolerance: np.float32,
) -> tuple[np.ndarray, np.float32, np.ndarray, np.ndarray]:
    """Compute :func:`~datus2_ray.core.graph.louvain_sparse.optimize` where all links weigh the same.

    `rows` is the symmetric adjacency of 0 and 1, uint8 (N, N); `link_sums` from :func:`sums_of_links`, float32.

    Returns
    -------
    labels, increase
        As there.
    slots : ndarray
        Row of `counts` that holds the links to a community, int64, shape (N,); -1 for a community of its node alone.
    counts : ndarray
        Links of every node to the communities that have a row, uint16.
    """
    n = len(weights)
    labels = np.arange(n)
    community_weights = weights.copy()
    slots = np.full(n, -1, dtype=np.int64)
    names = np.empty(n, dtype=np.int64)  # community of each slot
    sizes = np.empty(n, dtype=np.int64)
    counts = np.empty((n, n), dtype=np.uint16)
    used = 0
    # Linked list of the communities of one node that no other node has joined, by weight, then label. Of those that a
    # node is linked to, the lightest has the highest gain, so few are looked at. Both ends of the list are n.
    following = np.empty(n + 1, dtype=np.int64)
    before = np.empty(n + 1, dtype=np.int64)
    last = n
    for label in np.argsort(weights, kind="mergesort"):
        following[last], before[label] = label, last
        last = label
    following[last], before[n] = n, last
    increase = np.float32(0)
    while True:
        increase_pass = np.float32(0)
        for i in order:
            own = labels[i]
            weight = weights[i]
            pull = resolution * weight
            links = counts[slots[own], i] if slots[own] >= 0 else rows[own, i]
            leaving = gain_without(link_sums[links] - link_sums[rows[i, i]], pull, community_weights[own] - weight)
            best, best_gain = own, np.float32(0)
            for slot in range(used):
                links = counts[slot, i]
                label = names[slot]
                if links > 0 and label != own:
                    gain = gain_without(link_sums[links], pull, community_weights[label]) - leaving
                    if is_better(gain, label, best_gain, best, own):
                        best, best_gain = label, gain
            label = following[n]
            while label != n:
                if label != own and rows[i, label]:
                    gain = gain_without(link_sums[1], pull, community_weights[label]) - leaving
                    if is_better(gain, label, best_gain, best, own):
                        best, best_gain = label, gain
                    elif gain < best_gain or gain <= 0:
                        break  # all later ones weigh as much or more
                label = following[label]
            if best == own:
                continue
            increase_pass += best_gain
            labels[i] = best
            community_weights[own] -= weight
            community_weights[best] += weight
            if slots[best] < 0:
                following[before[best]], before[following[best]] = following[best], before[best]
                slots[best], names[used], sizes[used] = used, best, 1
                for j in range(n):
                    counts[used, j] = rows[best, j]
                used += 1
            _join(counts[slots[best]], rows[i])
            sizes[slots[best]] += 1
            slot = slots[own]
            if slot < 0:
                following[before[own]], before[following[own]] = following[own], before[own]
                continue
            _leave(counts[slot], rows[i])
            sizes[slot] -= 1
            if sizes[slot] == 0:
                used -= 1
                names[slot], sizes[slot] = names[used], sizes[used]
                counts[slot] = counts[used]
                slots[names[slot]] = slot
                slots[own] = -1
        increase += increase_pass
        if increase_pass <= tolerance:
            return labels, increase, slots, counts


@compiled
def links_between(
    rows: np.ndarray, labels: np.ndarray, names: np.ndarray, slots: np.ndarray, counts: np.ndarray, sums: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sum the links between every two communities: int64 and float64, both of shape (C, C).

    The float64 sums have the rounding of scikit-network's matrix products. `labels` are numbered from 0; ``names[c]``
    is the node that names community c in the result of :func:`optimize_binary`, which also returns `slots` and
    `counts`; `sums` comes from :func:`sums_of_links`.
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
def in_order_of_products(rows: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Csr:
    """Convert the graph of the communities (C, C) to CSR, its columns in the order of scipy's two matrix products.

    Each product reverses the order in which a row's columns are discovered. The float32 sums of the next level follow
    this order.
    """
    n, communities = len(labels), len(weights)
    indptr = np.zeros(communities + 1, dtype=np.int64)
    indices = np.empty(communities * communities, dtype=np.int64)
    data = np.empty(communities * communities)
    wanted = np.zeros(communities, dtype=np.int64)
    for a in range(communities):
        for b in range(communities):
            wanted[a] += weights[a, b] != 0
    found = np.empty(communities, dtype=np.int64)
    found_by = np.full(communities, -1, dtype=np.int64)
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
            if rows[i, j] and found_by[b] != i:
                found_by[b] = i
                found[count] = b
                count += 1
                if count == wanted[a]:
                    break
        for m in range(count - 1, -1, -1):
            b = found[m]
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
    return Csr(indptr, indices[:end], data[:end])


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
    """Partition a graph with at least one link, visiting its nodes in one order.

    `rows` and `order` as in :func:`optimize_binary`; `degrees` int64; `sums` and `sums32` from :func:`sums_of_links`,
    of links that sum to 1 over the whole graph. Returns labels, int64, and their modularity.
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
        graph = in_order_of_products(rows, labels, merged)
        merged_weights = np.zeros(communities)
        for i in range(n):
            merged_weights[labels[i]] += weights[i]
        partition = louvain_levels(graph, np.arange(communities), merged_weights, resolution, tolerance)
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
    """Compute :func:`~datus2_ray.core.graph.louvain_sparse.louvain_weighted` of a bool graph in bits.

    `packed` is uint8, shape (N, ceil(N / 8)), from :func:`~datus2_ray.core.graph.build.pack`; N at most 65,535.
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
