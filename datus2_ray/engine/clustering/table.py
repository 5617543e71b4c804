"""Tables of centroids, with the projection that belongs to them: of the segments' clusters and of the baseline's."""

from __future__ import annotations

from typing import cast

import numpy as np
import pyarrow as pa

from datus2_ray.core.cluster.assignment import Metric
from datus2_ray.core.cluster.clusters import Clusters
from datus2_ray.core.cluster.kmeans import KMeansResult
from datus2_ray.core.cluster.pca import PCA
from datus2_ray.core.cluster.projection import Projection
from datus2_ray.core.cluster.scaling import Scaling
from datus2_ray.store import schemas, storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Clustered, TokensClustered


def write_clusters(folder: str, result: KMeansResult, members: np.ndarray, projection: Projection) -> None:
    """Write centroids with the cluster of each, the k-means curve and the projection to ``clusters/``."""
    columns = {"cluster": members, "centroid": list(result.centroids), "segments": result.sizes}
    _write(folder, "centroids.parquet", pa.table(columns, schema=schemas.CENTROIDS))
    curve = [
        {"iteration": i + 1, "inertia": item.inertia, "shift": item.shift, "relocated": item.relocated}
        for i, item in enumerate(result.history)
    ]
    _write(folder, "history.parquet", pa.Table.from_pylist(curve, schema=schemas.HISTORY))
    _write_projection(folder, projection)


def read_clusters(clustered: Commit[Clustered]) -> Clusters:
    """Read the clusters of a run's segments."""
    return _read(clustered.uri, cast("Metric", clustered.facts.metric))


def write_token_clusters(folder: str, result: KMeansResult, projection: Projection) -> None:
    """Write centroids and projection to the baseline's folder."""
    numbers = np.arange(len(result.centroids), dtype=np.int32)
    columns = {"cluster": numbers, "centroid": list(result.centroids), "tokens": result.sizes}
    _write(folder, "centroids.parquet", pa.table(columns, schema=schemas.TOKEN_CENTROIDS))
    _write_projection(folder, projection)


def read_token_clusters(baseline: Commit[TokensClustered]) -> Clusters:
    """Read the clusters of a run's patch tokens."""
    return _read(baseline.uri, "spherical")


def _write(folder: str, name: str, table: pa.Table) -> None:
    storage.write_table(storage.join(folder, name), table)


def _write_projection(folder: str, projection: Projection) -> None:
    if (scaling := projection.scaling) is not None:
        columns = {"mean": scaling.mean, "deviation": scaling.deviation}
        _write(folder, "scaling.parquet", pa.table(columns, schema=schemas.SCALING))
    if (pca := projection.pca) is not None:
        rows = {"mean": [pca.mean] * len(pca.components), "component": list(pca.components), "explained": pca.explained}
        _write(folder, "pca.parquet", pa.table(rows, schema=schemas.PCA))


def _read(folder: str, metric: Metric) -> Clusters:
    centroids = storage.read_table(storage.join(folder, "centroids.parquet"))
    scaling, pca = None, None
    if storage.exists(storage.join(folder, "scaling.parquet")):
        table = storage.read_table(storage.join(folder, "scaling.parquet"))
        scaling = Scaling(table["mean"].to_numpy(), table["deviation"].to_numpy())
    if storage.exists(storage.join(folder, "pca.parquet")):
        table = storage.read_table(storage.join(folder, "pca.parquet"))
        components = np.array(table["component"].to_pylist())
        pca = PCA(np.array(table["mean"][0].as_py()), components, table["explained"].to_numpy())
    members = centroids["cluster"].to_numpy()
    return Clusters(np.array(centroids["centroid"].to_pylist()), members, metric, Projection(scaling, pca))
