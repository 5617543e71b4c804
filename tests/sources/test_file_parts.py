"""Images of samples: what a list of them all would say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.sources.file_parts import Rows
from datus2_ray.sources.paths import Paths


@given(st.lists(st.integers(1, 4), max_size=30), st.none() | st.integers(0, 40), st.integers(0, 20), st.integers(0, 40))
def test_every_image_is_of_its_sample(counts: list[int], limit: int | None, start: int, more: int) -> None:
    pieces = {str(at): ["piece"] * count for at, count in enumerate(counts) if count > 1}
    rows = Rows.of(Paths.of(map(str, range(len(counts)))), pieces, limit)
    every = [(at, number if count > 1 else -1) for at, count in enumerate(counts) for number in range(count)][:limit]
    assert len(rows) == len(every)
    samples, numbers = rows.read(start, start + more)
    assert list(zip(samples.tolist(), numbers.tolist(), strict=True)) == every[start : start + more]
