from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from datus2_ray.core.graph.segments import (
    NOISE,
    every_patch,
    find_segments,
    give_noise_away,
    join_segments,
    label_components,
)
from datus2_ray.core.views.windows import MAX_PATCHES
from datus2_ray.errors import UsageError

maps = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda s: arrays(np.int32, s, elements=st.integers(0, 2))
)


def flood_fill(communities: np.ndarray) -> np.ndarray:
    """Number the 8-connected components by a breadth-first search a first-seen patch."""
    height, width = communities.shape
    found = np.full((height, width), -1)
    count = 0
    for y in range(height):
        for x in range(width):
            if found[y, x] >= 0:
                continue
            queue, found[y, x] = deque([(y, x)]), count
            while queue:
                a, b = queue.popleft()
                for c in range(max(a - 1, 0), min(a + 2, height)):
                    for d in range(max(b - 1, 0), min(b + 2, width)):
                        if found[c, d] < 0 and communities[c, d] == communities[a, b]:
                            found[c, d] = count
                            queue.append((c, d))
            count += 1
    return found


@given(maps)
def test_components_equal_a_flood_fill(communities: np.ndarray) -> None:
    np.testing.assert_array_equal(label_components(communities), flood_fill(communities))


@given(maps, st.integers(0, 6))
def test_segments_are_the_components_larger_than_tau(communities: np.ndarray, tau: int) -> None:
    found = find_segments(communities, tau)
    naive = flood_fill(communities)
    kept = [c for c in range(naive.max() + 1) if (naive == c).sum() > tau]
    expected = np.full(naive.shape, NOISE)
    for number, component in enumerate(kept):
        expected[naive == component] = number
    np.testing.assert_array_equal(found.patch_map, expected)
    assert found.sizes.tolist() == [(naive == c).sum() for c in kept]
    for number, (top, left, bottom, right) in enumerate(found.boxes):
        rows, columns = np.nonzero(expected == number)
        assert (top, left, bottom, right) == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)


def test_tau_is_exclusive_and_diagonals_connect() -> None:
    communities = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    assert find_segments(communities, 2).sizes.tolist() == [3, 6]  # the ones meet across the diagonal
    assert find_segments(communities, 3).sizes.tolist() == [6]
    assert find_segments(communities, 6).patch_map.max() == NOISE


@given(maps, st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_no_noise_is_left_and_what_was_a_segment_still_is(communities: np.ndarray, tau: int, seed: int) -> None:
    before = find_segments(communities, tau)
    tokens = np.random.default_rng(seed).normal(1.0, 1.0, (communities.size, 5)).astype(np.float32)
    after = give_noise_away(before, tokens)
    valid = before.patch_map != NOISE
    assert (after.patch_map != NOISE).all()
    assert (after.patch_map[valid] == before.patch_map[valid]).all()
    assert len(after.sizes) == max(1, len(before.sizes))
    assert (after.sizes == np.bincount(after.patch_map.ravel())).all()
    for number, (top, left, bottom, right) in enumerate(after.boxes):
        rows, columns = np.nonzero(after.patch_map == number)
        assert (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1) == (top, left, bottom, right)


def test_noise_goes_to_the_segment_of_like_tokens_not_to_the_nearest() -> None:
    communities = np.array([[0, 0, 1, 2, 2]])
    tokens = np.array([[1.0, 0.0], [1.0, 0.0], [0.1, 1.0], [0.0, 1.0], [0.0, 1.0]])
    assert give_noise_away(find_segments(communities, 1), tokens).patch_map.tolist() == [[0, 0, 1, 1, 1]]
    tokens[2] = [1.0, 0.1]
    assert give_noise_away(find_segments(communities, 1), tokens).patch_map.tolist() == [[0, 0, 0, 1, 1]]


@given(st.integers(1, 9), st.integers(1, 9))
def test_every_patch_is_what_a_community_of_each_would_be(height: int, width: int) -> None:
    own, alone = every_patch(height, width), find_segments(np.arange(height * width).reshape(height, width), 0)
    for one, other in zip(
        (own.patch_map, own.sizes, own.boxes), (alone.patch_map, alone.sizes, alone.boxes), strict=True
    ):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


def test_more_patches_than_a_map_can_number_are_refused() -> None:
    assert every_patch(1, MAX_PATCHES).patch_map.max() == MAX_PATCHES - 1
    with pytest.raises(UsageError, match=r"182 × 182 patches cannot be units each, .*: lower discover.grid"):
        every_patch(182, 182)


@given(maps, st.integers(1, 9), st.integers(1, 9), st.integers(0, 3))
def test_joined_segments_are_those_of_the_blocks_numbered_as_in_one_image(communities, row, column, tau):
    height, width = communities.shape
    cuts = [[slice(0, min(at, side)), slice(min(at, side), side)] for at, side in ((row, height), (column, width))]
    blocks = [(down, across) for down in cuts[0] for across in cuts[1]]
    blocks = [(down, across) for down, across in blocks if communities[down, across].size]
    parts = [(cells, find_segments(communities[cells], tau)) for cells in blocks]
    joined = join_segments(parts, height, width)
    for cells, segments in parts:
        of_block = joined.patch_map[cells]
        np.testing.assert_array_equal(of_block == NOISE, segments.patch_map == NOISE)
        for number, size in enumerate(segments.sizes):
            (own,) = np.unique(of_block[segments.patch_map == number])
            assert joined.sizes[own] == size
            top, left, bottom, right = segments.boxes[number]
            moved = (top + cells[0].start, left + cells[1].start, bottom + cells[0].start, right + cells[1].start)
            assert tuple(joined.boxes[own]) == moved
    assert sum(len(segments.sizes) for _, segments in parts) == len(joined.sizes)
    _, first = np.unique(joined.patch_map[joined.patch_map != NOISE], return_index=True)
    assert (np.diff(first) > 0).all()
    assert joined.patch_map.dtype == joined.boxes.dtype == np.int16
