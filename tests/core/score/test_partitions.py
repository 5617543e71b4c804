from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from datus2_ray.core.score.partitions import adjusted_rand_index, normalized_mutual_information


def pixels_of(table):
    rows, columns = np.indices(table.shape)
    return np.repeat(rows.ravel(), table.ravel()), np.repeat(columns.ravel(), table.ravel())


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_nmi_and_ari_equal_those_of_scikit_learn(rows, columns, seed):
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 12, (rows, columns)) * rng.integers(0, 2, (rows, columns))
    table[rng.integers(rows), rng.integers(columns)] += 1
    truth, predicted = pixels_of(table)
    expected = sklearn.metrics.normalized_mutual_info_score(truth, predicted)
    assert normalized_mutual_information(table) == pytest.approx(expected, abs=1e-12)
    assert adjusted_rand_index(table) == pytest.approx(sklearn.metrics.adjusted_rand_score(truth, predicted), abs=1e-12)


@pytest.mark.parametrize(
    ("table", "nmi", "ari"),
    [
        ([[9]], 1, 1),
        ([[1]], 1, 1),
        ([[4, 5]], 0, 0),
        ([[4], [5]], 0, 0),
        ([[3, 0], [0, 5]], 1, 1),
        ([[4, 4], [4, 4]], 0, None),
    ],
)
def test_partitions_of_one_part_and_equal_partitions(table, nmi, ari):
    table = np.array(table)
    assert normalized_mutual_information(table) == pytest.approx(nmi, abs=1e-15)
    if ari is not None:
        assert adjusted_rand_index(table) == ari


def test_ten_to_the_tenth_pixels_do_not_overflow():
    table = np.random.default_rng(0).integers(0, 10**9, (6, 7))
    assert table.sum() > 10**10

    def pairs(counts):
        return sum(Fraction(math.comb(int(n), 2)) for n in np.ravel(counts))

    in_row, in_column, every = pairs(table.sum(1)), pairs(table.sum(0)), pairs(table.sum())
    expected = in_row * in_column / every
    exact = (pairs(table) - expected) / ((in_row + in_column) / 2 - expected)
    assert adjusted_rand_index(table) == pytest.approx(float(exact), rel=1e-15)
    # NMI depends on shares alone.
    assert normalized_mutual_information(table * 1000) == pytest.approx(normalized_mutual_information(table), rel=1e-10)
    huge = np.diag([10**12, 10**12, 3])
    assert adjusted_rand_index(huge) == 1.0
    assert normalized_mutual_information(huge) == pytest.approx(1.0, rel=1e-12)
