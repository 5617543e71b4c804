"""Regions: every pixel with a class is in one of them, and small ones lose theirs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from datus2_ray.core.images.regions import regions, without_small

VOID = 255
masks = arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 3, VOID]))


@given(mask=masks, connected=st.booleans())
def test_regions_are_the_mask_again(mask: np.ndarray, connected: bool) -> None:
    painted, times = np.full_like(mask, VOID), 0
    for region in regions(mask, connected):
        region.paint(painted, region.number)
        times += region.area
        left, top, width, height = region.box
        assert (left, top, region.shape) == (region.left, region.top, mask.shape)
        assert region.pixels.shape == (height, width)
        assert region.pixels.any(0).all() or not connected
        assert region.pixels[[0, -1]].any(1).all()
        assert region.pixels[:, [0, -1]].any(0).all()
    np.testing.assert_array_equal(painted, mask)
    assert times == (mask != VOID).sum()


@given(mask=masks, connected=st.booleans(), by_column=st.booleans())
def test_run_lengths_are_the_region_again(mask: np.ndarray, connected: bool, by_column: bool) -> None:
    for region in regions(mask, connected):
        lengths = region.run_lengths(by_column)
        assert (lengths[1:] > 0).all()
        flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
        found = flat.reshape(mask.T.shape).T if by_column else flat.reshape(mask.shape)
        expected = np.zeros(mask.shape, bool)
        region.paint(expected, True)
        np.testing.assert_array_equal(found, expected)


@given(mask=masks, area=st.integers(0, 12))
def test_only_small_regions_lose_their_class(mask: np.ndarray, area: int) -> None:
    kept = without_small(mask, area)
    expected = np.full_like(mask, VOID)
    for region in regions(mask, connected=True):
        region.paint(expected, region.number if region.area >= area else VOID)
    np.testing.assert_array_equal(kept, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_keep_their_type(dtype: type) -> None:
    mask = np.array([[0, 0, np.iinfo(dtype).max, 1]], dtype)
    kept = without_small(mask, 2)
    assert kept.dtype == dtype
    assert kept.tolist() == [[0, 0, np.iinfo(dtype).max, np.iinfo(dtype).max]]
