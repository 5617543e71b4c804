"""Louvain community detection: compiled here, or by one of three libraries, behind one function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from datus2_ray.core.graph.links import is_packed, unpack
from datus2_ray.errors import UsageError

#: scikit-network's default: the gain of modularity that a pass or a level must bring for another one to follow.
PAPER_TOLERANCE = 1e-3

#: The same where the highest modularity is sought.
FINE_TOLERANCE = 1e-7

#: Nodes up to which links are counted in 16 bits; a dense graph of more would take gigabytes.
MOST_DENSE = 65_535


@dataclass(frozen=True)
class Partition:
    """The communities of one graph.

    Parameters
    ----------
    labels : ndarray
        Community of every node, int32, shape (N,), numbered from 0 in the order of their first node.
    modularity : float
        Newman's modularity of the partition at the resolution it was sought with.
    """

    labels: np.ndarray
    modularity: float

    @property
    def communities(self) -> int:
        """Number of communities."""
        return int(self.labels.max()) + 1


def louvain(
    adjacency: np.ndarray | sp.csr_matrix,
    *,
    library: str = "compiled",
    resolution: float = 1.0,
    seed: int = 0,
    orders: int = 1,
) -> Partition:
    """Partition an undirected graph by Louvain's method.

    Parameters
    ----------
    adjacency : ndarray or csr_matrix
        Symmetric, non-negative weights or bool, shape (N, N); self-loops are allowed. Or the rows of a bool one in
        bits, uint8, shape (N, ceil(N / 8)), as :func:`~datus2_ray.core.graph.build.pack` makes them.
    library : {"compiled", "scikit-network", "networkx", "python-louvain"}
        Which implementation. scikit-network is the paper's (Dugue's modularity, tolerance 1e-3, no shuffling); compiled
        is our own, which gives the same partition to the last bit. Neither takes a random choice; the others shuffle
        the nodes by `seed`.
    resolution : float
        Higher values give more and smaller communities.
    seed : int
        Of the libraries that shuffle, and of further orders.
    orders : int
        More than one, compiled only: after the paper's, nodes are visited by rising degree and in shuffled orders, down
        to a tolerance of 1e-7, and the partition of highest modularity is kept.

    Returns
    -------
    Partition
        Labels and modularity. A graph without an edge has a community a node and modularity 0.

    Raises
    ------
    UsageError
        python-louvain is asked for another resolution than 1, or another library than ours for several orders.

    References
    ----------
    Blondel et al., "Fast unfolding of communities in large networks", 2008. DatUS², step 4.
    """
    if library == "compiled":
        return _compiled(adjacency, resolution, seed, orders)
    if orders != 1:
        raise UsageError(f"several orders of the nodes are tried by the compiled Louvain only, not by {library}")
    graph = sp.csr_matrix(unpack(adjacency, len(adjacency)) if is_packed(adjacency) else adjacency)
    if graph.dtype != bool:
        graph = graph.astype(np.float64)  # scikit-network would cut other numbers down to integers
    if graph.nnz == 0:
        return Partition(np.arange(graph.shape[0], dtype=np.int32), 0.0)
    labels = _in_order_of_first_node(LIBRARIES[library](graph, resolution, seed))
    return Partition(labels, modularity(graph, labels, resolution))


def _compiled(adjacency: np.ndarray | sp.csr_matrix, resolution: float, seed: int, orders: int) -> Partition:
    # Here and not above: numba takes half a second to load, and the command line needs no graph.
    from datus2_ray.core.graph.louvain_dense import louvain_binary
    from datus2_ray.core.graph.louvain_sparse import louvain_weighted

    nodes = adjacency.shape[0]
    tolerances = np.array([PAPER_TOLERANCE] + [FINE_TOLERANCE] * (orders - 1))
    binary = isinstance(adjacency, np.ndarray) and (adjacency.dtype == bool or is_packed(adjacency))
    if binary and nodes <= MOST_DENSE:
        packed = (adjacency if is_packed(adjacency) else np.packbits(adjacency, axis=1)).view()
        packed.flags.writeable = False  # one kind of array, one compilation: what comes out of a table is read-only
        visits = visiting_orders(np.bitwise_count(packed).sum(axis=1), orders, seed)
        labels, reached = louvain_binary(packed, visits, resolution, tolerances)
    else:
        dense = unpack(adjacency, nodes) if is_packed(adjacency) else adjacency
        graph = sp.csr_matrix(dense, dtype=np.float64, copy=True)
        graph.sum_duplicates()
        indptr, indices = graph.indptr.astype(np.int64), graph.indices.astype(np.int64)
        visits = visiting_orders(np.asarray(graph.sum(axis=1)).ravel(), orders, seed)
        labels, reached = louvain_weighted(indptr, indices, graph.data, visits, resolution, tolerances)
    return Partition(_in_order_of_first_node(labels), reached)


def visiting_orders(degrees: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Give the orders in which nodes are visited, int64 (count, N): their own, by rising degree, and shuffled ones.

    Where nearly all nodes are joined, those with few links have a choice and hubs have none: with these first, some
    graphs of real images come out far better than in many random orders.
    """
    nodes, shuffle = len(degrees), np.random.default_rng(seed).permutation
    known = [np.arange(nodes), np.argsort(degrees, kind="stable")][:count]
    return np.stack([*known, *(shuffle(nodes) for _ in range(count - len(known)))])


def modularity(graph: sp.csr_matrix, labels: np.ndarray, resolution: float = 1.0) -> float:
    """Compute Newman's modularity ``sum_c (w_c / w - resolution · (v_c / w)²)``, one definition for every library.

    ``w`` is the sum of all weights, ``w_c`` of those within community ``c``, and ``v_c`` the sum of its nodes' degrees.
    """
    from sknetwork.clustering import get_modularity

    return float(get_modularity(graph, labels, resolution=resolution))


def _in_order_of_first_node(labels: np.ndarray) -> np.ndarray:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return rank[inverse]


def _scikit_network(graph: sp.csr_matrix, resolution: float, seed: int) -> np.ndarray:
    from sknetwork.clustering import Louvain

    algorithm = Louvain(
        resolution=resolution, modularity="dugue", tol_optimization=PAPER_TOLERANCE, tol_aggregation=PAPER_TOLERANCE
    )
    return np.asarray(algorithm.fit_predict(graph))


def _networkx(graph: sp.csr_matrix, resolution: float, seed: int) -> np.ndarray:
    import networkx as nx

    nodes = nx.from_scipy_sparse_array(graph)
    labels = np.empty(graph.shape[0], dtype=np.int64)
    for community, members in enumerate(nx.community.louvain_communities(nodes, resolution=resolution, seed=seed)):
        labels[list(members)] = community
    return labels


def _python_louvain(graph: sp.csr_matrix, resolution: float, seed: int) -> np.ndarray:
    import community
    import networkx as nx

    if resolution != 1.0:
        # Version 0.16 moves nodes by one meaning of resolution and stops by its inverse: at 0.3 it finds more
        # communities than at 1.6.
        raise UsageError("python-louvain is only right at resolution 1; choose scikit-network or networkx for others")
    labels = community.best_partition(nx.from_scipy_sparse_array(graph), random_state=seed)
    return np.array([labels[node] for node in range(graph.shape[0])])


LIBRARIES: dict[str, Callable[[sp.csr_matrix, float, int], np.ndarray]] = {
    "scikit-network": _scikit_network,
    "networkx": _networkx,
    "python-louvain": _python_louvain,
}
