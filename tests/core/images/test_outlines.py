"""Outlines: filled and painted, they are the region again, to the pixel, whatever its shape and holes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from datus2_ray.core.images.outlines import join_rings, trace


def filled(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """Paint the sides of a polygon, all horizontal or vertical, and what they enclose an odd number of times."""
    painted, crossings = np.zeros((height, width), bool), np.zeros((height, width), int)
    for (x0, y0), (x1, y1) in zip(polygon - 0.5, np.roll(polygon, -1, axis=0) - 0.5, strict=True):
        assert x0 == x1 or y0 == y1
        left, right, top, bottom = int(min(x0, x1)), int(max(x0, x1)), int(min(y0, y1)), int(max(y0, y1))
        painted[top : bottom + 1, left : right + 1] = True
        # Rays to the right, just below the centres of the pixels.
        crossings[top:bottom, : left + 1] += 1
    return painted | (crossings % 2 == 1)


def components(mask: np.ndarray) -> list[np.ndarray]:
    labels, count = ndimage.label(mask)
    return [labels == label for label in range(1, count + 1)]


def random_mask(seed: int) -> np.ndarray:
    """Return a mask of any density: the denser, the more holes."""
    rng = np.random.default_rng(seed)
    return rng.random(rng.integers(1, 25, 2)) < rng.uniform(0.2, 0.95)


masks = st.integers(0, 2**32 - 1).map(random_mask)


@given(mask=masks, scale=st.integers(1, 3))
def test_one_polygon_is_the_region_with_its_holes(mask: np.ndarray, scale: int) -> None:
    mask = np.kron(mask, np.ones((scale, scale), bool))
    for region in components(mask):
        polygon = join_rings(trace(region))
        np.testing.assert_array_equal(filled(polygon, *region.shape), region)


@given(mask=masks)
def test_the_first_ring_goes_around_and_each_hole_has_one(mask: np.ndarray) -> None:
    for region in components(mask):
        outer, *holes = trace(region)
        # Holes are connected over corners, where the region is over sides.
        background, count = ndimage.label(~np.pad(region, 1), np.ones((3, 3)))
        assert len(holes) == count - 1
        np.testing.assert_array_equal(filled(outer, *region.shape), background[1:-1, 1:-1] != background[0, 0])


def test_a_rectangle_has_its_four_corners() -> None:
    region = np.zeros((9, 9), bool)
    region[2:5, 3:8] = True
    (ring,) = trace(region)
    assert ring.tolist() == [[7.5, 2.5], [7.5, 4.5], [3.5, 4.5], [3.5, 2.5]]
