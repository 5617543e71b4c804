from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from datus2_ray.core.cluster.kmeans import kmeans
from datus2_ray.core.cluster.lloyd import fill_empty, means
from datus2_ray.core.cluster.questions import partial_sums
from datus2_ray.core.cluster.rows import LocalRows, combined

# The centroids 2 and 3 are far from every row, so their clusters start empty.
FAR_STARTS = np.array([[0.0, 0.0], [10.0, 0.0], [500.0, 500.0], [-500.0, 500.0]])


def rows_around_two_centres(seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.standard_normal((60, 2)), rng.standard_normal((40, 2)) + np.array([10.0, 0.0])])


def filled(x, blocks, centroids, metric="euclidean", weights=None):
    rows = LocalRows(np.array_split(x, blocks), None if weights is None else np.array_split(weights, blocks))
    sums = combined(rows.ask(partial_sums, centroids, metric))
    return sums, *fill_empty(rows, centroids, sums, metric)


@pytest.mark.parametrize("blocks", [1, 3, 7])
def test_empty_clusters_go_to_the_farthest_rows(blocks):
    x = rows_around_two_centres()
    before, after, relocated = filled(x, blocks, FAR_STARTS)
    distances = ((x[:, None] - FAR_STARTS[:2]) ** 2).sum(axis=2)
    far = np.argsort(-distances.min(axis=1))[:2]
    assert before.counts.tolist()[2:] == [0, 0]
    assert relocated == 2
    assert (means(after, FAR_STARTS, "euclidean")[2:] == x[far]).all()
    rest = np.setdiff1d(np.arange(100), far)
    for k in (0, 1):
        members = rest[distances[rest].argmin(axis=1) == k]
        np.testing.assert_allclose(means(after, FAR_STARTS, "euclidean")[k], x[members].mean(axis=0), atol=1e-12)
        assert after.counts[k] == len(members)


@pytest.mark.parametrize("seed", range(5))
def test_the_rule_for_empty_clusters_is_that_of_scikit_learn(seed):
    x = rows_around_two_centres(seed)
    expected = KMeans(4, init=FAR_STARTS, n_init=1, algorithm="lloyd", max_iter=1, tol=0).fit(x)
    result = kmeans(LocalRows([x[:30], x[30:]]), 4, start=FAR_STARTS, max_iterations=1)
    assert result.history[0].relocated == 2
    assert result.inertia == pytest.approx(expected.inertia_, rel=1e-10)
    # scikit-learn numbers the two farthest rows in the order that a partial sort left them in.
    np.testing.assert_allclose(
        np.sort(result.centroids[2:], axis=0), np.sort(expected.cluster_centers_[2:], axis=0), atol=1e-12
    )
    converged = KMeans(4, init=FAR_STARTS, n_init=1, algorithm="lloyd").fit(x)
    assert kmeans(LocalRows([x]), 4, start=FAR_STARTS).inertia == pytest.approx(converged.inertia_, rel=1e-10)


@pytest.mark.parametrize("blocks", [1, 3])
def test_equally_far_rows_are_taken_by_their_number(blocks):
    x = np.array([[1.0], [3.0], [-3.0], [0.5], [3.0], [-1.0]])
    starts = np.array([[0.0], [100.0], [200.0]])
    _, after, _ = filled(x, blocks, starts)
    assert means(after, starts, "euclidean")[1:].tolist() == [[3.0], [-3.0]]
    _, after, _ = filled(x[::-1], blocks, starts)
    assert means(after, starts, "euclidean")[1:].tolist() == [[3.0], [-3.0]]


def test_the_last_row_of_a_cluster_is_not_taken_from_it():
    # Row 0 is the farthest of all, but alone in cluster 0.
    x = np.array([[-50.0], [100.0], [102.0], [104.0]])
    starts = np.array([[0.0], [101.0], [9000.0]])
    _, after, relocated = filled(x, 2, starts)
    assert relocated == 1
    assert after.counts.tolist() == [1, 2, 1]
    assert means(after, starts, "euclidean").tolist() == [[-50.0], [101.0], [104.0]]


def test_rows_on_their_centroid_are_not_taken():
    x = np.repeat([[0.0], [1.0]], 5, axis=0)
    starts = np.array([[0.0], [1.0], [9.0]])
    before, after, relocated = filled(x, 2, starts)
    assert relocated == 0
    assert (after.counts == before.counts).all()
    assert means(after, starts, "euclidean").tolist() == starts.tolist()


def test_a_relocated_row_takes_its_weight_with_it():
    x = rows_around_two_centres()
    weights = np.random.default_rng(1).uniform(1, 5, 100)
    before, after, _ = filled(x, 3, FAR_STARTS, weights=weights)
    distances = ((x[:, None] - FAR_STARTS[:2]) ** 2).sum(axis=2).min(axis=1)
    assert (after.weights[2:] == weights[np.argsort(-distances)[:2]]).all()
    assert after.weights.sum() == pytest.approx(before.weights.sum(), rel=1e-12)
    np.testing.assert_allclose(after.sums.sum(axis=0), before.sums.sum(axis=0), rtol=1e-12)


def test_zero_rows_do_not_fill_empty_clusters_under_spherical():
    x = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.1], [0.0, 0.0]])
    starts = np.array([[1.0, 0.0], [-1.0, 0.0]])
    _, after, relocated = filled(x, 2, starts, "spherical")
    assert relocated == 1
    np.testing.assert_allclose(means(after, starts, "spherical")[1], np.array([1, 0.1]) / np.hypot(1, 0.1))


def test_unit_rows_that_cancel_out_leave_their_centroid_where_it_was():
    x = np.array([[0.0, 1.0], [0.0, -1.0], [-1.0, 0.0]])
    starts = np.array([[1.0, 0.0], [-1.0, 0.0]])
    result = kmeans(LocalRows([x]), 2, metric="spherical", start=starts)
    assert result.centroids.tolist() == starts.tolist()
    assert result.sizes.tolist() == [2, 1]
