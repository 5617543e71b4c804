from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from datus2_ray.core.images.palette import palette


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 300))
def test_palette_grows_at_its_end(a: int, b: int) -> None:
    k, n = sorted((a, b))
    np.testing.assert_array_equal(palette(k), palette(n)[:k])


def test_palette_colours_are_distinct_and_never_black() -> None:
    colours = palette(256).astype(int)
    assert len(np.unique(colours, axis=0)) == 256
    assert len(np.unique(palette(2048), axis=0)) == 2048
    np.testing.assert_array_equal(palette(4096)[2048:], palette(2048))
    # Noise is black, and neighbours differ at a glance.
    assert colours.sum(axis=1).min() > 80
    assert np.abs(np.diff(colours, axis=0)).sum(axis=1).min() > 60
    few = colours[:12]
    apart = np.abs(few[:, None] - few).sum(-1) + 1000 * np.eye(12)
    assert apart.min() > 100
