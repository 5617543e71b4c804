"""The graph of nearest neighbours: against scikit-learn, and on patches whose neighbours are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from datus2_ray.core.graph.louvain import louvain
from datus2_ray.core.graph.neighbour_graph import nearest_neighbours, pair_penalties
from datus2_ray.core.graph.neighbour_links import LINK, symmetric_graph


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


def test_a_weight_up_to_the_threshold_is_no_link() -> None:
    vectors = features(2)
    every, fewer = (
        nearest_neighbours(vectors, 7, threshold=threshold).numpy().view(LINK)[..., 0] for threshold in (0.0, 0.4)
    )
    assert (every["patch"] == fewer["patch"]).all()
    assert (fewer["weight"] == np.where(every["weight"] > 0.4, every["weight"], 0)).all()
    assert 0 < np.count_nonzero(fewer["weight"]) < np.count_nonzero(every["weight"])


def test_penalties_are_taken_off_before_neighbours_are_chosen() -> None:
    vectors = features(3, nodes=20)
    penalties = torch.rand(20, 20, generator=torch.Generator().manual_seed(0))
    links = nearest_neighbours(vectors, 4, penalties=penalties).numpy().view(LINK)[..., 0]
    unit = torch.nn.functional.normalize(vectors - vectors.mean(0), dim=1)
    weights = unit @ unit.T - penalties
    weights.fill_diagonal_(-np.inf)
    expected, patches = weights.sort(dim=1, descending=True)
    assert (links["patch"] == patches[:, :4].numpy()).all()
    np.testing.assert_allclose(links["weight"], expected[:, :4].clamp(min=0).numpy(), atol=1e-6)


@pytest.mark.parametrize(("place", "colour"), [(0.3, 0.0), (0.0, 0.2), (0.3, 0.2)])
def test_a_pair_loses_on_average_what_is_given_and_more_the_farther_apart(place: float, colour: float) -> None:
    pixels = torch.from_numpy(np.random.default_rng(4).integers(0, 256, (24, 40, 3), np.uint8))
    lost = pair_penalties(pixels, (3, 5), place, colour)
    assert torch.equal(lost, lost.T)
    assert not lost.diagonal().any()
    assert lost.mean().item() == pytest.approx(place + colour, rel=1e-5)  # a patch and itself are a pair too
    if not colour:
        assert lost[0, 2].item() == pytest.approx(4 * lost[0, 1].item(), rel=1e-5)
        assert lost[0, 1].item() == pytest.approx(lost[0, 5].item(), rel=1e-5)
    if not place:
        patch = pixels.float().reshape(3, 8, 5, 8, 3).mean(dim=(1, 3)).flatten(0, 1)
        ratio = (patch[3] - patch[7]).square().sum() / (patch[0] - patch[1]).square().sum()
        assert (lost[3, 7] / lost[0, 1]).item() == pytest.approx(ratio.item(), rel=1e-4)


def test_an_image_of_one_colour_loses_nothing_for_it() -> None:
    image = torch.full((16, 16, 3), 7, dtype=torch.uint8)
    assert not pair_penalties(image, (2, 2), 0.0, 1.0).any()
    image[0, 0, 0] = 8  # what nobody sees
    assert pair_penalties(image, (2, 2), 0.0, 1.0).max() < 1e-3
