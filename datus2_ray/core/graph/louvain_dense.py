"""The first level of Louvain's method on a dense binary graph, compiled.

Two thirds of all pairs of patches are joined in the paper's graph, so nearly all the time goes into summing the links
of a node to the communities around it. Here these counts are kept: a row a community, changed by one row of the
adjacency when a node moves. A community that nobody has joined yet needs no row, it is its node's. All links weigh the
same, so the float32 sums by which scikit-network decides depend on the counts alone and come from a table: the
partition is the same to the last bit.
"""

from __future__ import annotations

import numpy as np

from datus2_ray.core.compiled import compiled
from datus2_ray.core.graph.louvain_gain import gain_without, is_better


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
    """Do what :func:`~datus2_ray.core.graph.louvain_csr.optimize` does, where every link weighs the same.

    Parameters
    ----------
    rows : ndarray
        Symmetric adjacency of 0 and 1, uint8, shape (N, N).
    order : ndarray
        In which order nodes are visited, int64, shape (N,).
    weights : ndarray
        Weight of every node, float32, shape (N,).
    link_sums : ndarray
        Sum of 0, 1, 2, … links, float32, shape (N + 1,).
    resolution, tolerance : float32
        As there.

    Returns
    -------
    labels : ndarray
        Community of every node, int64, shape (N,), named by one of the nodes.
    increase : float32
        Gain of modularity.
    slots : ndarray
        Which row of `counts` holds the links to a community, int64, shape (N,); -1 where it is its node alone.
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
    # Communities of one node that were never touched, in a list by weight, then label. Among those that a node is
    # linked to, the lightest gains it most, so few are looked at. Ends of the list: n.
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
                        break  # the others weigh as much or more
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
