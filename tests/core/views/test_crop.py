"""The middle of images and ground truth: positions by hand, and the same pixels as by torchvision."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from datus2_ray.core.images.label_map import LabelMap, read_label_map
from datus2_ray.core.views.crop import crop_image, crop_labels


def test_labels_are_those_of_the_nearest_pixels_of_the_middle() -> None:
    labels = np.arange(60, dtype=np.uint8).reshape(6, 10)
    # 3 × 5 pixels, of which the middle three columns are kept.
    np.testing.assert_array_equal(crop_labels(labels, 3), labels[np.ix_([1, 3, 5], [3, 5, 7])])
    np.testing.assert_array_equal(crop_labels(labels.T, 3), labels.T[np.ix_([3, 5, 7], [1, 3, 5])])


def test_a_half_pixel_goes_to_the_even_offset() -> None:
    columns = np.tile(np.arange(7), (2, 1))
    # 7 - 2 = 5 and 9 - 2 = 7 pixels are left over: 2.5 and 3.5 of them on the left become 2 and 4.
    assert crop_labels(columns, 2).tolist() == [[2, 3]] * 2
    assert crop_labels(np.tile(np.arange(9), (2, 1)), 2).tolist() == [[4, 5]] * 2


SIZES = [(480, 640), (640, 427), (360, 480), (333, 500), (1024, 2048), (300, 300), (57, 100), (320, 961)]


@pytest.mark.parametrize("size", SIZES)
def test_images_and_labels_are_those_of_torchvision(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(size)
    pixels, ids = (rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((*size, 3), size))
    for kind, given, found in (
        (v2.InterpolationMode.BILINEAR, pixels, crop_image(pixels, 320)),
        (v2.InterpolationMode.NEAREST, ids, crop_labels(ids, 320)),
    ):
        cut = v2.Compose([v2.Resize(320, kind), v2.CenterCrop(320)])
        np.testing.assert_array_equal(found, np.asarray(cut(Image.fromarray(given))))


def test_a_map_keeps_its_kind_and_palette() -> None:
    ids = np.arange(60, dtype=np.uint8).reshape(6, 10)
    palette = np.arange(180, dtype=np.uint8).reshape(60, 3)
    for found in (LabelMap(ids, palette), LabelMap(ids.astype(np.uint16) * 1000), LabelMap(np.dstack([ids] * 3))):
        cropped = read_label_map(found.crop(3).encode())
        np.testing.assert_array_equal(cropped.values, found.values[np.ix_([1, 3, 5], [3, 5, 7])])
        assert (cropped.palette is None) == (found.palette is None)
    assert found.crop(None) is found
