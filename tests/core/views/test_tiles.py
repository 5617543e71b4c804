from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datus2_ray.core.images import tiff
from datus2_ray.core.images.label_map import read_label_map
from datus2_ray.core.views import tiles
from datus2_ray.errors import ImageError


def encoded(pixels: np.ndarray, codec: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, codec)
    return file.getvalue()


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 17), st.sampled_from(["TIFF", "PNG"]))
def test_windows_put_together_are_the_picture(height: int, width: int, side: int, codec: str) -> None:
    pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    data = encoded(pixels, codec)
    rows, columns = tiles.grid(height, width, side)
    names = tiles.names((rows, columns))
    assert len(set(names)) == rows * columns
    assert sorted(names) == names or max(rows, columns) > 100
    windows = [read_label_map(tiles.cut(data, number, side)).values for number in range(len(names))]
    lines = [np.hstack(windows[row * columns : (row + 1) * columns]) for row in range(rows)]
    np.testing.assert_array_equal(np.vstack(lines), pixels)
    assert tiles.size(data) == (height, width)
    if codec == "TIFF":
        assert tiff.size(lambda at, count: data[at : at + count]) == (height, width)


def test_ids_stay_as_they_are() -> None:
    ids = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(read_label_map(tiles.cut(encoded(ids, "TIFF"), 3, 4)).values, ids[4:, 4:])


def test_what_cannot_be_cut_is_a_fault() -> None:
    with pytest.raises(ImageError) as caught:
        tiles.cut(b"no picture", 0, 4)
    assert caught.value.kind == "unreadable"
    with pytest.raises(ImageError) as caught:
        tiles.cut(encoded(np.zeros((1100, 1100), np.uint8), "PNG"), 0, 4, 1)
    assert caught.value.kind == "too_large"
    assert tiff.size(lambda at, count: b"no picture"[at : at + count]) == (0, 0)
