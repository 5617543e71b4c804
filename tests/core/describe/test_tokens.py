from __future__ import annotations

import numpy as np

from datus2_ray.core.describe.tokens import join, l2_normalise, mean_tokens


def test_mean_tokens_is_the_normalised_mean_of_each_segment() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(12, 5)).astype(np.float16)
    patch_map = np.array([[0, 0, 1, -1], [0, 1, 1, -1], [2, 2, 2, 2]])
    found = mean_tokens(tokens, patch_map, 3)
    for segment in range(3):
        mean = tokens[patch_map.ravel() == segment].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(found[segment], mean / np.linalg.norm(mean), rtol=1e-6)


def test_an_image_of_noise_has_no_descriptor() -> None:
    assert mean_tokens(np.ones((4, 5)), np.full((2, 2), -1), 0).shape == (0, 5)


def test_zero_vector_stays_zero() -> None:
    assert l2_normalise(np.zeros((1, 3))).tolist() == [[0, 0, 0]]


def test_the_product_of_joined_descriptors_is_the_mean_of_both_cosines() -> None:
    rng = np.random.default_rng(0)
    first, second = (l2_normalise(rng.normal(size=(7, dim))) for dim in (5, 3))
    joined = join(first, second)
    assert joined.dtype == np.float32
    np.testing.assert_allclose(joined @ joined.T, (first @ first.T + second @ second.T) / 2, atol=1e-6)
