from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from datus2_ray.core.cluster.assignment import assign
from datus2_ray.core.cluster.kmeans import kmeans
from datus2_ray.core.cluster.questions import block_labels
from datus2_ray.core.cluster.rows import LocalRows, Widening
from datus2_ray.errors import DatusError, UsageError


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)[0]


def blocks_of(x, count, weights=None):
    return LocalRows(np.array_split(x, count), None if weights is None else np.array_split(weights, count))


class ScatteredRows:
    """The same blocks on some workers, each answering its own in an order of its own, everything sent as bytes."""

    def __init__(self, local, workers, seed):
        self.blocks = local.blocks
        order = np.random.default_rng(seed).permutation(len(self.blocks))
        self.groups = np.array_split(order, workers)

    def ask(self, question, *args, **kwargs):
        answers = {}
        for group in self.groups:
            sent = pickle.dumps((question, args, kwargs))
            for number in group:
                received, its_args, its_kwargs = pickle.loads(sent)
                answers[number] = pickle.loads(pickle.dumps(received(self.blocks[number], *its_args, **its_kwargs)))
        return [answers[number] for number in range(len(self.blocks))]

    def each(self, function, items):
        return [function(item) for item in items]


@pytest.mark.parametrize("blocks", [1, 3, 7])
def test_digits_from_the_first_ten_points_as_scikit_learn(digits, blocks):
    expected = KMeans(10, init=digits[:10], n_init=1, algorithm="lloyd").fit(digits)
    rows = blocks_of(digits, blocks)
    result = kmeans(rows, 10, start=digits[:10])
    labels = np.concatenate(rows.ask(block_labels, result.centroids, "euclidean"))
    assert (labels == expected.labels_).all()
    assert result.inertia == pytest.approx(expected.inertia_, rel=1e-12)
    assert result.inertia == pytest.approx(1167859.3840065985, rel=1e-9)
    assert result.iterations == expected.n_iter_
    np.testing.assert_allclose(result.centroids, expected.cluster_centers_, rtol=1e-12, atol=1e-12)
    assert (result.sizes == np.bincount(labels)).all()
    assert result.converged


@pytest.mark.parametrize("blocks", [1, 3, 7])
def test_digits_from_ten_drawn_points_reach_the_known_inertia(digits, blocks):
    start = digits[np.random.default_rng(0).choice(1797, 10, replace=False)]
    expected = KMeans(10, init=start, n_init=1, algorithm="lloyd").fit(digits)
    rows = blocks_of(digits, blocks)
    result = kmeans(rows, 10, start=start)
    assert (np.concatenate(rows.ask(block_labels, result.centroids, "euclidean")) == expected.labels_).all()
    assert result.inertia == pytest.approx(1165160.3788412327, rel=1e-9)


@pytest.mark.parametrize("tolerance", [1e-4, 3e-2])
def test_the_stop_rule_is_that_of_scikit_learn(digits, tolerance):
    start = digits[100:107]
    expected = KMeans(7, init=start, n_init=1, algorithm="lloyd", tol=tolerance).fit(digits)
    result = kmeans(blocks_of(digits, 2), 7, start=start, tolerance=tolerance)
    assert result.iterations == expected.n_iter_
    assert result.inertia == pytest.approx(expected.inertia_, rel=1e-9)


def test_running_out_of_iterations_is_reported_and_the_answer_is_consistent(digits):
    result = kmeans(blocks_of(digits, 2), 10, start=digits[:10], max_iterations=3)
    labels, distances = assign(digits, result.centroids)
    assert not result.converged
    assert result.iterations == len(result.history) == 3
    assert result.inertia == pytest.approx(distances.sum(), rel=1e-12)
    assert (result.sizes == np.bincount(labels)).all()


@pytest.mark.parametrize("algorithm", ["lloyd", "minibatch"])
@pytest.mark.parametrize("metric", ["euclidean", "spherical"])
@pytest.mark.parametrize("start", ["k-means++", "k-means||", "random"])
def test_bitwise_the_same_wherever_the_blocks_are(digits, algorithm, metric, start):
    local = blocks_of(digits.astype(np.float32) + 0.3, 5)
    options = {"metric": metric, "algorithm": algorithm, "start": start, "restarts": 2, "seed": 3, "epochs": 2}
    expected = kmeans(local, 8, **options)
    for workers, threads in [(1, 2), (2, 1), (5, 2)]:
        with threadpool_limits(threads, "blas"):
            result = kmeans(ScatteredRows(local, workers, seed=workers), 8, **options)
        assert (result.centroids == expected.centroids).all()
        assert (result.sizes == expected.sizes).all()
        assert result.restart_inertias == expected.restart_inertias
        assert result.history == expected.history


@pytest.mark.parametrize("metric", ["euclidean", "spherical"])
def test_a_weight_equals_repetition(digits, metric):
    weights = np.random.default_rng(0).integers(1, 5, len(digits))
    start = digits[:10]
    weighted = kmeans(blocks_of(digits, 3, weights), 10, start=start, metric=metric)
    repeated = kmeans(blocks_of(np.repeat(digits, weights, axis=0), 2), 10, start=start, metric=metric)
    np.testing.assert_allclose(weighted.centroids, repeated.centroids, rtol=1e-10, atol=1e-12)
    assert weighted.inertia == pytest.approx(repeated.inertia, rel=1e-12)
    assert weighted.iterations == repeated.iterations
    labels = assign(digits, weighted.centroids, metric)[0]
    assert (weighted.sizes == np.bincount(labels)).all()
    assert (repeated.sizes == np.bincount(labels, weights)).all()


def naive_spherical(x, centroids, iterations):
    """Read spherical k-means off its definition: cosines, arg max, normalised sums."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    centroids = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)
    for _ in range(iterations):
        labels = (x @ centroids.T).argmax(axis=1)
        sums = np.stack([x[labels == k].sum(axis=0) for k in range(len(centroids))])
        centroids = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    cosines = x @ centroids.T
    return centroids, cosines.argmax(axis=1), (1 - cosines.max(axis=1)).sum()


@pytest.mark.parametrize("blocks", [1, 4])
def test_spherical_equals_the_naive_reading(digits, blocks):
    centroids, labels, inertia = naive_spherical(digits, digits[:10], 60)
    rows = blocks_of(digits, blocks)
    result = kmeans(rows, 10, metric="spherical", start=digits[:10], tolerance=0)
    assert result.converged
    np.testing.assert_allclose(result.centroids, centroids, rtol=1e-10, atol=1e-12)
    assert (np.concatenate(rows.ask(block_labels, result.centroids, "spherical")) == labels).all()
    assert result.inertia == pytest.approx(inertia, rel=1e-10)


def test_spherical_does_not_see_the_lengths_of_rows(digits):
    lengths = 2.0 ** np.random.default_rng(0).integers(-8, 8, len(digits))
    one = kmeans(blocks_of(digits, 3), 10, metric="spherical", seed=4)
    other = kmeans(blocks_of(digits * lengths[:, None], 3), 10, metric="spherical", seed=4)
    assert (one.centroids == other.centroids).all()


def test_zero_rows_are_allowed_under_spherical_and_move_nothing(digits):
    x = digits.copy()
    x[[5, 900]] = 0
    start = x[10:20]
    result = kmeans(blocks_of(x, 3), 10, metric="spherical", start=start)
    without = kmeans(blocks_of(np.delete(x, [5, 900], axis=0), 3), 10, metric="spherical", start=start)
    np.testing.assert_allclose(result.centroids, without.centroids, rtol=1e-10)
    assert result.inertia == pytest.approx(without.inertia + 2, rel=1e-12)
    assert (result.sizes - without.sizes).tolist() == [2] + [0] * 9


def test_the_best_restart_is_kept_and_the_first_of_equals(digits):
    rows = blocks_of(digits, 3)
    result = kmeans(rows, 10, start="random", restarts=6, seed=1)
    assert len(set(result.restart_inertias)) == 6
    assert result.inertia == min(result.restart_inertias)
    assert result.restart == np.argmin(result.restart_inertias)
    assert kmeans(rows, 10, start="random", restarts=6, seed=2).restart_inertias != result.restart_inertias
    two = kmeans(blocks_of(np.repeat([[0.0], [1.0]], 20, axis=0), 2), 2, restarts=4)
    assert (two.restart, two.inertia) == (0, 0.0)


@pytest.mark.parametrize("metric", ["euclidean", "spherical"])
@settings(max_examples=60, deadline=None)
@given(st.integers(2, 8), st.integers(2, 40), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_inertia_never_rises_and_labels_are_nearest(metric, clusters, extra, dimensions, seed):
    rng = np.random.default_rng(seed)
    # Few different values: equal rows, ties and empty clusters happen.
    x = rng.integers(-2, 3, (clusters + extra, dimensions)).astype(np.float64)
    x[:clusters] += rng.standard_normal((clusters, dimensions))
    start = rng.standard_normal((clusters, dimensions)) * 4
    result = kmeans(blocks_of(x, 2), clusters, metric=metric, start=start)
    curve = [line.inertia for line in result.history] + [result.inertia]
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(curve))
    labels, distances = assign(x, result.centroids, metric)
    assert result.inertia == pytest.approx(distances.sum(), rel=1e-9, abs=1e-12)
    assert (result.sizes == np.bincount(labels, minlength=clusters)).all()


@settings(deadline=None)
@given(st.permutations(range(5)))
def test_permuted_starts_give_permuted_centroids(order):
    x = np.random.default_rng(0).standard_normal((200, 3))
    rows = blocks_of(x, 3)
    expected = kmeans(rows, 5, start=x[:5])
    result = kmeans(rows, 5, start=x[list(order)])
    assert (result.centroids == expected.centroids[list(order)]).all()
    assert result.inertia == expected.inertia


def test_as_many_clusters_as_rows_leaves_nothing_to_explain():
    x = np.random.default_rng(0).standard_normal((12, 4))
    result = kmeans(blocks_of(x, 2), 12)
    assert result.inertia == 0
    assert (result.sizes == 1).all()


@pytest.mark.parametrize("start", ["k-means++", "k-means||", "random"])
@pytest.mark.parametrize("metric", ["euclidean", "spherical"])
def test_fewer_different_rows_than_clusters_leave_clusters_empty(start, metric):
    x = np.repeat([[1.0, 2.0], [3.0, -4.0]], 10, axis=0)
    result = kmeans(blocks_of(x, 3), 4, start=start, metric=metric)
    # 1 - cosine of a row with itself can be off by one rounding.
    assert result.inertia <= 20 * np.finfo(np.float64).eps
    assert sorted(result.sizes) == [0, 0, 10, 10]
    assert result.converged


@pytest.mark.parametrize("clusters", [-1, 0, 1])
def test_less_than_two_clusters_is_wrong_usage(digits, clusters):
    with pytest.raises(UsageError, match=f"K = {clusters}: k-means needs at least 2 clusters"):
        kmeans(blocks_of(digits, 2), clusters)


def test_more_clusters_than_rows_is_wrong_usage(digits):
    with pytest.raises(UsageError, match="K = 30 is larger than the 12 segments"):
        kmeans(blocks_of(digits[:12], 2), 30, noun="segments")
    some_zero = digits[:12] * (np.arange(12) < 7)[:, None]
    with pytest.raises(UsageError, match="K = 8 is larger than the 7 segments with a vector that is not zero"):
        kmeans(blocks_of(some_zero, 2), 8, metric="spherical", noun="segments")
    assert kmeans(blocks_of(some_zero, 2), 7, metric="spherical", start="random").sizes.sum() == 12


def test_given_centroids_of_another_shape_are_wrong_usage(digits):
    with pytest.raises(UsageError, match=r"shape \(9, 64\), expected \(10, 64\)"):
        kmeans(blocks_of(digits, 2), 10, start=digits[:9])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_counted_and_the_first_is_named(digits, value):
    x = digits.astype(np.float32)
    x[1200, 3] = x[700, 5] = x[1700, :] = value
    with pytest.raises(DatusError, match=r"3 of 1797 segments have NaN or infinity .* the first is number 700 "):
        kmeans(blocks_of(x, 4), 10, noun="segments")


@pytest.mark.parametrize("start", ["k-means++", "k-means||", "random"])
def test_a_block_without_rows_changes_nothing(digits, start):
    expected = kmeans(LocalRows([digits[:500], digits[500:]]), 6, start=start)
    result = kmeans(LocalRows([digits[:500], digits[:0], digits[500:], digits[:0]]), 6, start=start)
    assert (result.centroids == expected.centroids).all()


def test_rows_of_float16_give_the_same_bits_whether_converted_once_or_in_every_pass() -> None:
    x = np.random.default_rng(0).normal(size=(700, 33)).astype(np.float16)
    once = LocalRows([x[:300], x[300:]])
    once.project(Widening())
    assert [block.x.dtype for block in once.blocks] == [np.float32] * 2
    ours, theirs = (kmeans(rows, 5, metric="spherical", seed=2) for rows in (once, LocalRows([x[:300], x[300:]])))
    assert np.array_equal(ours.centroids, theirs.centroids)
    assert ours.inertia == theirs.inertia
    other = x.astype(np.float64)
    assert Widening().transform(other) is other
