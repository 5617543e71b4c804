from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from datus2_ray.core.graph.build import binary_affinity, nearest_neighbours, pack, pack_on_device, pair_penalties
from datus2_ray.core.graph.links import LINK, unpack


def features(seed: int, nodes: int = 60, dim: int = 12) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(2.0, 1.0, (nodes, dim)).astype(np.float32))


def links_of(vectors: torch.Tensor, count: int) -> np.ndarray:
    return nearest_neighbours(vectors, count).numpy().view(LINK)[..., 0]


@given(n=st.integers(1, 70), d=st.integers(1, 9), seed=st.integers(0, 99))
def test_affinity_is_the_sign_of_every_dot_product(n: int, d: int, seed: int) -> None:
    # Small integers: every product is exact, so the naive loop must agree to the last edge.
    features = np.random.default_rng(seed).integers(-3, 4, (n, d)).astype(np.float32)
    naive = np.array([[float(np.dot(a, b)) > 0 for b in features] for a in features])
    np.testing.assert_array_equal(binary_affinity(torch.from_numpy(features)).numpy(), naive)


@pytest.mark.parametrize("n", [195, 196, 197, 500])
def test_affinity_made_in_strips_is_that_of_one_product(n: int) -> None:
    features = torch.from_numpy(np.random.default_rng(n).integers(-3, 4, (n, 7)).astype(np.float32))
    assert torch.equal(binary_affinity(features), features @ features.T > 0)


@pytest.mark.parametrize("packer", [pack, pack_on_device])
@pytest.mark.parametrize("n", [1, 7, 8, 9, 196, 784])
def test_packed_bits_are_those_of_numpy_and_come_back(n: int, packer: Callable[[torch.Tensor], torch.Tensor]) -> None:
    adjacency = np.random.default_rng(n).random((n, n)) < 0.4
    packed = packer(torch.from_numpy(adjacency)).numpy()
    np.testing.assert_array_equal(packed, np.packbits(adjacency, axis=1))
    np.testing.assert_array_equal(unpack(packed, n), adjacency)


def test_graph_is_symmetric_where_the_product_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    # Stands for a device that rounds A_ij and A_ji differently: two entries near zero fall on different sides.
    product = torch.tensor([[1.0, 1e-9, -1.0], [-1e-9, 1.0, 2.0], [-1.0, 2.0, 1.0]])
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda self, other: product)
    assert binary_affinity(torch.zeros(3, 2)).tolist() == [[True, True, False], [True, True, True], [False, True, True]]


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_and_weights_are_scikit_learns(seed: int) -> None:
    vectors = features(seed)
    links = links_of(vectors, 7)
    centred = (vectors - vectors.mean(0)).numpy()
    distances, patches = NearestNeighbors(n_neighbors=8, metric="cosine").fit(centred).kneighbors(centred)
    assert (links["patch"] == patches[:, 1:]).all()
    np.testing.assert_allclose(links["weight"], np.maximum(1 - distances[:, 1:], 0), atol=1e-6)


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
