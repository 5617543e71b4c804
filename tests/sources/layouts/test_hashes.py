"""Hashes of keys: what a dict from keys to positions would say."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.sources.layouts.hashes import Index, hashes, repeated

keys = st.lists(st.sampled_from("abcdefgh"), max_size=20)


@given(keys, keys)
def test_an_index_finds_every_position(held: list[str], wanted: list[str]) -> None:
    index = Index(hashes(held))
    numbers, positions = index.pairs(hashes(wanted))
    expected = [(i, j) for i, key in enumerate(wanted) for j, other in enumerate(held) if key == other]
    assert list(zip(numbers.tolist(), positions.tolist(), strict=True)) == expected
    first = [held.index(key) if key in held else -1 for key in wanted]
    np.testing.assert_array_equal(index.first(hashes(wanted)), np.array(first, np.int64))


@given(keys)
def test_keys_that_occur_again(held: list[str]) -> None:
    assert repeated(hashes(held)).tolist() == [held.count(key) > 1 for key in held]
