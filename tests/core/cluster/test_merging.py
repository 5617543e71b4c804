"""Merging of centroids: against scikit-learn, and what must hold for any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from datus2_ray.core.cluster.assignment import Metric
from datus2_ray.core.cluster.merging import merge_centroids


@pytest.mark.parametrize("metric", ["euclidean", "spherical"])
@pytest.mark.parametrize("k", [1, 2, 7, 59])
def test_the_clusters_are_those_of_scikit_learn(metric: Metric, k: int) -> None:
    centroids = np.random.default_rng(0).normal(size=(60, 12)) * np.linspace(0.1, 5, 60)[:, None]
    points = centroids / np.linalg.norm(centroids, axis=1, keepdims=True) if metric == "spherical" else centroids
    theirs = AgglomerativeClustering(k, linkage="average").fit_predict(points.astype(np.float32))
    ours = merge_centroids(centroids, k, metric)
    assert ours.dtype == np.int32
    assert adjusted_rand_score(ours, theirs) == 1.0


@given(st.integers(1, 12), st.integers(0, 20), st.integers(0, 2**32 - 1), st.booleans())
def test_there_are_as_many_clusters_as_asked_for_in_the_order_of_their_first(
    clusters: int, more: int, seed: int, equal: bool
) -> None:
    rng = np.random.default_rng(seed)
    count = clusters + more
    # Equal distances, even equal centroids, are no reason for fewer clusters.
    centroids = np.ones((count, 3)) if equal else rng.integers(-1, 2, (count, 3)).astype(np.float64)
    merged = merge_centroids(centroids, clusters, "euclidean")
    found, first = np.unique(merged, return_index=True)
    assert found.tolist() == list(range(clusters))
    assert (np.diff(first) > 0).all()


def test_one_centroid_a_cluster_is_left_as_it_is() -> None:
    centroids = np.random.default_rng(1).normal(size=(5, 2))
    assert merge_centroids(centroids, 5, "spherical").tolist() == [0, 1, 2, 3, 4]
