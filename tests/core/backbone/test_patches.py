"""Vectors of patches: the mean over blocks, views and windows, against the same by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.backbone.patches import extract_patches, extract_tiled, window_starts
from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import Backbone, load_backbone
from datus2_ray.errors import BackboneError

pytestmark = pytest.mark.usefixtures("one_thread")

TOKEN, KEY = Tap("token"), Tap("key")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("untrained:vit_tiny_patch16_224")


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 48, 80, 3), np.uint8))


@pytest.mark.parametrize("kind", ["key", "token"])
def test_one_block_of_one_view_is_what_the_backbone_gives(backbone: Backbone, pixels: torch.Tensor, kind: str) -> None:
    tap = Tap(kind, 4)  # type: ignore[arg-type]
    (vectors,) = extract_patches(backbone, pixels, [(tap,)], mirrored=False)
    assert torch.equal(vectors, backbone.extract(pixels, [tap])[tap])


def test_several_blocks_give_their_mean(backbone: Backbone, pixels: torch.Tensor) -> None:
    taps = (Tap("token", -1), Tap("token", -2), Tap("token", -3))
    vectors, keys = extract_patches(backbone, pixels, [taps, (Tap("key"),)], mirrored=False)
    expected = sum(backbone.extract(pixels, taps).values()) / 3
    torch.testing.assert_close(vectors, expected)
    assert torch.equal(keys, backbone.extract(pixels, [Tap("key")])[Tap("key")])


def test_a_mirrored_image_has_mirrored_vectors(backbone: Backbone, pixels: torch.Tensor) -> None:
    means = [(Tap("token"),)]
    (here,) = extract_patches(backbone, pixels, means, mirrored=True)
    (there,) = extract_patches(backbone, pixels.flip(2), means, mirrored=True)
    assert torch.equal(here.reshape(2, 3, 5, -1).flip(2), there.reshape(2, 3, 5, -1))
    assert not torch.allclose(here, backbone.extract(pixels, [Tap("token")])[Tap("token")])


def test_windows_are_turned_with_the_mirror_image(backbone: Backbone, pixels: torch.Tensor) -> None:
    means = [(Tap("token"),)]
    (here,) = extract_patches(backbone, pixels, means, mirrored=True, tile=48)
    (there,) = extract_patches(backbone, pixels.flip(2), means, mirrored=True, tile=48)
    torch.testing.assert_close(here.reshape(2, 3, 5, -1).flip(2), there.reshape(2, 3, 5, -1))


def image_of(height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, height, width, 3), np.uint8))


@given(st.integers(1, 60), st.integers(1, 20), st.sampled_from([8, 14, 16]))
def test_windows_cover_the_image_and_share_half_or_more(patches: int, tile: int, patch: int) -> None:
    starts = window_starts(patches * patch, tile * patch, patch)
    assert starts[0] == 0
    assert all(start % patch == 0 for start in starts)
    if patches <= tile:
        assert starts == [0]
        return
    assert starts[-1] == (patches - tile) * patch
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert steps.max() <= max(1, tile // 2) * patch
    assert steps.max() - steps.min() <= patch


def test_an_image_no_larger_than_the_tile_is_seen_whole(backbone: Backbone) -> None:
    image = image_of(48, 64)
    whole = backbone.extract(image, [TOKEN, KEY])
    for tile in (None, 64, 224):
        found = extract_tiled(backbone, image, [TOKEN, KEY], tile)
        assert all(torch.equal(found[tap], whole[tap]) for tap in whole)


def test_a_patch_gets_the_mean_of_the_windows_that_show_it(backbone: Backbone) -> None:
    image = image_of(48, 80)
    found = extract_tiled(backbone, image, [TOKEN, KEY], 48)
    # Three windows of 3 x 3 patches, one patch apart.
    for tap, vectors in found.items():
        seen = [
            backbone.extract(image[:, :, left : left + 48], [tap])[tap].reshape(2, 3, 3, -1) for left in (0, 16, 32)
        ]
        columns = [
            seen[0][:, :, 0],
            (seen[0][:, :, 1] + seen[1][:, :, 0]) / 2,
            (seen[0][:, :, 2] + seen[1][:, :, 1] + seen[2][:, :, 0]) / 3,
            (seen[1][:, :, 2] + seen[2][:, :, 1]) / 2,
            seen[2][:, :, 2],
        ]
        torch.testing.assert_close(vectors.reshape(2, 3, 5, -1), torch.stack(columns, dim=2))


def test_what_does_not_fit_is_refused(backbone: Backbone) -> None:
    with pytest.raises(BackboneError, match="none of the whole image"):
        extract_tiled(backbone, image_of(48, 80), [Tap("cls")], 48)
    for image in (image_of(48, 80), image_of(32, 32)):  # also where no window would be cut
        with pytest.raises(BackboneError, match=r"of 40 pixels do not fit the patch of 16; give discover.tile=32"):
            extract_tiled(backbone, image, [TOKEN], 40)
