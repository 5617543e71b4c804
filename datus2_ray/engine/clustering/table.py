"""Tables of centroids, with the tree and the projection that belong to them: of segments, and of the baselines."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pyarrow as pa

from datus2_ray.core.cluster.assignment import Metric
from datus2_ray.core.cluster.clusters import Clusters
from datus2_ray.core.cluster.kmeans import KMeansResult
from datus2_ray.core.cluster.pca import PCA
from datus2_ray.core.cluster.projection import Projection
from datus2_ray.core.cluster.scaling import Scaling
from datus2_ray.core.cluster.tree import Tree
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Clustered, TokensClustered, TokensMerged

CENTROIDS, TREE = "centroids.parquet", "tree.parquet"

#: Sets of masks that the baselines make.
PLAIN, MERGED = "token_kmeans", "token_kmeans_merged"


def write_clusters(folder: str, result: KMeansResult, tree: Tree, projection: Projection) -> None:
    """Write fine clusters, the tree that merges them, the k-means curve and the projection to ``clusters/``."""
    columns = {"centroid": list(result.centroids), "segments": result.sizes}
    _write(folder, CENTROIDS, pa.table(columns, schema=schemas.CENTROIDS))
    _write_tree(folder, tree)
    curve = [
        {"iteration": i + 1, "inertia": item.inertia, "shift": item.shift, "relocated": item.relocated}
        for i, item in enumerate(result.history)
    ]
    _write(folder, "history.parquet", pa.Table.from_pylist(curve, schema=schemas.HISTORY))
    _write_projection(folder, projection)


def read_clusters(clustered: Commit[Clustered], k: int) -> Clusters:
    """Read the clusters of a run's segments at the level of the tree that has K of them.

    Raises
    ------
    UsageError
        If there are fewer fine clusters.
    """
    centroids, members = _read_centroids(clustered, CENTROIDS), read_tree(clustered.uri).members(k)
    return Clusters(centroids, members, cast("Metric", clustered.facts.metric), _read_projection(clustered.uri))


def write_token_tree(folder: str, fine: KMeansResult, tree: Tree, projection: Projection) -> None:
    """Write fine clusters of tokens, the tree that merges them, and the projection to ``token_tree/``."""
    write_token_clusters(folder, fine, projection)
    _write_tree(folder, tree)


def write_token_clusters(folder: str, result: KMeansResult, projection: Projection) -> None:
    """Write the centroids of clusters of tokens and the projection."""
    columns = {"centroid": list(result.centroids), "tokens": result.sizes}
    _write(folder, CENTROIDS, pa.table(columns, schema=schemas.TOKEN_CENTROIDS))
    _write_projection(folder, projection)


def read_token_clusters(merged: Commit[TokensMerged], baseline: Commit[TokensClustered]) -> dict[str, Clusters]:
    """Read the clusters of a run's patch tokens, by the name of the set of masks that they make.

    Those that are merged are the level of the tree that has as many as the baseline.
    """
    fine, plain = (_read_centroids(commit, CENTROIDS) for commit in (merged, baseline))
    k = len(plain)
    return {
        PLAIN: Clusters(plain, np.arange(k, dtype=np.int32), "spherical", _read_projection(baseline.uri)),
        MERGED: Clusters(fine, read_tree(merged.uri).members(k), "spherical", _read_projection(merged.uri)),
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


def _read_centroids(commit: Commit[Any], name: str) -> np.ndarray:
    return np.array(parquet.read_table(commit.path(name))["centroid"].to_pylist())


def _write_tree(folder: str, tree: Tree) -> None:
    nodes = np.arange(tree.leaves, tree.leaves + len(tree.left), dtype=np.int32)
    columns = {"node": nodes, "left": tree.left, "right": tree.right, "height": tree.heights, "weight": tree.weights}
    _write(folder, TREE, pa.table(columns, schema=schemas.TREE))


def read_tree(folder: str) -> Tree:
    """Read the tree of a result of `cluster` or `token_tree`."""
    table = parquet.read_table(storage.join(folder, TREE))
    return Tree(*(table[name].to_numpy() for name in ("left", "right", "height", "weight")))
