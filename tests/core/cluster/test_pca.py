from __future__ import annotations

import numpy as np
import pytest
import sklearn.decomposition
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from datus2_ray.core.cluster.pca import fit_pca
from datus2_ray.core.cluster.rows import LocalRows

X = load_digits(return_X_y=True)[0]


@pytest.mark.parametrize("blocks", [1, 3, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pca_equals_scikit_learn(blocks, dtype):
    expected = sklearn.decomposition.PCA(20, svd_solver="full").fit(X)
    pca = fit_pca(LocalRows(np.array_split(X.astype(dtype), blocks)), 20)
    np.testing.assert_allclose(pca.mean, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(pca.components, expected.components_, atol=1e-10)
    np.testing.assert_allclose(pca.explained, expected.explained_variance_ratio_, rtol=1e-10)
    np.testing.assert_allclose(pca.transform(X.astype(dtype)), expected.transform(X), atol=1e-8)


def test_a_large_mean_does_not_hide_the_variance():
    far = X + 1e6
    near = fit_pca(LocalRows([X]), 5)
    np.testing.assert_allclose(fit_pca(LocalRows([far[:900], far[900:]]), 5).components, near.components, atol=1e-6)


def test_a_weight_equals_repetition():
    weights = np.random.default_rng(0).integers(1, 4, len(X))
    weighted = fit_pca(LocalRows([X], [weights]), 6)
    repeated = fit_pca(LocalRows([np.repeat(X, weights, axis=0)]), 6)
    np.testing.assert_allclose(weighted.components, repeated.components, atol=1e-10)
    np.testing.assert_allclose(weighted.explained, repeated.explained, rtol=1e-10)


def test_bitwise_the_same_for_any_threads_and_any_cut_of_the_rows_to_project():
    rows = LocalRows(np.array_split(X, 3))
    with threadpool_limits(1, "blas"):
        one = fit_pca(rows, 9)
    with threadpool_limits(2, "blas"):
        two = fit_pca(rows, 9)
        whole = one.transform(X)
    assert (one.components == two.components).all()
    for part in (1, 7, 500):
        cut = [one.transform(X[first : first + part]) for first in range(0, 600, part)]
        assert (np.concatenate(cut)[:600] == whole[:600]).all()


def test_all_components_keep_all_distances():
    pca = fit_pca(LocalRows([X]), 64)
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(64), atol=1e-12)
    assert pca.explained.sum() == pytest.approx(1)
    projected = pca.transform(X[:50])
    before = ((X[:50, None] - X[None, :50]) ** 2).sum(axis=2)
    np.testing.assert_allclose(((projected[:, None] - projected[None]) ** 2).sum(axis=2), before, atol=1e-8)


def test_there_are_no_more_components_than_rows_or_coordinates():
    assert len(fit_pca(LocalRows([X]), 65).components) == 64
    assert len(fit_pca(LocalRows([X[:5]]), 64).components) == 5


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_whitening_divides_by_a_power_of_the_deviation(power):
    plain = fit_pca(LocalRows([X]), 40).transform(X)
    whitened = fit_pca(LocalRows([X]), 40, power).transform(X)
    deviations = plain.std(axis=0)
    np.testing.assert_allclose(whitened, plain / (deviations / deviations[0]) ** power, rtol=1e-9, atol=1e-9)


def test_fully_whitened_it_is_scikit_learns_up_to_one_factor():
    whitened = fit_pca(LocalRows([X]), 20, 1.0).transform(X)
    theirs = sklearn.decomposition.PCA(20, svd_solver="full", whiten=True).fit_transform(X)
    np.testing.assert_allclose(whitened / whitened[:, :1].std(), theirs / theirs[:, :1].std(), atol=1e-8)


def test_rounding_along_a_direction_without_variance_is_not_amplified():
    flat = np.concatenate([X, X[:, :1] + X[:, 1:2]], axis=1).astype(np.float32)
    projected = fit_pca(LocalRows([flat]), 65, 1.0).transform(flat)
    assert np.isfinite(projected).all()
    assert np.abs(projected[:, -1]).max() < 1e-2
