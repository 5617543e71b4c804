"""From the patches' lists of neighbours to a symmetric sparse graph; without torch, which CPU tasks need not load."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

#: A neighbour in a patch's list; a weight of 0 is no link.
LINK = np.dtype([("patch", "<i4"), ("weight", "<f4")])


def symmetric_graph(links: np.ndarray) -> sp.csr_matrix:
    """Join two patches if either is among the other's neighbours.

    Parameters
    ----------
    links : ndarray
        Of :data:`LINK`, shape (N, k).

    Returns
    -------
    csr_matrix
        float64, symmetric to the last bit, shape (N, N), without self-loops.
    """
    nodes, count = links.shape
    rows = np.repeat(np.arange(nodes), count)
    weights = links["weight"].ravel().astype(np.float64)
    directed = sp.csr_matrix((weights, (rows, links["patch"].ravel())), shape=(nodes, nodes))
    directed.eliminate_zeros()
    # Two cosines of the same pair may differ in their last bit: the larger one holds for both.
    graph: sp.csr_matrix = directed.maximum(directed.T).tocsr()
    graph.sort_indices()
    return graph
