from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from datus2_ray.report.pictures import CROP_SIDE, crop_segment, drawing, fit, show_segments


def decoded(picture):
    return np.array(Image.open(BytesIO(base64.b64decode(picture.uri.partition("base64,")[2]))).convert("RGB"))


@pytest.mark.parametrize("colours", [1, 2, 255, 256, 3000])
def test_a_drawing_keeps_every_colour(colours):
    random = np.random.default_rng(0)
    table = random.choice(2**24, colours, replace=False)
    codes = np.concatenate([table, random.choice(table, 60 * 70 - colours)]).reshape(60, 70)
    pixels = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1).astype(np.uint8)
    picture = drawing(pixels, "mask", "a mask")
    np.testing.assert_array_equal(decoded(picture), pixels)
    assert (picture.width, picture.height) == (70, 60)


def test_the_aspect_is_kept():
    assert fit(np.zeros((600, 1200, 3), np.uint8), 320).shape == (160, 320, 3)
    assert fit(np.zeros((1000, 8, 3), np.uint8), 320).shape == (320, 3, 3)


def test_a_crop_keeps_its_segment_and_dims_the_rest():
    patch_map = np.zeros((8, 8), np.int16)
    patch_map[2:5, 3:6] = 1
    pixels = np.full((160, 160, 3), 200, np.uint8)
    crop = crop_segment(pixels, patch_map, 1)
    assert crop.shape == (CROP_SIDE, CROP_SIDE, 3)
    # The segment is a square of 60 pixels in a window of 72.
    inside = slice(round(CROP_SIDE / 12) + 2, round(CROP_SIDE * 11 / 12) - 2)
    assert (crop[inside, inside] == 200).all()
    assert crop[:10, :10].max() < 80
    assert crop[-10:, -10:].max() < 80


def test_a_crop_of_one_patch_shows_those_beside_it():
    patch_map = np.arange(64, dtype=np.int16).reshape(8, 8)
    crop = crop_segment(np.full((160, 160, 3), 200, np.uint8), patch_map, 27)
    third = CROP_SIDE // 3
    assert (crop[third + 3 : 2 * third - 3, third + 3 : 2 * third - 3] == 200).all()
    assert crop[: third - 3].max() < 80
    assert crop[2 * third + 3 :].max() < 80


@pytest.mark.parametrize("segment", [0, 1, 2])
@pytest.mark.parametrize("shape", [(8, 8), (8, 400), (400, 8), (37, 61)])
def test_a_crop_lies_within_any_image(shape, segment):
    patch_map = np.full((28, 28), -1, np.int16)
    patch_map[0, 0], patch_map[27, 27], patch_map[:, 14] = 0, 1, 2
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert max(crop_segment(pixels, patch_map, segment).shape) == CROP_SIDE


def test_segments_have_colours_and_noise_is_dark():
    patch_map = np.array([[0, 1], [2, -1]], np.int16)
    shown = show_segments(np.full((40, 40, 3), 128, np.uint8), patch_map)
    colours = {tuple(shown[y, x]) for y in (5, 30) for x in (5, 30)}
    assert len(colours) == 4
    assert shown[30, 30].max() <= 40
    assert (shown[19] == 255).all()


def test_an_image_of_noise_alone_is_shown_dark():
    shown = show_segments(np.full((20, 20, 3), 255, np.uint8), np.full((4, 4), -1, np.int16))
    assert shown.max() <= 64
