"""Louvain community detection by one of three libraries behind one function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from datus2_ray.errors import UsageError


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
    adjacency: np.ndarray | sp.csr_matrix, *, library: str = "scikit-network", resolution: float = 1.0, seed: int = 0
) -> Partition:
    """Partition an undirected graph by Louvain's method.

    Parameters
    ----------
    adjacency : ndarray or csr_matrix
        Symmetric, non-negative weights or bool, shape (N, N); self-loops are allowed.
    library : {"scikit-network", "networkx", "python-louvain"}
        Which implementation. The first is the paper's (Dugue's modularity, tolerance 1e-3, no shuffling) and takes no
        random choice; the others shuffle the nodes by `seed`.
    resolution : float
        Higher values give more and smaller communities.
    seed : int
        Seed of the libraries that need one.

    Returns
    -------
    Partition
        Labels and modularity. A graph without an edge has a community a node and modularity 0.

    Raises
    ------
    UsageError
        python-louvain is asked for another resolution than 1.

    References
    ----------
    Blondel et al., "Fast unfolding of communities in large networks", 2008. DatUS², step 4.
    """
    graph = sp.csr_matrix(adjacency)
    if graph.nnz == 0:
        return Partition(np.arange(graph.shape[0], dtype=np.int32), 0.0)
    labels = _in_order_of_first_node(LIBRARIES[library](graph, resolution, seed))
    return Partition(labels, modularity(graph, labels, resolution))


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

    algorithm = Louvain(resolution=resolution, modularity="dugue", tol_optimization=1e-3, tol_aggregation=1e-3)
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
