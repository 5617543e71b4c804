"""Parts of a source: a sample of them comes from all over it and is large enough."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.sources.listing import SAMPLE, sample_parts


@given(st.lists(st.integers(1, 300), min_size=1, max_size=200))
def test_the_sample_is_spread_and_large_enough(sizes: list[int]) -> None:
    parts = {f"part-{number:06d}.parquet": size for number, size in enumerate(sizes)}
    taken = sample_parts(parts)
    assert taken.items() <= parts.items()
    numbers = [int(name[5:11]) for name in taken]
    gaps = np.diff([*numbers, numbers[0] + len(parts)])
    assert gaps.max() - gaps.min() <= 1
    assert len(taken) * sum(sizes) / len(sizes) >= min(SAMPLE, sum(sizes)) - 1e-6
