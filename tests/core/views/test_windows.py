"""Large images: the grid that they are seen in, and its blocks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.views.windows import LARGE, MAX_PATCHES, Windows

WINDOWS = st.builds(
    lambda window, cells, patch: Windows(window, cells * patch, patch),
    st.integers(32, 2000), st.integers(4, 60), st.sampled_from((8, 14, 16)),
)  # fmt: skip


@given(WINDOWS, st.integers(8, 20000), st.integers(8, 20000))
def test_a_large_image_keeps_its_aspect_and_its_patches_can_be_numbered(
    windows: Windows, height: int, width: int
) -> None:
    grid = windows.grid(height, width)
    if max(height, width) <= LARGE * windows.window:
        assert grid is None
    if grid is None:
        return
    rows, columns = grid
    assert rows * columns <= MAX_PATCHES
    cells = windows.side // windows.patch
    assert max(grid) >= 2 * cells
    # A patch shows a square of the image, to within a patch, no smaller than in a window, and no larger than it must.
    scale = max(grid) / max(height, width)
    assert scale <= cells / windows.window
    assert abs(min(grid) - min(height, width) * scale) < 2
    finer = (max(grid) + 1) / max(height, width)
    assert finer > cells / windows.window or finer**2 * height * width > MAX_PATCHES


@given(WINDOWS, st.integers(1, 200), st.integers(1, 200))
def test_blocks_are_equal_and_cover_the_grid_once(windows: Windows, rows: int, columns: int) -> None:
    covered = np.zeros((rows, columns), int)
    sides = set()
    for down, across in windows.blocks(rows, columns):
        covered[down, across] += 1
        sides.add((down.stop - down.start, across.stop - across.start))
    assert (covered == 1).all()
    for lengths in zip(*sides, strict=True):
        assert max(lengths) - min(lengths) <= 1
        assert max(lengths) <= windows.side // windows.patch


def test_an_aerial_tile_is_large_and_a_photograph_is_not() -> None:
    windows = Windows(1024, 224, 8)
    assert not windows.is_large(3024, 4032)
    assert windows.grid(6000, 6000) == (164, 164)
    assert windows.grid(10000, 10000) == (181, 181)
    # A grid that is finer than the limit allows for a large image serves better.
    assert Windows(1024, 200 * 8, 8).grid(6000, 6000) is None
