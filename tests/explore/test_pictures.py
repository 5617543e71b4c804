"""Pictures of segments: of the size asked for, wherever the segment lies."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datus2_ray.core.images.decode import decode
from datus2_ray.explore.pictures import Encoded, crop, label_map, photo
from tests.explore.made import halves


def encoded(height: int, width: int, kind: str = "PNG", turned: bool = False, **options: object) -> Encoded:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, format=kind, **options)
    high, wide = (width, height) if turned else (height, width)
    return Encoded(file.getvalue(), high, wide, decode)


def size(data: bytes) -> tuple[int, int]:
    return Image.open(BytesIO(data)).size


@given(st.integers(8, 300), st.integers(8, 300), st.integers(0, 10_000), st.sampled_from(["PNG", "JPEG"]))
def test_any_segment_is_a_square_of_the_side_asked_for(height: int, width: int, seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    patch_map = random.integers(-1, 3, (random.integers(1, 9), random.integers(1, 9))).astype(np.int16)
    patch_map[0, 0] = 2
    assert size(crop(encoded(height, width, kind), patch_map, 2, 112)) == (112, 112)


@given(st.integers(4, 12), st.integers(4, 12), st.data())
def test_a_small_segment_fills_much_of_its_crop_wherever_it_lies(rows: int, columns: int, data: st.DataObject) -> None:
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    patch_map = np.zeros((rows, columns), np.int16)
    patch_map[row, column] = 1
    pixels = np.where(patch_map[..., None] == 1, [250, 20, 20], [20, 20, 250]).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(pixels.repeat(40, axis=0).repeat(40, axis=1)).save(file, format="PNG")
    image = Encoded(file.getvalue(), 40 * rows, 40 * columns, decode)
    shown = np.array(Image.open(BytesIO(crop(image, patch_map, 1, 112)))).astype(int)
    # A patch in a window of three by three.
    assert 0.06 < ((shown[..., 0] > 200) & (shown[..., 2] < 100)).mean() < 0.14


def test_a_turned_photo_and_its_crops_are_upright() -> None:
    exif = Image.Exif()
    exif[274] = 6  # turned by 90 degrees
    data = encoded(40, 80, "JPEG", turned=True, exif=exif)
    assert size(photo(data, 320)) == (40, 80)
    assert size(photo(data, 40)) == (20, 40)
    patch_map = np.arange(8, dtype=np.int16).reshape(4, 2)
    assert size(crop(data, patch_map, 3, 112)) == (112, 112)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([np.uint8, np.uint16]), st.integers(0, 10_000))
def test_a_label_map_has_every_segment_and_label(height: int, width: int, dtype: Any, seed: int) -> None:
    random, void = np.random.default_rng(seed), np.iinfo(dtype).max
    patch_map = random.integers(-1, 1000, (height, width)).astype(np.int16)
    mask = random.choice([*range(min(void, 400)), void], (height, width)).astype(dtype)
    segments, labels = halves(label_map(patch_map, mask, 64))
    assert np.array_equal(np.where(segments == 65535, -1, segments), patch_map)
    assert np.array_equal(labels, np.where(mask == void, 65535, mask.astype(int)))
    assert (halves(label_map(patch_map, None, 64))[1] == 65535).all()
    assert max(halves(label_map(patch_map, np.zeros((300, 200), np.uint8), 64))[0].shape) == 64
