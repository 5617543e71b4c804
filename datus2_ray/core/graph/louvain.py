"""Louvain community detection: one function for the compiled implementation and two libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from datus2_ray.core.graph.links import is_packed, unpack
from datus2_ray.errors import UsageError

#: scikit-network's default: a pass or a level that gains no more modularity than this is the last.
PAPER_TOLERANCE = 1e-3

#: The same where the highest modularity is sought.
FINE_TOLERANCE = 1e-7

#: A partition that gains no more modularity than this over single nodes has none: the search decides in float32, and in
#: a graph whose nodes are all joined its rounding moves some.
ROUNDING = 1e-9

#: Maximum nodes of a dense graph: its links are counted in 16 bits.
MAX_DENSE_NODES = 65_535


@dataclass(frozen=True)
class Partition:
    """The communities of one graph.

    Parameters
    ----------
    labels : ndarray
        Community of every node, int32, shape (N,), numbered from 0 in the order of their first node.
    modularity : float
        Newman's modularity at the resolution of the search.
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
        Symmetric, bool or non-negative weights, shape (N, N); self-loops are allowed. Or bool rows in bits, uint8,
        shape (N, ceil(N / 8)), from :func:`~datus2_ray.core.graph.build.pack`.
    library : {"compiled", "networkx", "python-louvain"}
        The compiled implementation gives bitwise the partition of scikit-network, which the paper uses (Dugue's
        modularity, tolerance 1e-3, no shuffling), wherever a move raises the modularity. The libraries shuffle the
        nodes by `seed`.
    resolution : float
        Higher values give more and smaller communities.
    seed : int
        Seed of the libraries, and of the shuffled orders.
    orders : int
        Orders in which nodes are visited, compiled only: as numbered with the paper's tolerance, then by rising degree
        and shuffled, with a tolerance of 1e-7. The partition of highest modularity is kept.

    Returns
    -------
    Partition
        One community where no move of a node raises the modularity, as in a complete graph or one without links: what
        shows no structure is one whole rather than as many parts as nodes. Without links the modularity is 0.

    Raises
    ------
    UsageError
        If python-louvain is used with a resolution other than 1, or a library with more than one order.

    References
    ----------
    Blondel et al., "Fast unfolding of communities in large networks", 2008. DatUS², step 4.
    """
    if library == "compiled":
        found = _compiled(adjacency, resolution, seed, orders)
    elif orders != 1:
        raise UsageError(f"louvain_orders = {orders} needs louvain = compiled, not {library}")
    else:
        found = _by_library(adjacency, library, resolution, seed)
    total, single = _of_single_nodes(adjacency, resolution)
    if found.modularity > single + ROUNDING:
        return found
    # All links are within the one community, and all degrees.
    return Partition(np.zeros(len(found.labels), dtype=np.int32), 1.0 - resolution if total else 0.0)


def _by_library(adjacency: np.ndarray | sp.csr_matrix, library: str, resolution: float, seed: int) -> Partition:
    graph = sp.csr_matrix(unpack(adjacency, len(adjacency)) if is_packed(adjacency) else adjacency)
    if graph.nnz == 0:  # its modularity is not defined
        return Partition(np.arange(graph.shape[0], dtype=np.int32), 0.0)
    labels = number_by_first(LIBRARIES[library](graph, resolution, seed))
    return Partition(labels, modularity(graph, labels, resolution))


def _compiled(adjacency: np.ndarray | sp.csr_matrix, resolution: float, seed: int, orders: int) -> Partition:
    # Imported here because numba takes half a second to load.
    from datus2_ray.core.compiled import frozen
    from datus2_ray.core.graph.louvain_dense import louvain_binary
    from datus2_ray.core.graph.louvain_sparse import Csr, louvain_weighted

    nodes = adjacency.shape[0]
    tolerances = np.array([PAPER_TOLERANCE] + [FINE_TOLERANCE] * (orders - 1))
    binary = isinstance(adjacency, np.ndarray) and (adjacency.dtype == bool or is_packed(adjacency))
    if binary and nodes <= MAX_DENSE_NODES:
        packed = frozen(adjacency if is_packed(adjacency) else np.packbits(adjacency, axis=1))
        visits = visiting_orders(np.bitwise_count(packed).sum(axis=1), orders, seed)
        labels, reached = louvain_binary(packed, visits, resolution, tolerances)
    else:
        dense = unpack(adjacency, nodes) if is_packed(adjacency) else adjacency
        graph = sp.csr_matrix(dense, dtype=np.float64, copy=True)
        graph.sum_duplicates()
        csr = Csr(graph.indptr.astype(np.int64), graph.indices.astype(np.int64), graph.data)
        visits = visiting_orders(np.asarray(graph.sum(axis=1)).ravel(), orders, seed)
        labels, reached = louvain_weighted(csr, visits, resolution, tolerances)
    return Partition(number_by_first(labels), reached)


def visiting_orders(degrees: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return orders of the nodes, int64 (count, N): as numbered, by rising degree, and shuffled.

    Where nearly all nodes are joined, those with few links have a choice and hubs have none. Visiting the former first
    finds, in some graphs of real images, far higher modularity than many random orders.
    """
    nodes, shuffle = len(degrees), np.random.default_rng(seed).permutation
    fixed = [np.arange(nodes), np.argsort(degrees, kind="stable")][:count]
    return np.stack([*fixed, *(shuffle(nodes) for _ in range(count - len(fixed)))])


def modularity(graph: sp.csr_matrix, labels: np.ndarray, resolution: float = 1.0) -> float:
    """Compute Newman's modularity ``sum_c (w_c / w - resolution · (v_c / w)²)``.

    ``w`` is the sum of all weights, ``w_c`` of those within community ``c``, and ``v_c`` the sum of its nodes' degrees.
    """
    links = graph.tocoo()
    shares = links.data / links.data.sum()
    inner = shares[labels[links.row] == labels[links.col]].sum()
    volumes = np.bincount(labels[links.row], weights=shares)
    return float(inner - resolution * (volumes**2).sum())


def _of_single_nodes(adjacency: np.ndarray | sp.csr_matrix, resolution: float) -> tuple[float, float]:
    """Return the sum of all weights, and the modularity of one community per node."""
    if is_packed(adjacency):
        i = np.arange(len(adjacency))
        loops = np.count_nonzero(adjacency[i, i >> 3] & (128 >> (i & 7)))
        degrees = np.bitwise_count(adjacency).sum(axis=1)
    else:
        loops = adjacency.diagonal().sum(dtype=np.float64)
        degrees = np.asarray(adjacency.sum(axis=1, dtype=np.float64)).ravel()
    total = float(degrees.sum())
    return total, float(loops / total - resolution * ((degrees / total) ** 2).sum()) if total else 0.0


def number_by_first(labels: np.ndarray) -> np.ndarray:
    """Renumber labels from 0 in the order in which they first occur; int32, same shape."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    numbers = np.empty(len(first), dtype=np.int32)
    numbers[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return numbers[inverse].reshape(labels.shape)


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
        raise UsageError(f"python-louvain needs resolution 1, not {resolution:g}: use compiled or networkx")
    labels = community.best_partition(nx.from_scipy_sparse_array(graph), random_state=seed)
    return np.array([labels[node] for node in range(graph.shape[0])])


LIBRARIES: dict[str, Callable[[sp.csr_matrix, float, int], np.ndarray]] = {
    "networkx": _networkx,
    "python-louvain": _python_louvain,
}
