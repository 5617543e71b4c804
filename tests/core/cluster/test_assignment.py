from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from datus2_ray.core.cluster.assignment import assign, assign_second, metric_rows
from datus2_ray.core.cluster.distances import LANES, distance, distances_to


def naive(x, centroids, metric):
    """Compute every distance in float64, one pair at a time."""
    x, centroids = x.astype(np.float64), centroids.astype(np.float64)
    distances = np.empty((len(x), len(centroids)))
    for i, row in enumerate(x):
        for k, centroid in enumerate(centroids):
            if metric == "euclidean":
                distances[i, k] = ((row - centroid) ** 2).sum()
            else:
                lengths = np.linalg.norm(row) * np.linalg.norm(centroid)
                distances[i, k] = 1 - (row @ centroid) / lengths if lengths else 1.0
    return distances


@pytest.mark.parametrize("metric", ["euclidean", "spherical"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_assign_equals_the_naive_reading(metric, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((700, 9)).astype(dtype)
    centroids = rng.standard_normal((11, 9))
    expected = naive(x, centroids, metric)
    labels, distances = assign(x, centroids, metric)
    assert labels.dtype == np.int32
    assert (labels == expected.argmin(axis=1)).all()
    np.testing.assert_allclose(distances, expected.min(axis=1), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("metric", ["euclidean", "spherical"])
def test_ties_go_to_the_lowest_index(metric):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((600, 33)).astype(np.float32)
    centroids = rng.standard_normal((4, 33))
    labels, distances = assign(x, centroids, metric)
    for order in ([0, 1, 2, 3, 0, 1, 2, 3], [0, 0, 1, 1, 2, 2, 3, 3]):
        again, same = assign(x, centroids[order], metric)
        assert (again == np.array([order.index(label) for label in labels])).all()
        assert (same == distances).all()


def test_an_exact_tie_between_different_centroids_goes_to_the_lowest_index():
    x = np.array([[0.0, 3.0], [0.0, -0.1]])
    assert assign(x, np.array([[1.0, 0.0], [-1.0, 0.0]]))[0].tolist() == [0, 0]
    assert assign(x, np.array([[-1.0, 0.0], [1.0, 0.0]]))[0].tolist() == [0, 0]


@settings(deadline=None)
@given(
    st.integers(1, 130),
    st.integers(1, 9),
    st.lists(st.integers(1, 40), min_size=1, max_size=8),
    st.sampled_from(["euclidean", "spherical"]),
    st.integers(0, 2**32 - 1),
)
def test_labels_and_distances_do_not_depend_on_how_rows_are_cut_into_calls(dimensions, clusters, cuts, metric, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((120, dimensions)).astype(np.float32)
    centroids = rng.standard_normal((clusters, dimensions))
    # Near ties, where the rounding of a matrix product would decide.
    centroids = np.concatenate([centroids, centroids * (1 + 1e-16), centroids + 1e-15])
    whole = assign(x, centroids, metric)
    with threadpool_limits(1, "blas"):
        parts = [assign(part, centroids, metric) for part in np.split(x, np.unique(np.cumsum(cuts).clip(0, 120)))]
    for one, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        assert (one == np.concatenate(pieces)).all()


def test_a_zero_row_has_distance_one_and_label_zero_under_spherical():
    x = np.array([[0.0, 0.0], [2.0, 0.0]], dtype=np.float32)
    labels, distances = assign(x, np.array([[0.0, 5.0], [3.0, 0.0]]), "spherical")
    assert labels.tolist() == [0, 1]
    assert distances.tolist() == [1.0, 0.0]


def test_far_from_the_origin_labels_are_still_those_of_the_true_distances():
    # |x|² is 1e8 times the distances squared: rounded in float32, the product formula would lose them.
    rng = np.random.default_rng(2)
    x = (1000 + rng.integers(-64, 64, (500, 16)) / 64).astype(np.float32)
    centroids = 1000 + rng.integers(-64, 64, (6, 16)) / 64
    assert (assign(x, centroids)[0] == naive(x, centroids, "euclidean").argmin(axis=1)).all()


@settings(deadline=None)
@given(
    st.sampled_from(["euclidean", "spherical"]),
    st.sampled_from([np.float32, np.float64]),
    st.integers(-45, 45),
    st.integers(-45, 45),
    st.integers(0, 2**32 - 1),
)
def test_rows_and_centroids_of_any_magnitude_get_the_nearest(metric, dtype, magnitude, spread, seed):
    # Where float32 overflows, underflows or cannot tell centroids apart, the product rules nothing out.
    rng = np.random.default_rng(seed)
    scale = 10.0**magnitude if dtype is np.float64 else 10.0 ** (magnitude * 0.8)
    x = (rng.standard_normal((40, 12)) * scale).astype(dtype)
    middle = rng.standard_normal(12) * scale
    centroids = middle + rng.standard_normal((5, 12)) * scale * 10.0 ** min(spread / 5, 1)
    expected = naive(x, centroids, metric)
    labels, distances = assign(x, centroids, metric)
    chosen = expected[np.arange(len(x)), labels]
    np.testing.assert_allclose(chosen, expected.min(axis=1), rtol=1e-11, atol=1e-15 if metric == "spherical" else 0)
    np.testing.assert_allclose(distances, chosen, rtol=1e-11, atol=1e-14 if metric == "spherical" else 0)


@pytest.mark.parametrize("dimensions", [31, 32, 33, 64, 100])
def test_distances_add_all_their_terms_whatever_the_dimensions(dimensions):
    rng = np.random.default_rng(3)
    x = rng.integers(-8, 8, (50, dimensions)).astype(np.float32)
    centroids = rng.integers(-8, 8, (7, dimensions)).astype(np.float64)
    labels, distances = assign(x, centroids)
    expected = ((x[:, None] - centroids) ** 2).sum(axis=2)  # whole numbers: every sum is exact
    assert (labels == expected.argmin(axis=1)).all()
    assert (distances == expected.min(axis=1)).all()


@pytest.mark.parametrize("metric", ["euclidean", "spherical"])
@given(st.integers(1, 100), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_distances_of_columns_have_the_bits_of_those_of_rows(metric, dimensions, count, seed):
    rng = np.random.default_rng(seed)
    rows = metric_rows(rng.normal(size=(count, dimensions)) * rng.integers(0, 2, (count, 1)), metric)
    centres = metric_rows(rng.normal(size=(3, dimensions)), metric)
    found, lanes = np.empty((3, count)), np.empty(LANES)
    distances_to(np.ascontiguousarray(rows.T), centres, metric == "spherical", found)
    expected = [[distance(row, 1.0, centre, metric == "spherical", lanes) for row in rows] for centre in centres]
    assert found.tolist() == expected


@pytest.mark.parametrize("metric", ["euclidean", "spherical"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_second_nearest_equals_the_naive_reading(metric, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 9)).astype(dtype)
    centroids = rng.standard_normal((11, 9))
    expected = np.sort(naive(x, centroids, metric), axis=1)[:, 1]
    labels, _ = assign(x, centroids, metric)
    seconds, distances = assign_second(x, centroids, labels, metric)
    assert seconds.dtype == np.int32
    assert (seconds != labels).all()
    np.testing.assert_allclose(distances, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(distances, naive(x, centroids, metric)[np.arange(300), seconds], rtol=1e-12)
    again = assign_second(x[7:9], centroids, labels[7:9], metric)
    assert (again[0] == seconds[7:9]).all()
    assert (again[1] == distances[7:9]).all()


def test_of_one_centroid_there_is_no_second_and_of_equal_ones_it_is_the_lowest():
    x = np.array([[0.0, 3.0]])
    seconds, distances = assign_second(x, np.array([[1.0, 0.0]]), np.zeros(1, np.int32))
    assert (seconds.tolist(), distances.tolist()) == ([-1], [np.inf])
    same = np.array([[1.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
    assert assign_second(x, same, np.ones(1, np.int32))[0].tolist() == [0]
