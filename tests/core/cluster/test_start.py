from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from datus2_ray.core.cluster.assignment import assign
from datus2_ray.core.cluster.questions import farthest_rows, moments
from datus2_ray.core.cluster.rows import LocalRows, combined
from datus2_ray.core.cluster.start import kmeans_plus_plus, start_centroids

X = load_digits(return_X_y=True)[0].astype(np.float32)
STARTS = ["k-means++", "k-means||", "random"]
METRICS = ["euclidean", "spherical"]


def chosen(x, blocks, start, metric="euclidean", k=10, key=(0, 0), sample_size=20_000, weights=None):
    rows = LocalRows(np.array_split(x, blocks), None if weights is None else np.array_split(weights, blocks))
    total = combined(rows.ask(moments, metric))
    return start_centroids(rows, total, k, start, metric, key, sample_size)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("sample_size", [300, 20_000])
def test_a_start_does_not_depend_on_the_blocks(start, metric, sample_size):
    expected = chosen(X, 1, start, metric, sample_size=sample_size)
    for blocks in (3, 7):
        assert (chosen(X, blocks, start, metric, sample_size=sample_size) == expected).all()


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("metric", METRICS)
def test_starts_are_different_rows_of_the_data(start, metric):
    centroids = chosen(X, 3, start, metric)
    rows = X.astype(np.float64)
    if metric == "spherical":
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert len(np.unique(centroids, axis=0)) == 10
    for centroid in centroids:
        assert np.abs(rows - centroid).max(axis=1).min() < 1e-15


@pytest.mark.parametrize("start", STARTS)
def test_seed_and_restart_change_the_start(start):
    starts = [chosen(X, 2, start, key=key).tobytes() for key in [(0, 0), (0, 1), (1, 0), (1, 1)]]
    assert len(set(starts)) == 4


def test_the_sample_of_kmeans_plus_plus_has_the_size_asked_for():
    # From a sample of exactly K rows, k-means++ can only return these; they are spread over the whole data.
    centroids = chosen(X, 3, "k-means++", sample_size=10)
    distances = ((X[:, None, :] - centroids) ** 2).sum(axis=2)
    assert distances.min(axis=0).max() == 0
    assert distances.argmin(axis=0).max() > 900


@pytest.mark.parametrize("start", STARTS)
def test_a_zero_row_is_never_a_start_under_spherical(start):
    x = X.copy()
    x[::2] = 0
    for restart in range(5):
        centroids = chosen(x, 3, start, "spherical", key=(0, restart))
        np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, rtol=1e-12)


def test_far_starts_are_better_than_random_ones():
    potentials = {
        start: np.mean([assign(X, chosen(X, 2, start, key=(0, restart)))[1].sum() for restart in range(10)])
        for start in STARTS
    }
    assert potentials["k-means++"] < 0.95 * potentials["random"]
    assert potentials["k-means||"] < 0.95 * potentials["random"]


def test_kmeans_plus_plus_finds_every_separate_blob():
    rng = np.random.default_rng(0)
    centres = np.arange(12)[:, None] * [1000.0, -500.0]
    x = np.repeat(centres, 30, axis=0) + rng.standard_normal((360, 2))
    for start in ("k-means++", "k-means||"):
        found = assign(chosen(x, 3, start, k=12), centres)[0]
        assert sorted(found) == list(range(12))


def test_kmeans_plus_plus_never_chooses_a_row_of_weight_zero():
    rows = np.random.default_rng(0).standard_normal((50, 2))
    weights = (np.arange(50) % 5 == 0).astype(np.float64)
    for seed in range(20):
        centroids = kmeans_plus_plus(rows, weights, 10, "euclidean", np.random.default_rng(seed))
        assert {tuple(row) for row in centroids} == {tuple(row) for row in rows[::5]}


def test_the_race_draws_in_proportion_to_weight_times_distance():
    # Squared distances 1, 4 and 9 from the origin, weights 9, 1 and 2: masses 9, 4 and 18.
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    rows = LocalRows([x[:3], x[3:]], [np.array([5.0, 9.0, 1.0]), np.array([2.0])])
    draws = [farthest_rows(rows, np.zeros((1, 1)), 1, "euclidean", (seed,)).numbers[0] for seed in range(2000)]
    shares = np.bincount(draws, minlength=4) / 2000
    # Three standard deviations of a share drawn 2000 times are at most 0.034, and the seeds are fixed.
    np.testing.assert_allclose(shares, [0, 9 / 31, 4 / 31, 18 / 31], atol=0.034)


def test_farthest_rows_are_ordered_by_distance_then_by_number():
    x = np.array([[1.0], [-2.0], [2.0], [0.0], [2.0], [-3.0]])
    rows = LocalRows([x[:2], x[2:3], x[3:]])
    far = farthest_rows(rows, np.zeros((1, 1)), 4, "euclidean")
    assert far.numbers.tolist() == [5, 1, 2, 4]
    assert far.keys.tolist() == [9, 4, 4, 4]
    assert far.x.tolist() == [[-3], [-2], [2], [2]]
    # The row on its centroid is never picked.
    assert farthest_rows(rows, np.zeros((1, 1)), 9, "euclidean").numbers.tolist() == [5, 1, 2, 4, 0]
