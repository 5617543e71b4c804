from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from datus2_ray.core.images.decode import decode, resize
from datus2_ray.core.pretrain.texture import COMPONENTS, DIRECTIONS, WINDOWS, texture

SIDE, PATCH = 64, 8
GRID = SIDE // PATCH
OF_A_WINDOW = COMPONENTS // len(WINDOWS)


@pytest.fixture(scope="module")
def image(scenes: Path) -> torch.Tensor:
    pixels = resize(decode(next(iter(sorted((scenes / "images").iterdir()))).read_bytes()), SIDE, SIDE)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


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
