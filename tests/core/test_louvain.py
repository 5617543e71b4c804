from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from sknetwork.clustering import Louvain

from datus2_ray.core.louvain import LIBRARIES, louvain, modularity
from datus2_ray.errors import UsageError


def planted(
    groups: int = 4, size: int = 25, inside: float = 0.7, outside: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(groups), size)
    chance = np.where(truth[:, None] == truth[None], inside, outside)
    upper = np.triu(rng.random(chance.shape) < chance)
    return upper | upper.T, truth


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_library_finds_planted_groups(library: str) -> None:
    adjacency, truth = planted()
    found = louvain(adjacency, library=library)
    np.testing.assert_array_equal(found.labels, truth)  # both are numbered by first node
    assert found.communities == 4
    assert found.labels.dtype == np.int32


@pytest.mark.parametrize("library", ["scikit-network", "networkx"])
def test_higher_resolution_never_gives_fewer_communities(library: str) -> None:
    adjacency, _ = planted(groups=3, size=30, inside=0.5, outside=0.2)
    counts = [louvain(adjacency, library=library, resolution=r, seed=1).communities for r in (0.3, 1.0, 1.6)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


@pytest.mark.parametrize("library", LIBRARIES)
def test_one_seed_one_answer(library: str) -> None:
    adjacency, _ = planted(inside=0.3, outside=0.2)
    first, second = (louvain(adjacency, library=library, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first.labels, second.labels)


def test_python_louvain_refuses_a_resolution_that_it_gets_wrong() -> None:
    with pytest.raises(UsageError, match="resolution 1"):
        louvain(planted()[0], library="python-louvain", resolution=1.3)


def test_default_is_scikit_network_as_the_paper_calls_it() -> None:
    import scipy.sparse as sp

    adjacency, _ = planted(inside=0.35, outside=0.2)
    theirs = Louvain().fit_predict(sp.csr_matrix(adjacency))
    ours = louvain(adjacency).labels
    # The same partition, whatever the numbers of its communities.
    pairs = {(int(a), int(b)) for a, b in zip(theirs, ours, strict=True)}
    assert len(pairs) == len(set(theirs)) == len(set(ours))


def test_modularity_is_newmans() -> None:
    adjacency, truth = planted()
    np.fill_diagonal(adjacency, False)  # networkx counts a self-loop twice
    import scipy.sparse as sp

    groups = [set(np.flatnonzero(truth == g).tolist()) for g in range(4)]
    theirs = nx.community.modularity(nx.from_numpy_array(adjacency.astype(int)), groups, resolution=1.3)
    assert modularity(sp.csr_matrix(adjacency), truth, 1.3) == pytest.approx(theirs)


def test_graph_without_edges() -> None:
    found = louvain(np.zeros((5, 5), dtype=bool))
    assert found.labels.tolist() == [0, 1, 2, 3, 4]
    assert found.modularity == 0
