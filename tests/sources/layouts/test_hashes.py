"""Hashes of keys: what a dict from keys to positions would say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.sources.layouts import hashes as layouts_hashes
from datus2_ray.sources.layouts.hashes import Hashes, Index, among, hashes, may_occur, repeated

keys = st.lists(st.sampled_from("abcdefgh"), max_size=20)


@given(keys, keys)
def test_an_index_finds_every_position(held: list[str], wanted: list[str]) -> None:
    index = Index(hashes(held))
    numbers, positions = index.pairs(hashes(wanted))
    expected = [(i, j) for i, key in enumerate(wanted) for j, other in enumerate(held) if key == other]
    assert list(zip(numbers.tolist(), positions.tolist(), strict=True)) == expected
    first = [held.index(key) if key in held else -1 for key in wanted]
    np.testing.assert_array_equal(index.first(hashes(wanted)), np.array(first, np.int64))


@given(keys, st.integers(1, 24), st.integers(1, 5))
def test_keys_that_occur_again(held: list[str], bits: int, chunk: int) -> None:
    values = hashes(held)

    def read() -> Iterator[Hashes]:
        return (values[start : start + chunk] for start in range(0, len(values), chunk))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layouts_hashes, "MAX_BITS", bits)
        twice = repeated(read, len(values))
        assert twice.tolist() == sorted({hash(key) for key in held if held.count(key) > 1})
        assert among(twice, values).tolist() == [held.count(key) > 1 for key in held]
        assert may_occur(read, len(values))(values).all()
