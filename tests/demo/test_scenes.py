from __future__ import annotations

import hashlib

import numpy as np
import pytest

from datus2_ray.demo.noise import noise, noise_tile, sample_tile
from datus2_ray.demo.scenes import render
from datus2_ray.sources.layouts.demo import CLASSES


def fingerprint(index: int, seed: int = 0) -> str:
    pixels, labels = render(index, seed)
    return hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def scenes() -> list[tuple[np.ndarray, np.ndarray]]:
    return [render(index) for index in range(16)]


def test_shapes_types_and_classes(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for pixels, labels in scenes:
        assert pixels.shape == (240, 320, 3)
        assert labels.shape == (240, 320)
        assert pixels.dtype == labels.dtype == np.uint8
        # No unlabelled pixel.
        assert labels.max() < len(CLASSES)


def test_a_scene_depends_on_its_index_and_seed_alone() -> None:
    forwards = [fingerprint(index) for index in range(8)]
    backwards = [fingerprint(index) for index in reversed(range(8))][::-1]
    assert forwards == backwards
    assert len(set(forwards)) == 8
    assert fingerprint(3, seed=1) != forwards[3]


def test_every_class_has_its_share(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    counts = np.array([np.bincount(labels.ravel(), minlength=len(CLASSES)) for _, labels in scenes])
    shares = counts.sum(axis=0) / counts.sum()
    assert shares.min() > 0.05
    assert shares.max() < 0.40
    # Each class is in many scenes, and no scene is of one class alone.
    assert ((counts > 200).sum(axis=0) >= 3).all()
    assert (counts.max(axis=1) < 0.8 * counts.sum(axis=1)).all()


def test_pictures_are_textured_and_neither_dark_nor_burnt(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for pixels, labels in scenes:
        grey = pixels.mean(axis=2)
        assert 50 < grey.mean() < 200
        assert grey.std() > 20
        assert (pixels == 255).mean() < 0.05
        # A flat fill would have a deviation of about 1, from the sensor's grain.
        for label in np.unique(labels):
            if (labels == label).sum() > 2000:
                assert grey[labels == label].std() > 3


def test_classes_differ_in_colour(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Six mean colours alone tell more than half of the pixels apart, and far from all."""
    pixels = np.concatenate([p[::6, ::6].reshape(-1, 3) for p, _ in scenes]).astype(np.float32)
    labels = np.concatenate([m[::6, ::6].ravel() for _, m in scenes])
    means = np.stack([pixels[labels == k].mean(axis=0) for k in range(len(CLASSES))])
    nearest = ((pixels[:, None] - means) ** 2).sum(-1).argmin(axis=1)
    assert 0.45 < (nearest == labels).mean() < 0.9


@pytest.mark.parametrize("size", [(8, 8), (60, 200), (224, 224), (300, 120)])
def test_other_sizes(size: tuple[int, int]) -> None:
    for index in range(8):
        pixels, labels = render(index, height=size[0], width=size[1])
        assert pixels.shape == (*size, 3)
        assert labels.shape == size
        assert labels.max() < len(CLASSES)


def test_noise_has_mean_zero_and_deviation_one() -> None:
    for values in (
        noise(np.random.default_rng(0), 400, 400, 5.0),
        noise(np.random.default_rng(1), 400, 400, 16.0, octaves=4),
        noise_tile(1.0),
    ):
        assert abs(float(values.mean())) < 0.15
        assert 0.8 < float(values.std()) < 1.2


def test_the_noise_tile_is_endless_and_bilinear() -> None:
    tile = noise_tile(1.2)
    v, u = np.meshgrid(np.arange(0, 9, dtype=np.float32), np.arange(0, 9, dtype=np.float32), indexing="ij")
    np.testing.assert_array_equal(sample_tile(tile, v, u), tile[:9, :9])
    np.testing.assert_array_equal(sample_tile(tile, v - 512, u + 1024), tile[:9, :9])
    between = sample_tile(tile, v + np.float32(0.5), u)
    np.testing.assert_allclose(between, (tile[:9, :9] + tile[1:10, :9]) / 2, atol=1e-6)
