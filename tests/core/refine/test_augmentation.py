from __future__ import annotations

import pytest
import torch

from datus2_ray.core.refine.augmentation import augment

NOISE = {torch.uint8: 255, torch.int32: 65535}


def scene(count: int, dtype: torch.dtype = torch.uint8) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures whose red says the label: 0 on the left, 200 on the right."""
    labels = torch.zeros((count, 64, 64), dtype=dtype)
    labels[:, :, 32:] = 1
    pictures = torch.full((count, 3, 64, 64), 90, dtype=torch.uint8)
    pictures[:, 0] = (labels * 200).to(torch.uint8)
    return pictures, labels


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", NOISE)
def test_shapes_and_types_stay_and_no_label_is_invented(dtype):
    pictures, labels = scene(16, dtype)
    new_pictures, new_labels = augment(pictures, labels, generator(0))
    assert new_pictures.shape == pictures.shape
    assert new_pictures.dtype == torch.uint8
    assert type(new_labels) is torch.Tensor
    assert new_labels.shape == labels.shape
    assert new_labels.dtype == dtype
    assert set(new_labels.unique().tolist()) == {0, 1, NOISE[dtype]}


def test_labels_move_with_the_picture():
    pictures, labels = augment(*scene(32), generator(1))
    red = pictures[:, 0].float()
    # Where a picture was shrunk its border is blended, and outside of it there is noise.
    right, left = red[labels == 1], red[labels == 0]
    assert (right > 100).float().mean() > 0.99
    assert (left < 100).float().mean() > 0.99


def test_what_lies_outside_a_shrunken_image_is_noise_and_grey():
    pictures, labels = augment(*scene(32), generator(2))
    outside = labels == 255
    share = outside.flatten(1).float().mean(1)
    assert (share == 0).any()
    assert (share > 0.4).any()
    # Its grey has nearly equal channels, in any light; the picture's red is 0 or 200 against 90.
    spread = (pictures[:, 0].int() - pictures[:, 1].int()).abs()
    assert (spread[outside] < 40).all()


def test_images_are_mirrored_and_scaled_differently():
    _, labels = augment(*scene(64), generator(3))
    first = labels[:, 32, 16]
    last = labels[:, 32, 47]
    mirrored = ((first == 1) & (last == 0)).float().mean()
    upright = ((first == 0) & (last == 1)).float().mean()
    assert mirrored > 0.1
    assert upright > 0.1


def test_the_same_seed_gives_the_same_images_and_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, second, other = (augment(*scene(4), generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


def test_an_image_does_not_depend_on_the_rest_of_its_batch():
    pictures, labels = scene(4)
    whole = augment(pictures, labels, generator(8))
    other = pictures.clone()
    other[1:] = 0
    assert torch.equal(augment(other, labels, generator(8))[0][0], whole[0][0])
