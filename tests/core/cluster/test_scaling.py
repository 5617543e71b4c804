from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from datus2_ray.core.cluster.rows import LocalRows
from datus2_ray.core.cluster.scaling import fit_scaling

X = load_digits(return_X_y=True)[0]  # three of its columns are zero in all rows


@pytest.mark.parametrize("blocks", [1, 3, 7])
@pytest.mark.parametrize("kind", ["centred", "standardised"])
def test_scaling_equals_scikit_learn(blocks, kind):
    ours = fit_scaling(LocalRows(np.array_split(X, blocks)), kind)
    theirs = StandardScaler(with_std=kind == "standardised").fit(X)
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), atol=1e-10)


def test_a_weight_equals_repetition():
    weights = np.random.default_rng(0).integers(1, 4, len(X))
    weighted = fit_scaling(LocalRows([X], [weights]), "standardised")
    repeated = fit_scaling(LocalRows([np.repeat(X, weights, axis=0)]), "standardised")
    np.testing.assert_allclose(weighted.mean, repeated.mean, atol=1e-12)
    np.testing.assert_allclose(weighted.deviation, repeated.deviation, atol=1e-12)


def test_what_is_the_same_in_all_rows_is_not_blown_up():
    rows = np.full((2000, 2), 0.1, dtype=np.float32)
    rows[:, 1] = np.linspace(0, 1, 2000) + 1e6
    scaling = fit_scaling(LocalRows([rows[:900], rows[900:]]), "standardised")
    assert scaling.deviation[0] == 1
    assert abs(scaling.transform(rows)[:, 0]).max() < 1e-6
    assert scaling.deviation[1] == pytest.approx(rows[:, 1].astype(np.float64).std(), rel=1e-6)


def test_rows_that_are_not_finite_do_not_count():
    bad = X.copy()
    bad[5, 3], bad[40, 0] = np.nan, np.inf
    left = np.delete(X, [5, 40], axis=0)
    with_bad = fit_scaling(LocalRows(np.array_split(bad, 3)), "standardised")
    without = fit_scaling(LocalRows([left]), "standardised")
    np.testing.assert_allclose(with_bad.mean, without.mean)
    np.testing.assert_allclose(with_bad.deviation, without.deviation)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_keep_their_data_type_and_do_not_depend_on_the_cut(dtype):
    rows = X.astype(dtype)
    scaling = fit_scaling(LocalRows([rows]), "standardised")
    whole = scaling.transform(rows)
    assert whole.dtype == dtype
    for part in (1, 7, 600):
        cut = [scaling.transform(rows[first : first + part]) for first in range(0, len(rows), part)]
        assert np.array_equal(np.concatenate(cut), whole)
