"""Read a graph that :mod:`~datus2_ray.core.graph.build` made; without torch, which CPU tasks need not import."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

#: One neighbour of a patch; a weight of 0 is no link.
LINK = np.dtype([("patch", "<i4"), ("weight", "<f4")])


def is_packed(adjacency: np.ndarray | sp.csr_matrix) -> bool:
    """Check whether a graph is in bits: its rows are then shorter than its columns (from two nodes on)."""
    return (
        isinstance(adjacency, np.ndarray)
        and adjacency.dtype == np.uint8
        and adjacency.shape[1] == (len(adjacency) + 7) // 8
    )


def unpack(packed: np.ndarray, n: int) -> np.ndarray:
    """Unpack the bits of :func:`~datus2_ray.core.graph.build.pack` into a bool adjacency, shape (N, N)."""
    return np.unpackbits(packed, axis=1, count=n).view(bool)


def symmetric_graph(links: np.ndarray) -> sp.csr_matrix:
    """Join two patches if either is among the other's neighbours.

    `links` is of :data:`LINK`, shape (N, k); the graph float64, bitwise symmetric, shape (N, N), without self-loops.
    """
    nodes, count = links.shape
    rows = np.repeat(np.arange(nodes), count)
    weights = links["weight"].ravel().astype(np.float64)
    directed = sp.csr_matrix((weights, (rows, links["patch"].ravel())), shape=(nodes, nodes))
    directed.eliminate_zeros()
    # Two cosines of the same pair may differ in their last bit: the larger one is taken for both.
    graph: sp.csr_matrix = directed.maximum(directed.T).tocsr()
    graph.sort_indices()
    return graph
