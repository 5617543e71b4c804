"""Choice: how a resolution of Louvain and a number of clusters K do on a sample that was seen in two views.

The segments of either view are clustered on their own, as the whole set will be. Where the two clusterings agree most
on what belongs together, the segments follow what is in the images rather than the accidents of a view. Agreement alone
says little of K, as few clusters agree easily; there the silhouette counts too, which says how far they lie apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from sklearn.metrics import pairwise_distances, silhouette_score

from datus2_ray.config.stages import ClusterConfig
from datus2_ray.core.cluster.cooccurrence import count_together, log_lift
from datus2_ray.core.cluster.kmeans import Metric
from datus2_ray.core.cluster.merging import merge_centroids
from datus2_ray.core.cluster.projection import Projection, fit_projection
from datus2_ray.core.cluster.shards import LocalShards
from datus2_ray.core.score.stability import agreement
from datus2_ray.stages.cluster.cluster import Clusters, run_kmeans
from datus2_ray.stages.label.label import paint
from datus2_ray.stages.sample.mirrored import View, read_views

#: Clusterings a view, over which scores are averaged: one alone varies by 0.1, more than resolutions differ by. Their
#: seeds are fixed: runs of several seeds share segments.
CLUSTERINGS = 10

#: Centroids that are merged to each of several K, four times the most clusters that are looked for.
FINER = 120

#: Segments on which the silhouette is computed, at most: its time grows with their square.
SILHOUETTE_SEGMENTS = 1000


@dataclass(frozen=True)
class Score:
    """What a resolution and a number of clusters are worth on the sample.

    Parameters
    ----------
    resolution : float
        Of Louvain.
    clusters : int
        K.
    agreement : float
        Adjusted Rand index of the two views' pseudo-labels, patch by patch.
    silhouette : float or None
        Mean silhouette of the segments' descriptors; None where K was not in question.
    """

    resolution: float
    clusters: int
    agreement: float
    silhouette: float | None

    @property
    def total(self) -> float:
        """What is compared: higher is better."""
        return self.agreement + (self.silhouette or 0.0)


def score(
    sample: pa.Table, resolutions: Sequence[float], resolution: float, counts: Sequence[int], config: ClusterConfig
) -> list[Score]:
    """Score every number of clusters at a resolution.

    Parameters
    ----------
    sample : Table
        Of ``sample/``.
    resolutions : sequence of float
        All for which it has segments.
    resolution : float
        One of them.
    counts : sequence of int
        Numbers of clusters that come into question.
    config : ClusterConfig
        How segments are clustered.

    Returns
    -------
    list of Score
        Of those numbers that the sample has segments enough for.
    """
    views = read_views(sample, resolutions, resolution)
    fewest = min(sum(map(len, view.descriptors)) for view in views)
    counts = [count for count in counts if 2 <= count < fewest]
    if not counts:
        return []
    several = len(counts) > 1
    finer = FINER if several else config.overclustering * counts[0]
    finer = max(max(counts), min(finer, fewest))
    agreements, silhouettes = np.zeros((2, CLUSTERINGS, len(counts)))
    projections = [_projection(view, config) for view in views]
    pairs = zip(views, projections, strict=True)
    distances = [_distances(*pair, config.metric) for pair in pairs] if several else []
    for seed in range(CLUSTERINGS):
        found = [_fit(*pair, finer, config, seed) for pair in zip(views, projections, strict=True)]
        nearest = [[one.assign(rows)[0] for rows in view.descriptors] for view, one in zip(views, found, strict=True)]
        lifts = [log_lift(count_together(near, finer), len(near)) if config.apart else None for near in nearest]
        for number, count in enumerate(counts):
            members = [
                merge_centroids(one.centroids, count, config.metric, lift, config.apart)
                for one, lift in zip(found, lifts, strict=True)
            ]
            labels = [[merged[rows] for rows in near] for merged, near in zip(members, nearest, strict=True)]
            here, there = (_paint(view, one, count) for view, one in zip(views, labels, strict=True))
            agreements[seed, number] = agreement(here, there, count)
            if several:
                known = zip(distances, labels, strict=True)
                silhouettes[seed, number] = np.mean([_silhouette(*of_view, one) for of_view, one in known])
    mean = silhouettes.mean(axis=0).tolist() if several else [None] * len(counts)
    rows = zip(counts, agreements.mean(axis=0).tolist(), mean, strict=True)
    return [Score(resolution, *row) for row in rows]


def _fit(view: View, projection: Projection, finer: int, config: ClusterConfig, seed: int) -> Clusters:
    x = np.concatenate(view.descriptors)
    # Restarts would be averaged over as well: the several clusterings do for them.
    once = config.model_copy(update={"restarts": 1})
    centroids = run_kmeans(LocalShards([projection.transform(x)]), finer, once, seed).centroids
    return Clusters(centroids, np.arange(finer, dtype=np.int32), config.metric, projection)


def _projection(view: View, config: ClusterConfig) -> Projection:
    x = np.concatenate(view.descriptors)
    return fit_projection(lambda so_far: nullcontext(LocalShards([so_far.transform(x)])), config.scaling, config.pca)


def _paint(view: View, labels: list[np.ndarray], count: int) -> list[np.ndarray]:
    return [paint(patch_map, one, count) for patch_map, one in zip(view.maps, labels, strict=True)]


def _distances(view: View, projection: Projection, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """Give the numbers of some segments, evenly from all images, and the distances between them: the same for all K."""
    x = np.concatenate(view.descriptors)
    taken = np.unique(np.linspace(0, len(x) - 1, min(len(x), SILHOUETTE_SEGMENTS)).astype(int))
    chosen = projection.transform(x[taken])
    distances = pairwise_distances(chosen, metric="cosine" if metric == "spherical" else "euclidean")
    # A matrix product leaves a trace of rounding where a segment meets itself.
    np.fill_diagonal(distances, 0)
    return taken, distances


def _silhouette(taken: np.ndarray, distances: np.ndarray, labels: list[np.ndarray]) -> float:
    of_taken = np.concatenate(labels)[taken]
    if not 2 <= len(np.unique(of_taken)) < len(of_taken):
        return 0.0
    return float(silhouette_score(distances, of_taken, metric="precomputed"))
