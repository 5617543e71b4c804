"""The names of a run while a command works: fixed when it begins, whoever edits them meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.labels import Labels, decode_labels
from datus2_ray.core.names.masks import classes_of_clusters, label_table, paint_clusters, paint_segments
from datus2_ray.core.names.names import NamedClass, Names
from datus2_ray.engine.segments_table import LabelledImage
from datus2_ray.errors import UsageError
from datus2_ray.store.facts import Clustered, Labelled
from datus2_ray.store.names import NAMES, read_names
from datus2_ray.store.run_folder import RunFolder


@dataclass(frozen=True)
class Naming:
    """Names, and the class of every cluster of K: the one that most of its area has, -1 for none."""

    names: Names
    cluster_classes: tuple[int, ...]

    @property
    def classes(self) -> tuple[NamedClass, ...]:
        """The classes."""
        return self.names.classes

    def paint(self, clusters: bytes, image: LabelledImage | None) -> tuple[Labels, NDArray[np.int32] | None]:
        """Return the class of every pixel of an image, and of every segment if it has some.

        Parameters
        ----------
        clusters : bytes
            Its mask of clusters as PNG, the refined one where there is one.
        image : LabelledImage or None
            Its segments.
        """
        mask, table, of_clusters = decode_labels(clusters), label_table(self.classes), np.array(self.cluster_classes)
        if image is None:
            return paint_clusters(mask, of_clusters, table), None
        classes = self.names.of_segments(image.image_id, image.fine)
        return paint_segments(mask, of_clusters, image.patch_map, image.clusters, classes, table), classes


def find_naming(folder: RunFolder, k: int) -> Naming | None:
    """Return the names of a finished run with K clusters; None where nothing is named.

    Raises
    ------
    UsageError
        If they are names of another clustering, or of clusters that are not there.
    """
    names = read_names(folder)
    if names.is_empty:
        return None
    # Imported here: every process imports this module, and numba and SciPy, which clusters need, take half a second.
    from datus2_ray.engine.clustering.table import read_clusters

    clustered, labelled = folder.require(Clustered), folder.require(Labelled)
    names.check_clustering(clustered.fingerprint)
    areas, members = np.array(labelled.facts.areas), read_clusters(clustered, k).members
    fine = names.of_fine(clustered.facts.centroids)
    return Naming(names, tuple(classes_of_clusters(fine, members, areas, len(names.classes)).tolist()))


def require_naming(folder: RunFolder, k: int) -> Naming:
    """Return the names of a finished run; raises as :func:`find_naming` does, and where nothing is named."""
    if (naming := find_naming(folder, k)) is None:
        raise UsageError(
            f"{folder.uri} has no names: give some by `datus2 explore {folder.uri}`, or `datus2 name {folder.uri} "
            f"--file {NAMES}`"
        )
    return naming
