"""Scores of a resolution of Louvain and of numbers of clusters K, on a sample that was segmented in two views.

The segments of either view are clustered on their own, as the whole set will be. Where the two clusterings agree most
on what belongs together, the segments follow what is in the images rather than the accidents of a view. Agreement alone
does not choose K, as few clusters agree easily; there the silhouette is added, which measures how far they lie apart.

Ben-Hur, Elisseeff and Guyon, "A stability based method for discovering structure in clustered data", PSB 2002.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from sklearn.metrics import adjusted_rand_score, pairwise_distances, silhouette_score

from datus2_ray.config.cluster import ClusterConfig
from datus2_ray.core.cluster.projection import fit_projection
from datus2_ray.core.cluster.questions import block_labels
from datus2_ray.core.cluster.rows import LocalRows
from datus2_ray.core.images.labels import paint
from datus2_ray.engine.clustering.kmeans import build_tree, run_kmeans
from datus2_ray.stages.sample.mirrored import View, read_views

#: Clusterings per view, over which scores are averaged: those of one vary by 0.1, more than resolutions differ by.
#: Their seeds are fixed: runs of several seeds share segments.
CLUSTERINGS = 10

#: Max fine clusters, four times the largest K compared: a sample has fewer segments than a whole set.
FINE = 120

#: Max segments on which the silhouette is computed: its time grows with their square.
SILHOUETTE_SEGMENTS = 1000


@dataclass(frozen=True)
class Score:
    """Scores of a resolution and a number of clusters on the sample.

    ``agreement`` is the adjusted Rand index of the two views' pseudo-labels, patch by patch; ``silhouette`` the mean
    silhouette of the segments' descriptors, None where only one K is compared.
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
    """Score at one resolution those values of K, among ``counts``, for which the sample has enough segments.

    ``resolutions`` are all for which the table, of ``sample/``, has segments.
    """
    views = read_views(sample, resolutions, resolution)
    fewest = min(sum(map(len, view.descriptors)) for view in views)
    counts = [k for k in counts if 2 <= k < fewest]
    if not counts:
        return []
    compares_k = len(counts) > 1
    # Several K are read off one tree also where the run will merge nothing.
    fine = min(config.fine or FINE, FINE) if config.fine or compares_k else counts[0]
    fine = max(max(counts), min(fine, fewest))
    # Restarts are replaced by the several clusterings.
    once = config.model_copy(update={"restarts": 1})
    blocks = [LocalRows([np.concatenate(view.descriptors)], areas=[_areas(view)]) for view in views]
    for rows in blocks:
        fit_projection(rows, config.scaling, config.pca, config.whitening)
    distances = [_Distances(rows.blocks[0].x, config.metric) for rows in blocks] if compares_k else []
    agreements, silhouettes = np.zeros((2, CLUSTERINGS, len(counts)))
    for seed in range(CLUSTERINGS):
        results = [(rows, run_kmeans(rows, fine, once, seed)) for rows in blocks]
        nearest = [rows.ask(block_labels, result.centroids, config.metric)[0] for rows, result in results]
        trees = [build_tree(rows, result, config.metric) for rows, result in results]
        for column, k in enumerate(counts):
            labels = [tree.members(k)[segments] for tree, segments in zip(trees, nearest, strict=True)]
            painted = (_paint(view, of_view, k) for view, of_view in zip(views, labels, strict=True))
            agreements[seed, column] = adjusted_rand_score(*(np.concatenate(maps, axis=None) for maps in painted))
            if compares_k:
                of_views = zip(distances, labels, strict=True)
                silhouettes[seed, column] = np.mean([between.silhouette(own) for between, own in of_views])
    mean = silhouettes.mean(axis=0).tolist() if compares_k else [None] * len(counts)
    rows_of_scores = zip(counts, agreements.mean(axis=0).tolist(), mean, strict=True)
    return [Score(resolution, *row) for row in rows_of_scores]


def _areas(view: View) -> np.ndarray:
    """Return the patches of every segment, int64 [n]."""
    pairs = zip(view.maps, view.descriptors, strict=True)
    return np.concatenate([np.bincount(found[found >= 0], minlength=len(of_image)) for found, of_image in pairs])


def _paint(view: View, labels: np.ndarray, k: int) -> list[np.ndarray]:
    ends = np.cumsum([len(descriptors) for descriptors in view.descriptors])
    images = np.split(labels, ends[:-1])
    return [paint(patch_map, of_image, k) for patch_map, of_image in zip(view.maps, images, strict=True)]


class _Distances:
    """Distances between some segments, evenly from all images: the same for all K."""

    def __init__(self, x: np.ndarray, metric: str) -> None:
        self._chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), SILHOUETTE_SEGMENTS)).astype(int))
        kind = "cosine" if metric == "spherical" else "euclidean"
        self._distances = pairwise_distances(x[self._chosen], metric=kind)
        # A matrix product leaves a trace of rounding in the distance of a segment to itself.
        np.fill_diagonal(self._distances, 0)

    def silhouette(self, labels: np.ndarray) -> float:
        chosen = labels[self._chosen]
        if not 2 <= len(np.unique(chosen)) < len(chosen):
            return 0.0
        return float(silhouette_score(self._distances, chosen, metric="precomputed"))
