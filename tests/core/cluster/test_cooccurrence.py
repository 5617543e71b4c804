"""Counting what occurs together: against a plain loop, in parts, and what the lift says of chance."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.cluster.cooccurrence import count_together, log_lift


@given(st.integers(1, 6), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_counts_are_those_of_a_plain_loop_and_add_up(clusters: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, clusters, rng.integers(0, 5)) for _ in range(count)]
    expected = np.zeros((clusters, clusters), dtype=np.int64)
    for image in images:
        for one in range(clusters):
            for other in range(clusters):
                expected[one, other] += one in image and other in image
    np.testing.assert_array_equal(count_together(images, clusters), expected)
    halves = count_together(images[: count // 2], clusters) + count_together(images[count // 2 :], clusters)
    np.testing.assert_array_equal(halves, expected)


def test_the_lift_is_nothing_for_chance_above_it_for_company_and_below_it_for_avoidance() -> None:
    rng = np.random.default_rng(0)
    first = rng.random(100_000) < 0.3
    present = np.stack([first, rng.random(100_000) < 0.4, first, ~first])
    lift = log_lift((present.astype(np.int64) @ present.T.astype(np.int64)), 100_000)
    assert abs(lift[0, 1]) < 0.02
    np.testing.assert_allclose(lift[0, 2], np.log(1 / 0.3), atol=0.02)
    assert lift[0, 3] < -5
    np.testing.assert_array_equal(lift, lift.T)
