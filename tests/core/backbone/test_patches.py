"""Vectors of patches: the mean over blocks and views, against the same by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from datus2_ray.core.backbone.patches import extract_patches
from datus2_ray.core.backbone.vit import Backbone, Tap, load_backbone


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("untrained:vit_tiny_patch16_224")


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 48, 80, 3), np.uint8))


@pytest.mark.parametrize("kind", ["key", "token"])
def test_one_block_of_one_view_is_what_the_backbone_gives(backbone: Backbone, pixels: torch.Tensor, kind: str) -> None:
    tap = Tap(kind, 4)  # type: ignore[arg-type]
    (vectors,), also = extract_patches(backbone, pixels, [(tap,)], [Tap("cls")], mirrored=False)
    expected = backbone.extract(pixels, [tap, Tap("cls")])
    assert torch.equal(vectors, expected[tap])
    assert list(also) == [Tap("cls")]
    assert torch.equal(also[Tap("cls")], expected[Tap("cls")])


def test_several_blocks_give_their_mean(backbone: Backbone, pixels: torch.Tensor) -> None:
    taps = (Tap("token", -1), Tap("token", -2), Tap("token", -3))
    (vectors, keys), _ = extract_patches(backbone, pixels, [taps, (Tap("key"),)], mirrored=False)
    expected = sum(backbone.extract(pixels, taps).values()) / 3
    torch.testing.assert_close(vectors, expected)
    assert torch.equal(keys, backbone.extract(pixels, [Tap("key")])[Tap("key")])


def test_a_mirrored_image_has_mirrored_vectors(backbone: Backbone, pixels: torch.Tensor) -> None:
    means = [(Tap("token"),)]
    (here,), also = extract_patches(backbone, pixels, means, [Tap("token")], mirrored=True)
    (there,), _ = extract_patches(backbone, pixels.flip(2), means, mirrored=True)
    assert torch.equal(here.reshape(2, 3, 5, -1).flip(2), there.reshape(2, 3, 5, -1))
    alone = backbone.extract(pixels, [Tap("token")])[Tap("token")]
    assert torch.equal(also[Tap("token")], alone)  # what is read beside is of the image as it is
    assert not torch.allclose(here, alone)


def test_windows_are_turned_with_the_mirror_image(backbone: Backbone, pixels: torch.Tensor) -> None:
    means = [(Tap("token"),)]
    (here,), also = extract_patches(backbone, pixels, means, [Tap("token")], mirrored=True, tile=48)
    (there,), _ = extract_patches(backbone, pixels.flip(2), means, mirrored=True, tile=48)
    torch.testing.assert_close(here.reshape(2, 3, 5, -1).flip(2), there.reshape(2, 3, 5, -1))
    (alone,), _ = extract_patches(backbone, pixels, means, tile=48)
    assert torch.equal(also[Tap("token")], alone)  # the baseline sees what the graph sees
