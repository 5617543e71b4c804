"""Tables of centroids, with the tree and the projection that belong to them: of segments, and of the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from datus2_ray.core.cluster.assignment import Metric
from datus2_ray.core.cluster.clusters import Clusters
from datus2_ray.core.cluster.consensus import Vote, agree
from datus2_ray.core.cluster.kmeans import KMeansResult
from datus2_ray.core.cluster.pca import PCA
from datus2_ray.core.cluster.projection import Projection
from datus2_ray.core.cluster.scaling import Scaling
from datus2_ray.core.cluster.tree import Tree, merge
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Clustered, TokensClustered, TokensMerged

CENTROIDS, TREE, VOTES = "centroids.parquet", "tree.parquet", "votes.parquet"

#: Columns of a tree, and what they hold of it.
_OF_TREE = {"left": "left", "right": "right", "height": "heights", "weight": "weights"}

#: Sets of masks that the baselines make.
PLAIN, MERGED = "token_kmeans", "token_kmeans_merged"


def write_clusters(folder: str, result: KMeansResult, votes: Sequence[Vote], projection: Projection) -> None:
    """Write fine clusters, what merges them, the k-means curve and the projection to ``clusters/``.

    The first vote is that of the fine clusters themselves.
    """
    columns = {"centroid": list(result.centroids), "segments": result.sizes}
    _write(folder, CENTROIDS, pa.table(columns, schema=schemas.CENTROIDS))
    _write_merges(folder, votes)
    curve = [
        {"iteration": i + 1, "inertia": item.inertia, "shift": item.shift, "relocated": item.relocated}
        for i, item in enumerate(result.history)
    ]
    _write(folder, "history.parquet", pa.Table.from_pylist(curve, schema=schemas.HISTORY))
    _write_projection(folder, projection)


def read_clusters(clustered: Commit[Clustered], k: int) -> Clusters:
    """Read the clusters of a run's segments, K of them.

    Raises
    ------
    UsageError
        If there are fewer fine clusters.
    """
    centroids, members = _read_centroids(clustered.uri), read_tree(clustered, k).members(k)
    return Clusters(centroids, members, cast("Metric", clustered.facts.metric), _read_projection(clustered.uri))


def write_token_tree(folder: str, fine: KMeansResult, votes: Sequence[Vote], projection: Projection) -> None:
    """Write fine clusters of tokens, what merges them, and the projection to ``token_tree/``."""
    write_token_clusters(folder, fine, projection)
    _write_merges(folder, votes)


def write_token_clusters(folder: str, result: KMeansResult, projection: Projection) -> None:
    """Write the centroids of clusters of tokens and the projection."""
    columns = {"centroid": list(result.centroids), "tokens": result.sizes}
    _write(folder, CENTROIDS, pa.table(columns, schema=schemas.TOKEN_CENTROIDS))
    _write_projection(folder, projection)


def read_token_clusters(merged: Commit[TokensMerged], baseline: Commit[TokensClustered]) -> dict[str, Clusters]:
    """Read the clusters of a run's patch tokens, by the name of the set of masks that they make.

    Those that are merged are as many as those of the baseline.
    """
    fine, plain = (_read_centroids(commit.uri) for commit in (merged, baseline))
    k = len(plain)
    return {
        PLAIN: Clusters(plain, np.arange(k, dtype=np.int32), "spherical", _read_projection(baseline.uri)),
        MERGED: Clusters(fine, read_tree(merged, k).members(k), "spherical", _read_projection(merged.uri)),
    }


def _write(folder: str, name: str, table: pa.Table) -> None:
    parquet.write_table(storage.join(folder, name), table)


def _write_projection(folder: str, projection: Projection) -> None:
    if (scaling := projection.scaling) is not None:
        columns = {"mean": scaling.mean, "deviation": scaling.deviation}
        _write(folder, "scaling.parquet", pa.table(columns, schema=schemas.SCALING))
    if (pca := projection.pca) is not None:
        rows = {
            "mean": [pca.mean] * len(pca.components),
            "component": list(pca.components),
            "explained": pca.explained,
            "factor": pca.factors,
        }
        _write(folder, "pca.parquet", pa.table(rows, schema=schemas.PCA))


def _read_projection(folder: str) -> Projection:
    scaling, pca = None, None
    table = storage.if_there(parquet.read_table, storage.join(folder, "scaling.parquet"))
    if table is not None:
        scaling = Scaling(table["mean"].to_numpy(), table["deviation"].to_numpy())
    table = storage.if_there(parquet.read_table, storage.join(folder, "pca.parquet"))
    if table is not None:
        mean, components = np.array(table["mean"][0].as_py()), np.array(table["component"].to_pylist())
        pca = PCA(mean, components, table["explained"].to_numpy(), table["factor"].to_numpy())
    return Projection(scaling, pca)


def _read_centroids(folder: str) -> np.ndarray:
    return np.array(parquet.read_table(storage.join(folder, CENTROIDS))["centroid"].to_pylist())


def _write_merges(folder: str, votes: Sequence[Vote]) -> None:
    tree = votes[0].tree
    nodes = np.arange(tree.leaves, tree.leaves + len(tree.left), dtype=np.int32)
    columns = {"node": nodes, **{name: getattr(tree, of_tree) for name, of_tree in _OF_TREE.items()}}
    _write(folder, TREE, pa.table(columns, schema=schemas.TREE))
    if len(votes) == 1:
        return
    overlaps = [vote.overlap.tocoo() for vote in votes]
    columns = {
        **{name: [getattr(vote.tree, of_tree) for vote in votes] for name, of_tree in _OF_TREE.items()},
        "fine": [overlap.row for overlap in overlaps],
        "own": [overlap.col for overlap in overlaps],
        "area": [overlap.data for overlap in overlaps],
    }
    _write(folder, VOTES, pa.table(columns, schema=schemas.VOTES))


def read_votes(folder: str) -> list[Vote]:
    """Read the votes of a result of `cluster` or `token_tree` in which several clusterings vote."""
    votes: list[Vote] = []
    for row in parquet.read_table(storage.join(folder, VOTES)).to_pylist():
        tree = Tree(*(np.array(row[name]) for name in _OF_TREE))
        area, pairs = np.array(row["area"], dtype=np.int64), (np.array(row["fine"]), np.array(row["own"]))
        leaves = votes[0].tree.leaves if votes else tree.leaves
        votes.append(Vote(tree, sp.csr_array((area, pairs), shape=(leaves, tree.leaves))))
    return votes


def read_tree(commit: Commit[Clustered] | Commit[TokensMerged], k: int) -> Tree:
    """Read the tree of fine clusters; where several clusterings vote, one through the K clusters that they vote for.

    A change of how they are counted raises the versions of `label` and `evaluate`, which read this.
    """
    table = parquet.read_table(commit.path(TREE))
    tree = Tree(*(table[name].to_numpy() for name in _OF_TREE))
    if commit.facts.votes == 1 or k >= tree.leaves:
        return tree
    votes = read_votes(commit.uri)
    weights = np.asarray(votes[0].overlap.sum(axis=1), dtype=np.float64)
    return merge(_read_centroids(commit.uri), weights, agree(votes, k))
