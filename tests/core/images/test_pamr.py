"""Pixel-adaptive mask refinement against a slow reading of the paper, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datus2_ray.core.images.pamr import DILATIONS, SHARPNESS, affinities, sharpen


def slow(image: np.ndarray, probabilities: np.ndarray, dilations: tuple[int, ...], iterations: int) -> np.ndarray:
    """Go through every pixel and every neighbour, one by one; float64."""
    pixels = image.astype(np.float64) / 255
    _, height, width = image.shape

    def around(values: np.ndarray, y: int, x: int) -> np.ndarray:
        places = [(y + d * i, x + d * j) for d in dilations for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
        return np.array([values[:, min(max(a, 0), height - 1), min(max(b, 0), width - 1)] for a, b in places])

    weights = {}
    for y in range(height):
        for x in range(width):
            near = around(pixels, y, x)
            k = -(np.abs(near - pixels[:, y, x]) / (SHARPNESS * near.std(axis=0, ddof=1) + 1e-8)).mean(axis=1)
            e = np.exp(k - k.max())
            weights[y, x] = e / e.sum()
    for _ in range(iterations):
        averaged = np.empty_like(probabilities)
        for (y, x), weight in weights.items():
            averaged[:, y, x] = weight @ around(probabilities, y, x)
        probabilities = averaged
    return probabilities


def random_case(seed: int, height: int, width: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
    return image, torch.randn((classes, height, width), generator=generator).softmax(0)


@settings(max_examples=20)
@given(
    st.integers(0, 999), st.integers(2, 9), st.integers(2, 9), st.integers(1, 4), st.sampled_from([(1,), (1, 2), (3,)])
)
def test_equals_a_slow_reading(seed: int, height: int, width: int, classes: int, dilations: tuple[int, ...]) -> None:
    image, probabilities = random_case(seed, height, width, classes)
    expected = slow(image.numpy(), probabilities.double().numpy(), dilations, 3)
    np.testing.assert_allclose(sharpen(image, probabilities, dilations, 3).numpy(), expected, atol=1e-4)


@given(st.integers(0, 999))
def test_probabilities_stay_probabilities(seed: int) -> None:
    image, probabilities = random_case(seed, 30, 40, 3)
    sharp = sharpen(image, probabilities)
    assert sharp.min() >= 0
    torch.testing.assert_close(sharp.sum(0), torch.ones(30, 40))
    torch.testing.assert_close(affinities(image, DILATIONS).sum(0), torch.ones(30, 40))


def test_without_any_edge_all_neighbours_count_alike() -> None:
    grey = torch.full((3, 12, 12), 77, dtype=torch.uint8)
    weights = affinities(grey, (1, 2))
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / 16))


@pytest.mark.parametrize("off", [-3, -1, 2, 4])
def test_a_border_that_is_off_moves_onto_the_edge(off: int) -> None:
    image = torch.full((3, 64, 64), 40, dtype=torch.uint8)
    image[:, :, 30:] = 200
    image += torch.randint(0, 12, image.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros((2, 64, 64))
    mask[0, :, : 30 + off] = 1
    mask[1] = 1 - mask[0]
    labels = sharpen(image, mask).argmax(0)
    assert (labels[:, :30] == 0).all()
    assert (labels[:, 30:] == 1).all()
