"""Louvain's method on a weighted sparse graph, compiled; bitwise the partition of scikit-network.

scikit-network sums in float32, so its partition depends on the order of the sums. The order is the same here: nodes in
the given order, ties to the lowest label, both products of the aggregation in the order of scipy's matrix product.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datus2_ray.core.compiled import compiled


class Csr(NamedTuple):
    """A sparse matrix in CSR: int64 (N + 1,), int64, and float64 or float32 values."""

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray


@compiled
def gain_without(links: np.float32, pull: np.float32, community_weight: np.float32) -> np.float32:
    """Compute the gain in modularity from joining a community, without the loss from leaving the old one.

    `links` is the sum of the links between node and community, `pull` resolution times the node's weight, and
    `community_weight` the sum of the weights of the community's other nodes.
    """
    gain = np.float32(2) * links
    # Twice, each rounded: in scikit-network these are the terms of in-weights and of out-weights.
    gain -= pull * community_weight
    gain -= pull * community_weight
    return gain


@compiled
def is_better(gain: np.float32, label: int, best_gain: np.float32, best: int, own: int) -> bool:
    """Check whether a move has a higher gain than the best so far; of equal gains the lowest label wins."""
    return bool(gain > best_gain or (gain == best_gain and best != own and label < best))


@compiled
def renumber(labels: np.ndarray) -> int:
    """Renumber labels from 0 in place, in their order, and return how many there are."""
    numbers = np.zeros(labels.max() + 1, dtype=np.int64)
    for label in labels:
        numbers[label] = 1
    count = 0
    for label in range(len(numbers)):
        if numbers[label]:
            numbers[label] = count
            count += 1
    for i in range(len(labels)):
        labels[i] = numbers[labels[i]]
    return count


@compiled
def optimize(
    graph: Csr, order: np.ndarray, weights: np.ndarray, resolution: np.float32, tolerance: np.float32
) -> tuple[np.ndarray, np.float32]:
    """Move each node to the neighbouring community that raises modularity most, in passes over all nodes.

    Parameters
    ----------
    graph : Csr
        Symmetric, float32, sums to 1.
    order : ndarray
        Order in which nodes are visited, int64, shape (N,).
    weights : ndarray
        Sum of each row, float32, shape (N,).
    resolution : float32
    tolerance : float32
        A pass that gains no more than this is the last.

    Returns
    -------
    labels : ndarray
        Community of every node, int64, shape (N,), named by one of the nodes.
    increase : float32
        Gain in modularity.
    """
    n = len(weights)
    indptr, indices, data = graph.indptr, graph.indices, graph.data
    labels = np.arange(n)
    community_weights = weights.copy()
    links = np.zeros(n, dtype=np.float32)  # of the current node to each community
    candidates = np.empty(n, dtype=np.int64)
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
                    candidates[count] = label
                    count += 1
                links[label] += data[p]
                if j == i:
                    loop += data[p]
            weight = weights[i]
            pull = resolution * weight
            leaving = gain_without(links[own] - loop, pull, community_weights[own] - weight)
            best, best_gain = own, np.float32(0)
            for m in range(count):
                label = candidates[m]
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
def _product(left: Csr, right: Csr, columns: int) -> Csr:
    """Multiply two matrices as scipy does (Gustavson): the columns of a row come out in reverse order of discovery.

    One of the two must have a single entry per row or per column.
    """
    rows = len(left.indptr) - 1
    out_indptr = np.zeros(rows + 1, dtype=np.int64)
    size = max(len(left.data), len(right.data))  # no more entries can come out, since one factor only sums or copies
    out_indices = np.empty(size, dtype=np.int64)
    out_data = np.empty(size, dtype=np.float64)
    sums = np.zeros(columns)
    following = np.full(columns, -1, dtype=np.int64)
    end = 0
    for i in range(rows):
        head, length = -2, 0
        for p in range(left.indptr[i], left.indptr[i + 1]):
            j = left.indices[p]
            for q in range(right.indptr[j], right.indptr[j + 1]):
                k = right.indices[q]
                sums[k] += left.data[p] * right.data[q]
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
    return Csr(out_indptr, out_indices[:end], out_data[:end])


@compiled
def aggregate(graph: Csr, weights: np.ndarray, labels: np.ndarray, count: int) -> tuple[Csr, np.ndarray]:
    """Merge the nodes of each of `count` communities: return the graph of the communities and their weights, float64.

    `labels` are the nodes' communities, int64, in [0, count).
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
    by_column = _product(graph, Csr(np.arange(n + 1), labels, ones), count)
    return _product(Csr(members_indptr, members, ones), by_column, count), merged_weights


@compiled
def louvain_levels(
    graph: Csr, order: np.ndarray, weights: np.ndarray, resolution: float, tolerance: float
) -> np.ndarray:
    """Optimise and aggregate until a level gains no more than the tolerance.

    Parameters are those of :func:`optimize`, but in float64; `order` is that of the first level, later levels visit
    their nodes by number. Returns the community of every node, int64, shape (N,), numbered from 0.
    """
    partition = np.arange(len(weights))
    while True:
        shares, weights32 = graph.data.astype(np.float32), weights.astype(np.float32)
        rounded = Csr(graph.indptr, graph.indices, shares)
        labels, increase = optimize(rounded, order, weights32, np.float32(resolution), np.float32(tolerance))
        count = renumber(labels)
        for i in range(len(partition)):
            partition[i] = labels[partition[i]]
        if count == 1 or np.float64(increase) <= tolerance:
            return partition
        graph, weights = aggregate(graph, weights, labels, count)
        order = np.arange(count)


@compiled
def louvain_weighted(
    graph: Csr, orders: np.ndarray, resolution: float, tolerances: np.ndarray
) -> tuple[np.ndarray, float]:
    """Partition a weighted graph in several orders of its nodes and keep the highest modularity, of equals the first.

    Parameters
    ----------
    graph : Csr
        Symmetric, float64, columns sorted.
    orders : ndarray
        Orders in which nodes are visited, int64, shape (O, N).
    resolution : float
    tolerances : ndarray
        One per order, float64, shape (O,).

    Returns
    -------
    labels : ndarray
        Community of every node, int64, shape (N,).
    modularity : float
        A graph without links has one community per node and modularity 0.
    """
    indptr, indices, data = graph.indptr, graph.indices, graph.data
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
        labels = louvain_levels(Csr(indptr, indices, shares), orders[number], weights, resolution, tolerances[number])
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
