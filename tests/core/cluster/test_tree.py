"""The tree of clusters: against SciPy, also on rows repeated as often as they weigh, and what holds for any tree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score

from datus2_ray.core.cluster.tree import Tree, merge
from datus2_ray.errors import UsageError


def made_of(centroids: np.ndarray, weights: np.ndarray | None = None) -> Tree:
    return merge(centroids, np.ones(len(centroids)) if weights is None else weights)


@pytest.mark.parametrize("count", [1, 2, 3, 60, 300])
def test_without_weights_it_is_scipys(count: int) -> None:
    centroids = np.random.default_rng(0).normal(size=(count, 12)) * np.linspace(0.1, 5, count)[:, None]
    tree = made_of(centroids)
    assert tree.leaves == count
    assert (tree.left.dtype, tree.members(1).dtype) == (np.int32, np.int32)
    if count > 1:
        theirs = linkage(centroids, "average")
        np.testing.assert_array_equal(np.column_stack([tree.left, tree.right]), theirs[:, :2])
        np.testing.assert_allclose(tree.heights, theirs[:, 2], rtol=1e-9)
        np.testing.assert_array_equal(tree.weights, theirs[:, 3])


@given(st.integers(2, 14), st.integers(0, 2**32 - 1))
def test_with_weights_it_is_scipys_of_repeated_rows(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    centroids, times = rng.normal(size=(count, 4)), rng.integers(1, 6, count)
    tree = made_of(centroids, times.astype(np.float64))
    repeated = linkage(np.repeat(centroids, times, axis=0), "average")
    # Equal rows come first, at no distance, or what rounding leaves of one.
    np.testing.assert_allclose(repeated[: 1 - count, 2], 0, atol=1e-6)
    np.testing.assert_allclose(tree.heights, repeated[1 - count :, 2], rtol=1e-6)
    np.testing.assert_array_equal(tree.weights, repeated[1 - count :, 3])
    for k in range(1, count + 1):
        theirs = fcluster(repeated, k, "maxclust")
        assert adjusted_rand_score(np.repeat(tree.members(k), times), theirs) == 1.0


@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 2**32 - 1), st.booleans())
def test_levels_lie_within_each_other_and_have_all_clusters(k: int, more: int, seed: int, equal: bool) -> None:
    rng = np.random.default_rng(seed)
    # Equal distances, even equal centroids, are no reason for fewer clusters.
    centroids = np.ones((k + more, 3)) if equal else rng.integers(-1, 2, (k + more, 3)).astype(np.float64)
    tree = made_of(centroids, rng.integers(1, 4, k + more).astype(np.float64))
    members = tree.members(k)
    found, first = np.unique(members, return_index=True)
    assert found.tolist() == list(range(k))
    assert (np.diff(first) > 0).all()
    assert (np.diff(tree.heights) >= 0).all()
    if more:
        finer = tree.members(k + 1)
        assert all(len(np.unique(members[finer == number])) == 1 for number in range(k + 1))


def test_of_equal_pairs_the_first_is_joined() -> None:
    corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [9.0, 0.0], [9.0, 1.0]])
    tree = made_of(corners)
    assert list(zip(tree.left.tolist(), tree.right.tolist(), strict=True))[:3] == [(0, 1), (2, 3), (4, 5)]
    assert tree.members(3).tolist() == [0, 0, 1, 1, 2, 2]


def test_weight_draws_a_union_towards_itself() -> None:
    # The union of the first two lies near the heavy one, and so nearer to the third than to the fourth, or the reverse.
    places = np.array([[0.0], [1.0], [-2.1], [3.0]])
    for heavy, joined in ((0, [0, 0, 0, 1]), (1, [0, 0, 1, 0])):
        weights = np.ones(4)
        weights[heavy] = 50.0
        assert made_of(places, weights).members(2).tolist() == joined


@given(st.integers(1, 5), st.integers(0, 9), st.integers(0, 2**32 - 1), st.booleans())
def test_a_tree_leads_through_given_clusters(k: int, more: int, seed: int, equal: bool) -> None:
    rng = np.random.default_rng(seed)
    members = rng.permutation(np.concatenate([np.arange(k), rng.integers(k, size=more)])).astype(np.int32)
    centroids = np.ones((k + more, 2)) if equal else rng.normal(size=(k + more, 2))
    weights = rng.integers(1, 4, k + more).astype(np.float64)
    tree = merge(centroids, weights, members)
    assert adjusted_rand_score(tree.members(k), members) == 1.0
    assert (np.diff(tree.heights) >= 0).all()
    # Within a cluster the parts are joined as they are without the others.
    for cluster in range(k):
        inside = members == cluster
        alone = merge(centroids[inside], weights[inside])
        for level in range(1, inside.sum() + 1):
            parts = [tree.members(n)[inside] for n in range(k, k + more + 1)]
            assert equal or any(adjusted_rand_score(part, alone.members(level)) == 1.0 for part in parts)


def test_the_clusters_of_a_tree_change_nothing_where_it_leads_through_a_tree_again() -> None:
    rng = np.random.default_rng(5)
    centroids, weights = rng.normal(size=(40, 6)), rng.integers(1, 9, 40).astype(np.float64)
    plain = merge(centroids, weights)
    again = merge(centroids, weights, plain.members(7))
    for name in ("left", "right", "weights"):
        np.testing.assert_array_equal(getattr(again, name), getattr(plain, name))
    np.testing.assert_allclose(again.heights, plain.heights, rtol=1e-12)


def test_there_is_no_level_beyond_the_fine_clusters() -> None:
    tree = made_of(np.random.default_rng(1).normal(size=(5, 2)))
    assert tree.members(5).tolist() == [0, 1, 2, 3, 4]
    for k in (0, 6):
        with pytest.raises(UsageError, match=f"K = {k} is not between 1 and the 5 fine clusters"):
            tree.members(k)


@given(st.integers(1, 14), st.integers(0, 2**32 - 1))
def test_in_the_order_of_spans_the_fine_clusters_of_every_node_stand_together(leaves: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    tree = merge(random.random((leaves, 2)), random.random(leaves) + 0.1)
    order, spans = tree.spans()
    assert sorted(order.tolist()) == list(range(leaves))
    members: list[set[int]] = [{leaf} for leaf in range(leaves)]
    members += [set() for _ in range(leaves - 1)]
    for merge_number in range(leaves - 1):
        members[leaves + merge_number] = members[tree.left[merge_number]] | members[tree.right[merge_number]]
    assert [set(order[start:stop].tolist()) for start, stop in spans] == members
