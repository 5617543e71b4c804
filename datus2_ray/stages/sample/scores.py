"""Scores of numbers of clusters K, on a sample that was segmented in two views.

The segments of either view are clustered on their own, as the whole set will be by each clustering that votes. Where
the two clusterings agree on what belongs together, they follow what is in the images rather than the accidents of a
view. Agreement alone does not choose K, as few clusters agree easily; the silhouette is added, which measures how far
they lie apart.

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
from datus2_ray.engine.clustering.kmeans import gather_votes, run_kmeans
from datus2_ray.stages.sample.mirrored import View, read_views

#: Clusterings per view, over which scores are averaged. Their seeds are fixed: runs of several seeds share segments.
CLUSTERINGS = 5

#: Max fine clusters, four times the largest K compared: a sample has fewer segments than a whole set.
FINE = 120

#: Max segments per fine cluster that k-means++ chooses from.
START = 20

#: Max segments on which the silhouette is computed: its time grows with their square.
SILHOUETTE_SEGMENTS = 1000


@dataclass(frozen=True)
class Score:
    """Scores of a number of clusters on the sample.

    ``agreement`` is the adjusted Rand index of the two views' pseudo-labels, patch by patch; ``silhouette`` the mean
    silhouette of the segments' descriptors.
    """

    clusters: int
    agreement: float
    silhouette: float

    @property
    def total(self) -> float:
        """What is compared: higher is better."""
        return self.agreement + self.silhouette


def score(sample: pa.Table, counts: Sequence[int], config: ClusterConfig, seed: int) -> list[Score]:
    """Score by one clustering of each view those values of K, among `counts`, for which there are enough segments.

    `sample` is the table of ``sample/``.
    """
    views = read_views(sample)
    fewest = min(sum(map(len, view.descriptors)) for view in views)
    counts = [k for k in counts if 2 <= k < fewest]
    if not counts:
        return []
    # Several K are read off one tree also where the run will merge nothing.
    fine = max(max(counts), min(config.fine or FINE, FINE, fewest))
    # Restarts are replaced by the several clusterings; to start from every patch, where they are units, takes longest.
    once = config.model_copy(update={"restarts": 1, "start_sample": min(config.start_sample, START * fine)})
    labels, silhouettes = [], []
    for view in views:
        rows = LocalRows([np.concatenate(view.descriptors)], areas=[_areas(view)])
        fit_projection(rows, config.scaling, config.pca, config.whitening)
        result = run_kmeans(rows, fine, once, seed)
        (nearest,) = rows.ask(block_labels, result.centroids, config.metric)
        tree = gather_votes(rows, [result], config.metric)[0].tree
        of_view = [tree.members(k)[nearest] for k in counts]
        between = _Distances(rows.blocks[0].x, config.metric)
        silhouettes.append([between.silhouette(one) for one in of_view])
        labels.append([_paint(view, one, k) for one, k in zip(of_view, counts, strict=True)])
    agreements = [float(adjusted_rand_score(*pair)) for pair in zip(*labels, strict=True)]
    return [Score(*row) for row in zip(counts, agreements, np.mean(silhouettes, axis=0).tolist(), strict=True)]


def mean_scores(clusterings: Sequence[Sequence[Score]]) -> list[Score]:
    """Return for every K the mean of its scores over several clusterings."""
    return [
        Score(
            of_k[0].clusters,
            float(np.mean([one.agreement for one in of_k])),
            float(np.mean([one.silhouette for one in of_k])),
        )
        for of_k in zip(*clusterings, strict=True)
    ]


def _areas(view: View) -> np.ndarray:
    """Return the patches of every segment, int64 [n]."""
    pairs = zip(view.maps, view.descriptors, strict=True)
    return np.concatenate([np.bincount(found[found >= 0], minlength=len(of_image)) for found, of_image in pairs])


def _paint(view: View, labels: np.ndarray, k: int) -> np.ndarray:
    """Return the cluster of every patch of all images, one after the other."""
    ends = np.cumsum([len(descriptors) for descriptors in view.descriptors])
    images = np.split(labels, ends[:-1])
    painted = [paint(patch_map, of_image, k) for patch_map, of_image in zip(view.maps, images, strict=True)]
    return np.concatenate(painted, axis=None)


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
