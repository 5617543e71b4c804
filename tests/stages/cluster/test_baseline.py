"""The baselines of a run: what one process makes of its patch tokens, in K clusters and in many that are merged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datus2_ray.core.cluster.kmeans import kmeans
from datus2_ray.core.cluster.pca import fit_pca
from datus2_ray.core.cluster.rows import LocalRows
from datus2_ray.core.cluster.scaling import fit_scaling
from datus2_ray.core.cluster.tree import merge
from datus2_ray.engine.clustering.table import MERGED, PLAIN, read_token_clusters
from datus2_ray.engine.execute import execute
from datus2_ray.engine.run import Run
from datus2_ray.stages.cluster.baseline import BASELINE
from datus2_ray.stages.cluster.token_tree import FINE, FINE_ITERATIONS, FINE_START, TOKEN_TREE
from datus2_ray.stages.discover.discover import DISCOVER
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.store import parquet, schemas
from datus2_ray.store.columns import list_arrays
from datus2_ray.store.facts import Discovered, TokensClustered, TokensMerged

SMALL = ("discover.input_size=64", "discover.tau=0", "discover.descriptor=tokens", "evaluate.token_restarts=1")


@pytest.mark.parametrize(
    ("fine", "pca", "expected"), [("40", "null", 40), ("40", "16", 40), ("1000", "16", 384), ("null", "null", FINE)]
)
def test_both_baselines_are_those_of_one_process(
    open_here: Callable[..., Run], scenes: Path, fine: str, pca: str, expected: int
) -> None:
    settings = (f"cluster.fine={fine}", f"cluster.pca={pca}", "cluster.whitening=0.5", "cluster.scaling=centred")
    run = open_here(scenes, *SMALL, *settings, dataset="demo", clusters=5, seed=3)
    run, _ = execute(run, (INGEST, DISCOVER, TOKEN_TREE, BASELINE))
    segments, tree, baseline = run.commit(Discovered), run.commit(TokensMerged), run.commit(TokensClustered)
    tables = [parquet.read_table(segments.path(part))["tokens"] for part in sorted(segments.parts)]
    rows = LocalRows([np.concatenate([tokens for table in tables for tokens in list_arrays(table)])])
    rows.project(fit_scaling(rows, "centred"))
    plain = kmeans(rows, 5, metric="spherical", seed=3)
    if pca != "null":
        rows.project(fit_pca(rows, int(pca), 0.5))
    short = {"sample_size": FINE_START * expected, "max_iterations": FINE_ITERATIONS}
    many = kmeans(rows, expected, metric="spherical", seed=3, **short)
    # A token is a segment of its own here, and a patch.
    weights = np.maximum(many.sizes, 1).astype(np.float64)
    found = read_token_clusters(tree, baseline)
    assert list(found) == [PLAIN, MERGED]
    assert tree.facts.centroids == expected
    np.testing.assert_array_equal(found[PLAIN].centroids, plain.centroids)
    np.testing.assert_array_equal(found[MERGED].centroids, many.centroids)
    assert found[PLAIN].members.tolist() == list(range(5))
    np.testing.assert_array_equal(found[MERGED].members, merge(many.centroids, weights).members(5))
    for commit in (tree, baseline):
        assert parquet.read_table(commit.path("centroids.parquet")).schema.equals(schemas.TOKEN_CENTROIDS)
