from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from datus2_ray.core.images.decode import decode
from datus2_ray.core.images.resize import resize
from datus2_ray.core.pretrain.texture import (
    COMPONENTS,
    DIRECTIONS,
    PLACE,
    SHARE,
    TAUGHT,
    WINDOWS,
    TextureTarget,
    texture,
    texture_distance,
)  # fmt: skip

SIDE, PATCH = 64, 8
GRID = SIDE // PATCH
OF_A_WINDOW = COMPONENTS // len(WINDOWS)


@pytest.fixture(scope="module")
def images(scenes: Path) -> torch.Tensor:
    files = sorted((scenes / "images").iterdir())[:8]
    pixels = torch.stack([torch.from_numpy(resize(decode(file.read_bytes()), SIDE, SIDE)) for file in files])
    return pixels.permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def image(images: torch.Tensor) -> torch.Tensor:
    return images[:1]


def naive(image: np.ndarray, row: int, column: int) -> np.ndarray:
    """One patch alone, with NumPy, as the formulas say."""
    red, green, blue = image
    brightness = image.mean(0)
    here = np.s_[row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH]
    colours = [values[here] for values in (brightness, red - green, (red + green) / 2 - blue)]
    down, right = np.gradient(brightness)
    strength = np.hypot(down, right)[here]
    bins = np.rint(np.degrees(np.arctan2(down, right))[here] / 22.5) % DIRECTIONS
    histogram = [np.where(bins == one, strength, 0).mean() for one in range(DIRECTIONS)]
    deviations = [values.std() for values in colours]
    return np.concatenate(
        [[values.mean() for values in colours], np.log(np.add(deviations, 1e-2)), np.log(np.add(histogram, 1e-3))]
    )


def test_a_patch_is_described_as_the_formulas_say(image):
    found = texture(image, PATCH).reshape(GRID, GRID, COMPONENTS)
    alone = np.array([[naive(image[0].double().numpy(), row, column) for column in range(GRID)] for row in range(GRID)])
    torch.testing.assert_close(found[..., :OF_A_WINDOW].double(), torch.from_numpy(alone), atol=2e-2, rtol=0)
    for number, side in enumerate(WINDOWS):
        around = side // 2
        window = found[..., number * OF_A_WINDOW : (number + 1) * OF_A_WINDOW]
        for row, column in ((0, 0), (3, 4), (GRID - 1, 2)):
            cells = found[
                max(0, row - around) : row + around + 1, max(0, column - around) : column + around + 1, :OF_A_WINDOW
            ]
            torch.testing.assert_close(window[row, column], cells.mean((0, 1)), rtol=1e-4, atol=1e-5)


def test_mirroring_mirrors_places_and_directions(image):
    mirrored = texture(image.flip(-1), PATCH).reshape(GRID, GRID, COMPONENTS).flip(1)
    found = texture(image, PATCH).reshape(GRID, GRID, COMPONENTS)
    torch.testing.assert_close(mirrored[..., :6], found[..., :6], atol=1e-3, rtol=0)
    back = mirrored[..., 6:OF_A_WINDOW].flip(-1).roll(1, -1)  # the vertical and the horizontal are their own mirrors
    torch.testing.assert_close(back, found[..., 6:OF_A_WINDOW], atol=1e-2, rtol=0)


def test_an_edge_shows_in_its_direction_only():
    across = torch.linspace(0, 1, SIDE).expand(1, 3, SIDE, SIDE)
    found = texture(across, PATCH)[0, :, 6 : 6 + DIRECTIONS].exp() - 1e-3
    torch.testing.assert_close(found[:, 0], torch.full((GRID**2,), 1 / (SIDE - 1)), rtol=1e-3, atol=0)
    assert found[:, 1:].abs().max() < 1e-6
    turned = texture(across.transpose(2, 3), PATCH)[0, :, 6 : 6 + DIRECTIONS]
    assert set(turned.argmax(1).tolist()) == {DIRECTIONS // 2}


def test_an_even_image_has_no_texture():
    found = texture(torch.full((1, 3, SIDE, SIDE), 0.5), PATCH)
    assert found[..., 3:6].max() == pytest.approx(math.log(1e-2), abs=0.05)
    assert found[..., 6:OF_A_WINDOW].max() == pytest.approx(math.log(1e-3), abs=0.05)


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
