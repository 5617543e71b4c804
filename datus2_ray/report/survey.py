"""One pass over the small columns of a run: counts, cluster sizes, typical segments. No pictures are read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datus2_ray.report.typical import TypicalSegment, TypicalSegments
from datus2_ray.store import storage
from datus2_ray.store.columns import list_arrays
from datus2_ray.store.facts import Discovered, Labelled
from datus2_ray.store.run_folder import RunFolder

#: Crops in a report, whatever K is: they are most of its bytes.
MOST_CROPS = 320
MOST_CROPS_A_CLUSTER = 8


@dataclass(frozen=True)
class Survey:
    """What the tables of a run say in sum.

    Parameters
    ----------
    images, empty_images, segments : int
        Images with an initial mask, those of them without a valid segment, and valid segments in all.
    fewest, most : int
        Valid segments in an image.
    noise_share : float or None
        Share of all patches that belong to no valid segment; None without images.
    cluster_segments, cluster_images : ndarray of int64
        Segments of every cluster, and images in which it occurs, shape (K,).
    cluster_shares : ndarray of float64
        Share of all patches that every cluster covers, shape (K,).
    typical : list of list of TypicalSegment
        Of every cluster, nearest first; empty where there are too many clusters to show them all.
    """

    images: int
    empty_images: int
    segments: int
    fewest: int
    most: int
    noise_share: float | None
    cluster_segments: np.ndarray
    cluster_images: np.ndarray
    cluster_shares: np.ndarray
    typical: list[list[TypicalSegment]]


def survey_segments(folder: RunFolder, clusters: int) -> Survey:
    """Read every part's sizes, clusters and distances, one part at a time.

    Parameters
    ----------
    folder : RunFolder
        The run; discover and label are finished.
    clusters : int
        K.

    Returns
    -------
    Survey
        Its size depends on K alone.
    """
    typical = TypicalSegments(clusters, max(1, min(MOST_CROPS_A_CLUSTER, MOST_CROPS // clusters)))
    in_cluster, in_images, in_patches = (np.zeros(clusters, dtype=np.int64) for _ in range(3))
    images, empty, patches = 0, 0, 0
    fewest, most = np.iinfo(np.int64).max, 0
    labelled, segments = folder.require(Labelled), folder.require(Discovered)
    for part in sorted(labelled.parts):
        sizes = _sizes(segments.path(part))
        columns = ["image_id", "segment_clusters", "segment_distances"]
        labels = storage.read_table(labelled.path(part), columns)
        assigned, distances = list_arrays(labels["segment_clusters"]), list_arrays(labels["segment_distances"])
        for i, image_id in enumerate(labels["image_id"].to_pylist()):
            found, (counts, cells) = np.asarray(assigned[i]), sizes[image_id]
            np.add.at(in_cluster, found, 1)
            np.add.at(in_patches, found, counts)
            in_images[np.unique(found)] += 1
            images, empty, patches = images + 1, empty + (not len(found)), patches + cells
            fewest, most = min(fewest, len(found)), max(most, len(found))
            typical.add_image(part, image_id, found, np.asarray(distances[i]))
    shown = set(np.argsort(-in_cluster, kind="stable")[:MOST_CROPS].tolist())
    return Survey(
        images=images,
        empty_images=empty,
        segments=int(in_cluster.sum()),
        fewest=fewest if images else 0,
        most=most,
        noise_share=1 - int(in_patches.sum()) / patches if patches else None,
        cluster_segments=in_cluster,
        cluster_images=in_images,
        cluster_shares=in_patches / max(1, patches),
        typical=[typical.of(cluster) if cluster in shown else [] for cluster in range(clusters)],
    )


def _sizes(uri: str) -> dict[str, tuple[np.ndarray, int]]:
    """Read the patches of every valid segment, and the number of all patches, of a part's images."""
    columns = ["image_id", "grid_height", "grid_width", "sizes"]
    table = storage.read_table(uri, columns)
    sizes = list_arrays(table["sizes"])
    rows = table.drop_columns(["sizes"]).to_pylist()
    return {
        row["image_id"]: (np.asarray(sizes[i]), row["grid_height"] * row["grid_width"]) for i, row in enumerate(rows)
    }
