"""The graph of nearest neighbours: against scikit-learn, and on patches whose neighbours are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from datus2_ray.core.louvain import louvain
from datus2_ray.core.neighbour_graph import nearest_neighbours
from datus2_ray.core.neighbour_links import LINK, symmetric_graph


def features(seed: int, nodes: int = 60, dim: int = 12) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(2.0, 1.0, (nodes, dim)).astype(np.float32))


def links_of(vectors: torch.Tensor, count: int) -> np.ndarray:
    return nearest_neighbours(vectors, count).numpy().view(LINK)[..., 0]


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_and_weights_are_scikit_learns(seed: int) -> None:
    vectors = features(seed)
    links = links_of(vectors, 7)
    centred = (vectors - vectors.mean(0)).numpy()
    distances, patches = NearestNeighbors(n_neighbors=8, metric="cosine").fit(centred).kneighbors(centred)
    assert (links["patch"] == patches[:, 1:]).all()
    np.testing.assert_allclose(links["weight"], np.maximum(1 - distances[:, 1:], 0), atol=1e-6)


def test_the_graph_is_symmetric_and_holds_what_either_patch_lists() -> None:
    links = links_of(features(0), 5)
    graph = symmetric_graph(links)
    assert (graph != graph.T).nnz == 0
    assert not graph.diagonal().any()
    joined = {(i, j) for i, row in enumerate(links) for j, weight in row.tolist() if weight > 0}
    assert set(zip(*graph.nonzero(), strict=True)) == joined | {(j, i) for i, j in joined}


def test_patches_that_point_away_from_each_other_are_not_joined() -> None:
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    graph = symmetric_graph(links_of(vectors, 3)).toarray()
    assert graph.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]


def test_groups_of_like_patches_become_communities() -> None:
    rng = np.random.default_rng(3)
    centres = np.eye(4, 16) * 5
    groups = np.repeat(np.arange(4), 25)
    vectors = torch.from_numpy((centres[groups] + rng.normal(0, 0.5, (100, 16))).astype(np.float32))
    partition = louvain(symmetric_graph(links_of(vectors, 10)))
    assert (partition.labels == groups).all()


def test_equal_patches_have_no_direction_and_no_links() -> None:
    links = links_of(torch.ones(6, 3), 4)
    assert symmetric_graph(links).nnz == 0


def test_an_image_of_few_patches_lists_them_all() -> None:
    assert links_of(features(1, nodes=4), 16).shape == (4, 3)
