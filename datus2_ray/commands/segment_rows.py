"""A part's segments for notebooks: a row per segment, with its cluster, distances and class."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.core.names.names import Names
from datus2_ray.store import parquet
from datus2_ray.store.columns import list_arrays
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Discovered, Labelled

#: Columns of the initial masks' table, and what they are called here.
_OF_SEGMENTS = {
    "segment_clusters": "cluster",
    "segment_fine": "fine",
    "segment_distances": "distance",
    "segment_second": "second",
    "segment_second_distances": "second_distance",
}


def segment_rows(discovered: Commit[Discovered], labelled: Commit[Labelled], part: str, names: Names) -> pa.Table:
    """Return the segments of a part's images that have initial masks.

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
    labels = parquet.read_table(labelled.path(part), ["image_id", *_OF_SEGMENTS])
    sizes = parquet.read_table(discovered.path(part), ["image_id", "sizes"])
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
