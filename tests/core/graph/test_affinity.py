from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.graph.affinity import binary_affinity, pack, pack_on_device
from datus2_ray.core.graph.packed_bits import unpack


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
