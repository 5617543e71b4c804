from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from datus2_ray.core.images.decode import decode, resize
from datus2_ray.core.pretrain.texture import COMPONENTS, WINDOWS, texture
from datus2_ray.core.pretrain.texture_target import PLACE, SHARE, TAUGHT, TextureTarget, texture_distance

SIDE, PATCH, GRID = 64, 8, 8


@pytest.fixture(scope="module")
def images(scenes: Path) -> torch.Tensor:
    files = sorted((scenes / "images").iterdir())[:8]
    pixels = torch.stack([torch.from_numpy(resize(decode(file.read_bytes()), SIDE, SIDE)) for file in files])
    return pixels.permute(0, 3, 1, 2).float() / 255


def whole_vectors(images: torch.Tensor) -> torch.Tensor:
    """Texture and place at unit deviation, by the sample's own figures."""
    rows = texture(images, PATCH).double()
    flat = rows.flatten(0, 1)
    scaled = (rows - flat.mean(0)) / flat.std(0, correction=0)
    places = torch.arange(GRID).double()
    places = (places - places.mean()) / places.std(correction=0)
    columns, lines = torch.meshgrid(places * PLACE[0], places * PLACE[1], indexing="xy")
    place = torch.stack([columns.flatten(), lines.flatten()], dim=1).expand(len(images), -1, -1)
    return functional.normalize(torch.cat([scaled, place], dim=-1), dim=-1)


def test_targets_are_texture_and_place_at_unit_deviation(images):
    found = TextureTarget(PATCH)(images).double()
    assert found.shape == (len(images), GRID**2, TAUGHT)
    torch.testing.assert_close(found, whole_vectors(images), atol=1e-4, rtol=0)


def test_the_scale_is_that_of_all_images_seen(images):
    parts, whole = TextureTarget(PATCH), TextureTarget(PATCH)
    for part in (images[:3], images[3:5]):
        parts(part)
    whole(images[:5])
    torch.testing.assert_close(parts(images[5:]), whole(images[5:]), atol=1e-5, rtol=1e-4)


def test_the_scale_travels_with_the_state(images):
    first, second = TextureTarget(PATCH), TextureTarget(PATCH)
    first(images[:4])
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(images[4:]), second(images[4:]))
    assert not torch.equal(first(images[4:]), TextureTarget(PATCH)(images[4:]))


def test_images_are_counted_in_training_mode_only(images):
    target = TextureTarget(PATCH)
    target(images)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    target.eval()
    torch.testing.assert_close(target(images[:2]), TextureTarget(PATCH)(images)[:2])
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


def test_components_that_never_differ_do_not_count(images):
    # Of grey images the opponent colours and their deviations are constant, but for rounding at the border.
    found = TextureTarget(PATCH)(images.mean(1, keepdim=True).expand(-1, 3, -1, -1))
    opponents = [window * COMPONENTS // len(WINDOWS) + one for window in range(len(WINDOWS)) for one in (1, 2, 4, 5)]
    assert found[..., opponents].abs().max() < 1e-2
    others = [one for one in range(COMPONENTS) if one not in opponents]
    assert found[..., others].abs().amax((0, 1)).min() > 0.1


def tokens_of(taught: torch.Tensor, share: float, dim: int = 64) -> torch.Tensor:
    """Tokens whose first coordinates point there and have such a share of the squared length, which is 9."""
    rest = functional.normalize(torch.randn(*taught.shape[:-1], dim - TAUGHT), dim=-1)
    return 3 * torch.cat([share**0.5 * taught, (1 - share) ** 0.5 * rest], dim=-1)


def test_the_distance_asks_for_a_direction_and_a_share_of_the_length_and_leaves_the_rest_alone(images):
    target = TextureTarget(PATCH)(images)
    assert float(texture_distance(tokens_of(target, SHARE), target)) == pytest.approx(0, abs=1e-5)
    assert float(texture_distance(tokens_of(-target, SHARE), target)) == pytest.approx(2, abs=1e-5)
    assert float(texture_distance(tokens_of(target, 0), target)) == pytest.approx(0.5, abs=1e-5)
    assert all(float(texture_distance(tokens_of(target, share), target)) > 0.02 for share in (SHARE / 2, 1))
    other = functional.normalize(torch.randn(target.shape), dim=-1)
    cosine = float((other * target).sum(-1).mean())
    assert float(texture_distance(tokens_of(other, SHARE), target)) == pytest.approx(1 - cosine, abs=1e-4)
