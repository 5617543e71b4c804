"""The segments of a run's images with their clusters: columns of the tables of discover and of label, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.core.names.names import Names
from datus2_ray.store import parquet, storage
from datus2_ray.store.columns import list_arrays
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Discovered, Labelled

#: Columns of the initial masks' table, and what :meth:`SegmentsTable.rows` calls them.
_OF_SEGMENTS = {
    "segment_clusters": "cluster",
    "segment_fine": "fine",
    "segment_distances": "distance",
    "segment_second": "second",
    "segment_second_distances": "second_distance",
}


@dataclass(frozen=True)
class LabelledImage:
    """An image and its segments.

    Parameters
    ----------
    mask : bytes
        Its initial mask as PNG.
    patch_map : int16 [h, w]
        Segment of every patch, -1 = noise.
    fine, clusters : int32 [S]
        Nearest fine cluster and cluster of every segment.
    """

    image_id: str
    mask: bytes
    patch_map: np.ndarray
    fine: np.ndarray
    clusters: np.ndarray


@dataclass(frozen=True)
class SegmentsTable:
    """Reads parts; `segments` and `labels` are the URIs of ``discover/`` and of ``label/``."""

    segments: str
    labels: str

    @staticmethod
    def of(discovered: Commit[Discovered], labelled: Commit[Labelled]) -> SegmentsTable:
        """Return the table of a run."""
        return SegmentsTable(discovered.uri, labelled.uri)

    def read(self, part: str) -> list[LabelledImage]:
        """Return the images of a part that have an initial mask."""
        columns = ["image_id", "mask", "segment_fine", "segment_clusters"]
        labels = parquet.read_table(storage.join(self.labels, part), columns)
        table = parquet.read_table(storage.join(self.segments, part), ["image_id", "grid_height", "patch_map"])
        grids = zip(table["grid_height"].to_pylist(), list_arrays(table["patch_map"]), strict=True)
        maps = {
            image_id: np.asarray(patch_map).reshape(height, -1)
            for image_id, (height, patch_map) in zip(table["image_id"].to_pylist(), grids, strict=True)
        }
        of_segments = (list_arrays(labels[name]) for name in columns[2:])
        rows = zip(labels["image_id"].to_pylist(), labels["mask"].to_pylist(), *of_segments, strict=True)
        return [
            LabelledImage(image_id, mask, maps[image_id], np.asarray(fine), np.asarray(clusters))
            for image_id, mask, fine, clusters in rows
        ]

    def rows(self, part: str, names: Names) -> pa.Table:
        """Return the segments of a part's images that have initial masks, a row per segment.

        Parameters
        ----------
        part : str
            Name of the part's file.
        names : Names
            Classes of fine clusters and of single segments.

        Returns
        -------
        pa.Table
            The columns of :meth:`~datus2_ray.commands.load.LoadedRun.segments`.
        """
        labels = parquet.read_table(storage.join(self.labels, part), ["image_id", *_OF_SEGMENTS])
        sizes = parquet.read_table(storage.join(self.segments, part), ["image_id", "sizes"])
        sizes = sizes.take(pc.index_in(labels["image_id"], value_set=sizes["image_id"].combine_chunks()))
        ids = labels["image_id"].to_pylist()
        fine = [np.asarray(of_image) for of_image in list_arrays(labels["segment_fine"])]
        counts = [len(of_image) for of_image in fine]
        titles = [*(named.name for named in names.classes), None]
        classes = [names.of_segments(*pair) for pair in zip(ids, fine, strict=True)]
        columns = {
            "image_id": pa.array(np.repeat(np.array(ids, dtype=object), counts), pa.string()),
            "segment": pa.array(np.concatenate([np.arange(count) for count in counts]), pa.int32()),
            "patches": pc.list_flatten(sizes["sizes"]),
            **{name: pc.list_flatten(labels[column]) for column, name in _OF_SEGMENTS.items()},
            "name": pa.array([titles[number] for of_image in classes for number in of_image], pa.string()),
        }
        return pa.table(columns)
