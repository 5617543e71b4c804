"""The tree of the tokens: one for every number of clusters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datus2_ray.engine.clustering.table import read_token_clusters
from datus2_ray.engine.execute import execute
from datus2_ray.engine.run import Run
from datus2_ray.stages.cluster.baseline import BASELINE
from datus2_ray.stages.cluster.token_tree import TOKEN_TREE
from datus2_ray.stages.discover.discover import DISCOVER
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.store import parquet, storage
from datus2_ray.store.facts import TokensClustered, TokensMerged

STAGES = (INGEST, DISCOVER, TOKEN_TREE, BASELINE)
SMALL = (
    "discover.input_size=64",
    "discover.tau=0",
    "evaluate.token_restarts=1",
    "cluster.fine=40",
    "cluster.pca=16",
    "cluster.scaling=centred",
)


def with_k(run: Run, clusters: int, **merging: Any) -> Run:
    """Run the stages with another number of clusters, and other settings of `cluster`, in the same folder."""
    cluster = run.config.cluster.model_copy(update=merging)
    config = run.config.model_copy(update={"clusters": clusters, "cluster": cluster})
    return execute(run.configured(config, run.listing), STAGES)[0]


def test_fine_clusters_are_made_once_for_every_k(open_here: Callable[..., Run], scenes: Path) -> None:
    opened = open_here(scenes, *SMALL, dataset="demo", seed=3)
    few = with_k(opened, 5)
    tree = few.commit(TokensMerged)
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in Path(tree.uri).iterdir()}
    many = with_k(opened, 12)
    assert many.commit(TokensMerged) == tree
    assert {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in Path(tree.uri).iterdir()} == before
    assert many.commit(TokensClustered).uri != few.commit(TokensClustered).uri
    found = read_token_clusters(tree, many.commit(TokensClustered))
    assert [clusters.k for clusters in found.values()] == [12, 12]


def test_what_another_k_finds_is_what_a_run_with_that_k_alone_finds(
    open_here: Callable[..., Run], scenes: Path
) -> None:
    shared = open_here(scenes, *SMALL, dataset="demo", seed=3)
    with_k(shared, 5)
    after, alone = with_k(shared, 12), with_k(open_here(scenes, *SMALL, name="alone", dataset="demo", seed=3), 12)
    for facts, files in ((TokensMerged, ("tree.parquet", "pca.parquet")), (TokensClustered, ())):
        one, other = after.commit(facts), alone.commit(facts)
        assert (one.fingerprint, one.facts) == (other.fingerprint, other.facts)
        for name in ("centroids.parquet", "scaling.parquet", *files):
            assert storage.read_bytes(one.path(name)) == storage.read_bytes(other.path(name))


def test_clusterings_of_a_sample_of_the_tokens_vote(open_here: Callable[..., Run], scenes: Path) -> None:
    opened = open_here(scenes, *SMALL, dataset="demo", seed=3)
    several, one = (with_k(opened, 2, fine=3, votes=votes) for votes in (4, 1))
    for run, votes in ((several, 4), (one, 1)):
        facts = run.facts(TokensMerged)
        assert facts.votes == votes
        assert facts.share == pytest.approx(100 * 3 / (24 * 16))
        assert Path(run.commit(TokensMerged).path("votes.parquet")).exists() == (votes > 1)
    sizes = parquet.read_table(several.commit(TokensMerged).path("centroids.parquet"))["tokens"].to_pylist()
    assert 240 < sum(sizes) < 360
    # What the first clustering finds is merged in either case.
    trees = [storage.read_bytes(run.commit(TokensMerged).path("tree.parquet")) for run in (several, one)]
    assert trees[0] == trees[1]
    # Where nothing is merged, one clustering has fine clusters of its own.
    alone = with_k(opened, 5, fine=None, votes=4).facts(TokensMerged)
    assert (alone.centroids, alone.votes) == (300, 1)


def test_more_clusters_than_fine_ones_have_as_many_fine_ones(open_here: Callable[..., Run], scenes: Path) -> None:
    run = with_k(open_here(scenes, *SMALL, dataset="demo", seed=3), 50)
    assert run.facts(TokensMerged).centroids == 50
    assert [
        clusters.k for clusters in read_token_clusters(run.commit(TokensMerged), run.commit(TokensClustered)).values()
    ] == [50, 50]


def test_what_merges_the_tokens_leaves_the_plain_clusters_as_they_are(
    open_here: Callable[..., Run], scenes: Path
) -> None:
    opened = open_here(scenes, *SMALL, dataset="demo", seed=3)
    one, other = with_k(opened, 5), with_k(opened, 5, fine=20, pca=None, whitening=0.0)
    assert one.commit(TokensMerged).uri != other.commit(TokensMerged).uri
    assert one.commit(TokensClustered) == other.commit(TokensClustered)
    assert with_k(opened, 5, scaling="none").commit(TokensClustered) != one.commit(TokensClustered)
