"""Counts, over all images of a run, which clusters' segments occur in the same one: a pass of tasks over the parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datus2_ray.core.cluster.cooccurrence import count_together
from datus2_ray.engine.parts import map_parts, stream_parts
from datus2_ray.store import storage
from datus2_ray.store.columns import list_arrays

#: Gives the cluster of every descriptor of an image, and its distance.
Assign = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class CountTogether:
    """CPU task: turns a block that names a part into that part's counts.

    Parameters
    ----------
    folder : str
        URI of ``segments/``.
    assign : callable
        Gives the clusters of an image's segments.
    clusters : int
        M.
    """

    folder: str
    assign: Assign
    clusters: int

    def __call__(self, block: pa.Table) -> pa.Table:
        """Count a part; the columns are ``images`` and ``counts``, as bytes."""
        part = block["part"][0].as_py()
        column = storage.read_table(storage.join(self.folder, part), ["descriptors"])["descriptors"]
        described = [descriptors for descriptors in list_arrays(column) if descriptors is not None]
        counts = count_together((self.assign(descriptors)[0] for descriptors in described), self.clusters)
        return pa.table({"part": [part], "images": [len(described)], "counts": [counts.tobytes()]})


def count_images_together(
    folder: str, parts: Sequence[str], assign: Assign, clusters: int
) -> tuple[NDArray[np.int64], int]:
    """Count the images in which two clusters both occur, over all parts of a run.

    Parameters
    ----------
    folder : str
        URI of ``segments/``.
    parts : sequence of str
        Names of the parts.
    assign : callable
        Gives the clusters of an image's segments.
    clusters : int
        M.

    Returns
    -------
    counts : ndarray
        As :func:`~datus2_ray.core.cluster.cooccurrence.count_together` gives them.
    images : int
        Number of images.
    """
    task = CountTogether(folder, assign, clusters)
    counts, images = np.zeros((clusters, clusters), dtype=np.int64), 0
    for row in stream_parts([{"part": part} for part in parts], lambda source, _: map_parts(source, task)):
        counts += np.frombuffer(row["counts"], dtype=np.int64).reshape(clusters, clusters)
        images += row["images"]
    return counts, images
