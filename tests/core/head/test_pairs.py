"""Pairs of images: the nearest ones, and draws that stay within the images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from datus2_ray.core.head import pairs
from datus2_ray.core.head.pairs import Draws, nearest_images


def test_the_nearest_images_are_those_of_the_largest_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "BLOCK", 8)
    means = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    unit = (means / means.norm(dim=1, keepdim=True)).numpy()
    cosines = unit @ unit.T - 3 * np.eye(30)
    np.testing.assert_array_equal(nearest_images(means, 7), np.argsort(-cosines, axis=1)[:, :7])
    assert nearest_images(means[:3], 7).sort(dim=1).values.tolist() == [[1, 2], [0, 2], [0, 1]]


def test_a_step_sees_images_one_like_each_and_another_at_points_that_they_have() -> None:
    sizes = np.array([3, 50, 1, 7, 20])
    nearest = np.array([[1, 2], [0, 3], [3, 4], [4, 0], [2, 1]])
    draws, again = (Draws(nearest, sizes, 4, 30, seed=3) for _ in range(2))
    seen = set()
    for _ in range(50):
        images, points = draws.next()
        for drawn, expected in zip((images, points), again.next(), strict=True):
            np.testing.assert_array_equal(drawn, expected)
        chosen, alike, other = images
        assert len(set(chosen)) == 4
        assert all(number in nearest[image] for image, number in zip(chosen, alike, strict=True))
        assert (other != chosen).all()
        assert points.shape == (3, 4, 30)
        assert (points >= 0).all()
        assert (points < sizes[images][..., None]).all()
        seen |= set(points[images == 3].ravel())
    assert seen == set(range(7))
