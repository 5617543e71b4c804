from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

from datus2_ray.core.graph.build import nearest_neighbours
from datus2_ray.core.graph.links import LINK, symmetric_graph
from datus2_ray.core.graph.louvain import louvain


def features(seed: int, nodes: int = 60, dim: int = 12) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(2.0, 1.0, (nodes, dim)).astype(np.float32))


def links_of(vectors: torch.Tensor, count: int) -> np.ndarray:
    return nearest_neighbours(vectors, count).numpy().view(LINK)[..., 0]


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


def test_reading_a_graph_needs_no_torch() -> None:
    code = "import sys, datus2_ray.core.graph.links, datus2_ray.core.graph.segments; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
