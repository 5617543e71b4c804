"""Consensus of clusterings: against a search over all matchings, and what holds for any votes."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from datus2_ray.core.cluster.consensus import Vote, _without_empty, agree
from datus2_ray.core.cluster.tree import Tree, merge
from datus2_ray.errors import UsageError


def tree_of(members: np.ndarray) -> Tree:
    """Return a tree that has these clusters at its level of as many."""
    leaves = len(members)
    return merge(np.random.default_rng(0).normal(size=(leaves, 3)), np.ones(leaves), members.astype(np.int32))


def vote_for(labels: np.ndarray, areas: np.ndarray) -> Vote:
    """Return a vote whose fine clusters are those that are merged, and are in the clusters of these labels."""
    return Vote(tree_of(labels), sp.csr_array(np.diag(areas)))


def random_votes(seed: int, leaves: int, own: int, count: int) -> list[Vote]:
    rng = np.random.default_rng(seed)
    overlaps = rng.integers(0, 9, (count, leaves, own)) * (rng.random((count, leaves, own)) < 0.5)
    trees = [merge(rng.normal(size=(own, 2)), np.ones(own)) for _ in range(count)]
    return [Vote(tree, sp.csr_array(overlap)) for tree, overlap in zip(trees, overlaps, strict=True)]


def test_the_area_of_a_fine_cluster_in_a_cluster_is_that_of_its_parts() -> None:
    (vote,) = random_votes(1, leaves=5, own=7, count=1)
    members, overlap = vote.tree.members(3), vote.overlap.toarray()
    expected = [[overlap[fine, members == cluster].sum() for cluster in range(3)] for fine in range(5)]
    assert vote.areas(3).tolist() == expected
    assert vote.areas(3).dtype == np.int64


def test_a_majority_decides_whatever_the_clusters_are_called() -> None:
    areas = np.array([10, 10, 10, 10, 3, 3])
    truth = np.array([0, 0, 1, 1, 2, 2])
    wrong = np.array([0, 1, 1, 1, 2, 2])
    votes = [vote_for(labels, areas) for labels in (wrong, truth, np.array([2, 2, 0, 0, 1, 1]))]
    assert adjusted_rand_score(agree(votes, 3), truth) == 1.0


def test_the_area_counts_and_not_the_number_of_votes() -> None:
    # Two clusters; the last fine cluster has parts in both, of which each vote has seen its own.
    sides = ([0, 2], [0, 1], [9, 0])
    votes = [Vote(tree_of(np.array([0, 1])), sp.csr_array(np.array([[10, 0], [0, 10], side]))) for side in sides]
    of_two, of_three = agree(votes[:2], 2), agree(votes, 2)
    assert of_two[2] == of_two[1] != of_two[0]
    assert of_three[2] == of_three[0] != of_three[1]


@given(st.integers(0, 2**32 - 1), st.integers(2, 4))
def test_two_votes_share_the_most_that_any_matching_allows(seed: int, k: int) -> None:
    first, second = random_votes(seed, leaves=6, own=6, count=2)
    areas = [vote.areas(k) for vote in (first, second)]
    labels, weights = [one.argmax(axis=1) for one in areas], areas[0].sum(axis=1)
    shared = [
        sum(int(weights[i]) for i in range(6) if matching[labels[0][i]] == labels[1][i])
        for matching in permutations(range(k))
    ]
    candidates = [matching for matching, one in zip(permutations(range(k)), shared, strict=True) if one == max(shared)]
    totals = [areas[0] + areas[1][:, list(matching)] for matching in candidates]
    members = agree([first, second], k)
    # Each fine cluster is where the votes have most of it, but for those that an empty cluster was given.
    fits = [int((total[np.arange(6), members] == total.max(axis=1)).sum()) for total in totals]
    assert max(fits) >= 6 - (k - 1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 6))
def test_there_are_k_clusters(seed: int, k: int, count: int) -> None:
    members = agree(random_votes(seed, leaves=9, own=10, count=count), k)
    assert members.dtype == np.int32
    assert np.unique(members).tolist() == list(range(k))


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_one_vote_for_itself_is_its_tree(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    tree = merge(rng.normal(size=(8, 3)), np.ones(8))
    members = agree([Vote(tree, sp.csr_array(np.diag(rng.integers(1, 9, 8))))], k)
    assert members.tolist() == tree.members(k).tolist()


def test_clusters_are_matched_with_those_of_the_vote_that_shares_most_with_the_others() -> None:
    # Matched with the clusters of the first vote, or with those of the last, the two that are the same would not win.
    areas, same = np.array([3, 3, 5, 2, 4, 1, 2]), np.array([2, 2, 0, 0, 1, 1, 1])
    first, last = np.array([2, 1, 0, 1, 1, 2, 1]), np.array([2, 2, 0, 0, 0, 1, 2])
    votes = [vote_for(labels, areas) for labels in (first, same, same, last)]
    assert adjusted_rand_score(agree(votes, 3), same) == 1.0


def test_into_an_empty_cluster_goes_what_has_most_of_its_area_there() -> None:
    members = np.array([0, 0, 0, 1], dtype=np.int32)
    total = np.array([[9, 0, 1], [6, 0, 5], [8, 0, 3], [0, 9, 8]])
    # The last fine cluster has the largest share, and stays: it is the only one of its cluster.
    assert _without_empty(members, total).tolist() == [0, 2, 0, 1]
    assert _without_empty(np.array([0, 0], np.int32), np.array([[3, 0], [2, 0]])).tolist() in ([0, 1], [1, 0])


def test_a_fine_cluster_that_no_row_is_nearest_to_stays_where_its_tree_has_it() -> None:
    # As gather_votes() gives it an area of 1 in the first vote alone.
    places, areas = np.array([[0.0], [0.1], [10.0], [10.1], [10.05]]), np.array([4, 4, 4, 4, 0])
    tree = merge(places, np.maximum(areas, 1).astype(float))
    votes = [Vote(tree, sp.csr_array(np.diag(own))) for own in (np.maximum(areas, 1), areas, areas)]
    assert agree(votes, 2).tolist() == tree.members(2).tolist() == [0, 0, 1, 1, 1]


def test_more_clusters_than_there_are_fine_ones_are_refused() -> None:
    with pytest.raises(UsageError, match="K = 4 is not between 1 and the 3 fine clusters"):
        agree([vote_for(np.array([0, 1, 1]), np.ones(3, np.int64))], 4)
