"""One pass over the small columns of a run: counts, cluster sizes, typical segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datus2_ray.report.facts import FinishedRun
from datus2_ray.report.typical import TypicalSegment, TypicalSegments
from datus2_ray.store import parquet
from datus2_ray.store.columns import list_arrays

#: Crops in a report, which are most of its bytes, and crops per cluster.
MAX_CROPS, MAX_CROPS_PER_CLUSTER = 320, 8


@dataclass(frozen=True)
class Survey:
    """Counts over the tables of a run.

    Parameters
    ----------
    images, empty_images, segments : int
        Images with an initial mask, those without a valid segment, and valid segments.
    min_segments, max_segments : int
        Valid segments per image.
    noise_share : float or None
        Share of all patches that belong to no valid segment; None without images.
    cluster_segments, cluster_images : ndarray of int64
        Segments of every cluster, and images that have one, shape (K,).
    cluster_shares : ndarray of float64
        Share of all patches that every cluster covers, shape (K,).
    typical : list of list of TypicalSegment
        Per cluster, nearest first; empty for the smallest if there are too many clusters to show them all.
    """

    images: int
    empty_images: int
    segments: int
    min_segments: int
    max_segments: int
    noise_share: float | None
    cluster_segments: np.ndarray
    cluster_images: np.ndarray
    cluster_shares: np.ndarray
    typical: list[list[TypicalSegment]]


def survey_segments(run: FinishedRun) -> Survey:
    """Count segments, reading one part at a time; the size of the result depends on K only."""
    k = run.k
    typical = TypicalSegments(k, max(1, min(MAX_CROPS_PER_CLUSTER, MAX_CROPS // k)))
    in_cluster, in_images, in_patches = (np.zeros(k, dtype=np.int64) for _ in range(3))
    images, empty, patches = 0, 0, 0
    min_segments, max_segments = np.iinfo(np.int64).max, 0
    for part in sorted(run.labelled.parts):
        sizes = _read_sizes(run.discovered.path(part))
        columns = ["image_id", "segment_clusters", "segment_distances"]
        table = parquet.read_table(run.labelled.path(part), columns)
        assigned, distances = list_arrays(table["segment_clusters"]), list_arrays(table["segment_distances"])
        for i, image_id in enumerate(table["image_id"].to_pylist()):
            labels, (counts, cells) = np.asarray(assigned[i]), sizes[image_id]
            np.add.at(in_cluster, labels, 1)
            np.add.at(in_patches, labels, counts)
            in_images[np.unique(labels)] += 1
            images, empty, patches = images + 1, empty + (not len(labels)), patches + cells
            min_segments, max_segments = min(min_segments, len(labels)), max(max_segments, len(labels))
            typical.add_image(part, image_id, labels, np.asarray(distances[i]))
    shown = set(np.argsort(-in_cluster, kind="stable")[:MAX_CROPS].tolist())
    return Survey(
        images=images,
        empty_images=empty,
        segments=int(in_cluster.sum()),
        min_segments=min_segments if images else 0,
        max_segments=max_segments,
        noise_share=1 - int(in_patches.sum()) / patches if patches else None,
        cluster_segments=in_cluster,
        cluster_images=in_images,
        cluster_shares=in_patches / max(1, patches),
        typical=[typical.of(cluster) if cluster in shown else [] for cluster in range(k)],
    )


def _read_sizes(uri: str) -> dict[str, tuple[np.ndarray, int]]:
    """Read the patches of every valid segment, and the number of all patches, of a part's images."""
    columns = ["image_id", "grid_height", "grid_width", "sizes"]
    table = parquet.read_table(uri, columns)
    sizes = list_arrays(table["sizes"])
    rows = table.drop_columns(["sizes"]).to_pylist()
    return {
        row["image_id"]: (np.asarray(sizes[i]), row["grid_height"] * row["grid_width"]) for i, row in enumerate(rows)
    }
