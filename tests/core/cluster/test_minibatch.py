from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits

from datus2_ray.core.cluster.assignment import assign
from datus2_ray.core.cluster.kmeans import kmeans
from datus2_ray.core.cluster.minibatch import minibatch
from datus2_ray.core.cluster.row_hash import sample_rows
from datus2_ray.core.cluster.rows import LocalRows

X = load_digits(return_X_y=True)[0]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("blocks", [1, 5])
def test_the_update_rule_is_that_of_scikit_learn(blocks, weighted):
    weights = np.random.default_rng(0).uniform(1, 4, len(X)) if weighted else np.ones(len(X))
    expected = MiniBatchKMeans(10, init=X[:10], n_init=1, reassignment_ratio=0)
    for epoch in range(3):
        order = sample_rows(len(X), len(X), 0, 0, "epoch", epoch)
        for first in range(0, len(X), 200):
            batch = order[first : first + 200]
            expected.partial_fit(X[batch], sample_weight=weights[batch])
    rows = LocalRows(np.array_split(X, blocks), np.array_split(weights, blocks))
    fit = minibatch(rows, X[:10], "euclidean", len(X), epochs=3, batch_size=200, key=(0, 0))
    np.testing.assert_allclose(fit.centroids, expected.cluster_centers_, rtol=1e-9, atol=1e-9)
    assert len(fit.history) == 3


@pytest.mark.parametrize("metric", ["euclidean", "spherical"])
def test_it_comes_within_some_percent_of_lloyd(metric):
    rows = LocalRows(np.array_split(X.astype(np.float32), 3))
    exact = kmeans(rows, 10, metric=metric, restarts=4)
    batches = kmeans(rows, 10, metric=metric, restarts=4, algorithm="minibatch", epochs=20, batch_size=256)
    assert exact.inertia < batches.inertia < 1.04 * exact.inertia


def test_labels_sizes_and_inertia_are_those_of_a_full_assignment():
    result = kmeans(LocalRows([X[:700], X[700:]]), 10, algorithm="minibatch", epochs=2, batch_size=100)
    labels, distances = assign(X, result.centroids)
    assert result.inertia == pytest.approx(distances.sum(), rel=1e-12)
    assert (result.sizes == np.bincount(labels, minlength=10)).all()
    assert result.iterations == 2


def test_batches_larger_than_the_data_are_one_batch():
    rows = LocalRows([X])
    one = kmeans(rows, 5, start=X[:5], algorithm="minibatch", epochs=1, batch_size=10**6)
    lloyd = kmeans(rows, 5, start=X[:5], max_iterations=1)
    np.testing.assert_allclose(one.centroids, lloyd.centroids, rtol=1e-12)


@pytest.mark.parametrize("metric", ["euclidean", "spherical"])
def test_a_cluster_without_rows_is_moved_to_the_farthest_row(metric):
    rng = np.random.default_rng(0)
    x = np.array([1.0, 0.0]) + 0.1 * rng.standard_normal((300, 2))
    x[200:] = np.array([0.0, 1.0]) + 0.1 * rng.standard_normal((100, 2))
    starts = np.array([[1.0, 1.0], [-9.0, -9.0]])
    result = kmeans(LocalRows([x]), 2, metric=metric, start=starts, algorithm="minibatch", epochs=8, batch_size=50)
    assert [line.relocated for line in result.history] == [1] + [0] * 7
    assert sorted(result.sizes) == [100, 200]
