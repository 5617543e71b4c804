from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from datus2_ray.core.images import decode, resize
from datus2_ray.core.texture import texture
from datus2_ray.core.texture_target import PLACE, TextureTarget, cosine_distance

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


@pytest.mark.parametrize("dim", [64, 192])
def test_cosines_are_those_of_texture_and_place_at_unit_deviation(images, dim):
    found = TextureTarget(dim, PATCH)(images).flatten(0, 1).double()
    expected = whole_vectors(images).flatten(0, 1)
    assert found.shape[1] == dim
    torch.testing.assert_close(found @ found.T, expected @ expected.T, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(len(found)).double(), atol=1e-5, rtol=0)


def test_the_scale_is_that_of_all_images_seen(images):
    parts, whole = TextureTarget(64, PATCH), TextureTarget(64, PATCH)
    for part in (images[:3], images[3:5]):
        parts(part)
    whole(images[:5])
    torch.testing.assert_close(parts(images[5:]), whole(images[5:]), atol=1e-5, rtol=1e-4)


def test_the_scale_travels_with_the_state(images):
    first, second = TextureTarget(64, PATCH), TextureTarget(64, PATCH)
    first(images[:4])
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(images[4:]), second(images[4:]))


def test_a_component_that_never_differs_is_no_harm():
    assert torch.isfinite(TextureTarget(64, PATCH)(torch.full((2, 3, SIDE, SIDE), 0.5))).all()


def test_the_distance_asks_for_the_direction_alone(images):
    target = TextureTarget(64, PATCH)(images)
    assert float(cosine_distance(3 * target, target)) == pytest.approx(0, abs=1e-5)
    assert float(cosine_distance(-target, target)) == pytest.approx(2, abs=1e-5)
