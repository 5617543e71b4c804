"""Regions: every pixel with a class is in one of them, and small ones lose theirs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from datus2_ray.core.images.regions import box_of, regions, without_small

VOID = 255
masks = arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 3, VOID]))


@given(mask=masks, connected=st.booleans())
def test_regions_are_the_mask_again(mask: np.ndarray, connected: bool) -> None:
    painted, times = np.full_like(mask, VOID), np.zeros(mask.shape, int)
    for number, region in regions(mask, connected):
        painted[region] = number
        times += region
        left, top, width, height = box_of(region)
        assert region[top : top + height, left : left + width].sum() == region.sum()
        assert region[top].any()
        assert region[:, left + width - 1].any()
    np.testing.assert_array_equal(painted, mask)
    np.testing.assert_array_equal(times, mask != VOID)


@given(mask=masks, area=st.integers(0, 12))
def test_only_small_regions_lose_their_class(mask: np.ndarray, area: int) -> None:
    kept = without_small(mask, area)
    for number, region in regions(mask, connected=True):
        assert (kept[region] == (number if region.sum() >= area else VOID)).all()
    assert (kept[mask == VOID] == VOID).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_keep_their_type(dtype: type) -> None:
    mask = np.array([[0, 0, np.iinfo(dtype).max, 1]], dtype)
    kept = without_small(mask, 2)
    assert kept.dtype == dtype
    assert kept.tolist() == [[0, 0, np.iinfo(dtype).max, np.iinfo(dtype).max]]
