"""A finished run for notebooks: its images, segments, masks and names as NumPy and Arrow, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image

from datus2_ray.core.images.classes import draw_classes
from datus2_ray.core.images.labels import Labels, decode_labels
from datus2_ray.core.images.palette import palette
from datus2_ray.core.names import edits
from datus2_ray.core.names.changes import Change
from datus2_ray.core.names.names import Names
from datus2_ray.engine.clustering.table import read_clusters
from datus2_ray.engine.naming import find_naming, require_naming
from datus2_ray.engine.segments_table import SegmentsTable
from datus2_ray.engine.training.shares import image_ids
from datus2_ray.errors import UsageError
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.store import parquet, storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Clustered, Discovered, Ingested, Labelled, Predicted, Surveyed, TaughtMasks
from datus2_ray.store.names import append_change, open_names, read_names
from datus2_ray.store.names_results import is_outdated
from datus2_ray.store.run_folder import RunFolder

#: Sets of masks that a run may have.
MASKS = ("initial", "refined", "named", "taught", "truth")


def load(run: str) -> LoadedRun:
    """Open a finished run to look at it and to name its clusters, for example in a notebook.

    Parameters
    ----------
    run : str
        Folder of the finished run, local or ``s3://``.

    Raises
    ------
    StorageError
        If it is no finished run.
    """
    folder = RunFolder.of_finished(run)
    return LoadedRun(folder)


class LoadedRun:
    """A finished run. Tables and masks are read when they are asked for; names as they are at that moment.

    Attributes
    ----------
    summary : dict
        What ``summary.json`` holds, with the scores under ``metrics``.
    k : int
        Number of clusters.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.summary: dict[str, Any] = storage.read_json(folder.path("summary.json"))
        self.k: int = self.summary["clusters"]
        self._labelled, self._discovered = folder.require(Labelled), folder.require(Discovered)

    def __repr__(self) -> str:
        counts = f"{self.summary['images']:,} images, {self.summary['segments']:,} segments, {self.k} clusters"
        return f"<run {self.folder.uri}: {counts}, {len(self.names.classes)} classes>"

    @property
    def names(self) -> Names:
        """Classes, and the fine clusters and single segments that belong to them, as they are now."""
        return read_names(self.folder)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of the ground truth; empty without."""
        surveyed = self.folder.find(Surveyed)
        return surveyed.facts.classes if surveyed else ()

    @property
    def members(self) -> NDArray[np.int32]:
        """Cluster of every fine cluster, int32 [M]."""
        return read_clusters(self.folder.require(Clustered), self.k).members

    def images(self) -> pa.Table:
        """Return a table of the images that have masks: ``image_id``, ``height``, ``width``, ``segments``."""
        tables = []
        for part in self._parts:
            table = parquet.read_table(self._discovered.path(part), ["image_id", "height", "width", "sizes"])
            kept = pc.is_in(table["image_id"], value_set=pa.array(image_ids(self._labelled.uri, [part])))
            table = table.filter(kept)
            counts = pc.list_value_length(table["sizes"])
            tables.append(table.drop_columns(["sizes"]).append_column("segments", counts))
        return pa.concat_tables(tables)

    def segments(self) -> pa.Table:
        """Return a table with a row per segment.

        Its columns are ``image_id``, ``segment`` (number in the image), ``patches``, ``cluster``, ``fine`` (nearest
        fine cluster), ``distance`` (to its centroid), ``second`` and ``second_distance`` (of the next one), and
        ``name`` (of the class, null where it has none).
        """
        names = self._checked_names()
        table = SegmentsTable.of(self._discovered, self._labelled)
        return pa.concat_tables([table.rows(part, names) for part in self._parts])

    def image(self, image_id: str) -> NDArray[np.uint8]:
        """Return the pixels of an image, uint8 RGB [H, W, 3]."""
        part = self._part_of(image_id)
        images = ImagesTable.of(self.folder.require(Ingested))
        return images.decode(_row(images.read(part, ["image_id", "image"]), image_id)["image"])

    def mask(self, image_id: str, masks: str | None = None) -> Labels:
        """Return a mask of an image.

        Parameters
        ----------
        image_id : str
        masks : {"initial", "refined", "named", "taught", "truth"}, optional
            Clusters; or classes as clusters and segments are named now, or by the layer that was taught; or the ground
            truth. Default "named" where something is named, else the final clusters: "refined", or "initial" without.

        Returns
        -------
        ndarray
            Cluster or class id of every pixel, [H, W]: uint8 with 255 for none, or uint16 with 65535. Ids of the ground
            truth are positions in :attr:`classes`.

        Raises
        ------
        UsageError
            If there is no such image, it has no such mask, other names were taught than there are now, or the names
            are of another clustering and no set is chosen that does without.
        """
        masks, part = masks or self._default(), self._part_of(image_id)
        if masks == "named":
            naming = require_naming(self.folder, self.k)
            images = SegmentsTable.of(self._discovered, self._labelled).read(part)
            image = next(image for image in images if image.image_id == image_id)
            final = self.folder.find(Predicted)
            found = _find(final.path(part), image_id) if final else None
            return naming.paint(found or image.mask, image)[0]
        stages: dict[str, type[Any]] = {
            "initial": Labelled,
            "refined": Predicted,
            "taught": TaughtMasks,
            "truth": Ingested,
        }
        if masks not in stages:
            raise UsageError(f"unknown masks {masks!r}; there are {', '.join(MASKS)}")
        if is_outdated(self.folder, stages[masks]):
            raise UsageError(
                f"the names of {self.folder.uri} were changed after they were taught; teach them again by "
                f"`datus2 name {self.folder.uri} --teach`"
            )
        commit: Commit[Any] | None = self.folder.find(stages[masks])
        found = _find(commit.path(part), image_id) if commit else None
        if found is None:
            raise UsageError(f"image {image_id!r} of {self.folder.uri} has no mask {masks!r}")
        if masks == "truth":
            # Kept as the source has it: ids with gaps, or colours.
            truth = self.folder.require(Surveyed).facts
            return draw_classes(found, truth.codes, truth.by_colour)
        return decode_labels(found)

    def show(self, image_id: str, masks: str | None = None, opacity: float = 0.5) -> Image.Image:
        """Return a picture of an image under the colours of a mask, as :meth:`mask` returns it; notebooks show it."""
        masks = masks or self._default()
        pixels, labels = self.image(image_id), self.mask(image_id, masks)
        colours = self._colours(masks)
        known = labels < len(colours)
        painted = pixels.astype(np.float64)
        painted[known] += opacity * (colours[labels[known]] - painted[known])
        return Image.fromarray(painted.round().astype(np.uint8))

    def name_clusters(self, clusters: Collection[int], name: str | None) -> Names:
        """Assign fine clusters to a class, creating it if none has this name; None takes them out of theirs.

        The change is written at once. All fine clusters of a cluster are ``np.flatnonzero(run.members == cluster)``.

        Raises
        ------
        UsageError
            If there are no such fine clusters, or somebody else changed the names at the same moment.
        """
        chosen = [int(number) for number in clusters]
        return self._edit(lambda names: edits.name_clusters(names, chosen, name))

    def name_segments(self, image_id: str, segments: Collection[int], name: str | None) -> Names:
        """Assign single segments of an image to a class; None restores the class of their cluster."""
        chosen = {image_id: [int(number) for number in segments]}
        return self._edit(lambda names: edits.name_segments(names, chosen, name))

    def _edit(self, edit: Callable[[Names], Names]) -> Names:
        names, number = open_names(self.folder)
        self._checked_names()
        after = edit(names)
        after.check_clusters(self.folder.require(Clustered).facts.centroids)
        change = Change.between(names, after)
        if not change.is_empty:
            append_change(self.folder, change, number)
        return after

    def _checked_names(self) -> Names:
        names = self.names
        names.check_clustering(self.folder.require(Clustered).fingerprint)
        return names

    def _default(self) -> str:
        final = "refined" if self.folder.find(Predicted) else "initial"
        try:
            return final if find_naming(self.folder, self.k) is None else "named"
        except UsageError as error:  # not the clusters, which would be taken for classes
            raise UsageError(f"{error}; masks={final!r} is the mask of clusters") from error

    def _colours(self, masks: str) -> NDArray[np.uint8]:
        if masks in ("initial", "refined"):
            return palette(self.k)
        if masks == "truth":
            return palette(len(self.classes))
        taught = self.folder.require(TaughtMasks).facts if masks == "taught" else self.names
        return np.array([list(bytes.fromhex(named.colour[1:])) for named in taught.classes], np.uint8)

    @property
    def _parts(self) -> list[str]:
        return sorted(self._labelled.parts)

    @cached_property
    def _places(self) -> dict[str, str]:
        return {image_id: part for part in self._parts for image_id in image_ids(self._labelled.uri, [part])}

    def _part_of(self, image_id: str) -> str:
        if image_id not in self._places:
            raise UsageError(f"{self.folder.uri} has no image {image_id!r} with a mask; images() lists them")
        return self._places[image_id]


def _row(table: pa.Table, image_id: str) -> dict[str, Any]:
    row: dict[str, Any] = table.filter(pc.equal(table["image_id"], image_id)).to_pylist()[0]
    return row


def _find(uri: str, image_id: str) -> bytes | None:
    """Return an image's mask in the file of a part, as PNG; None where it has none."""
    table = parquet.read_table(uri, ["image_id", "mask"])
    rows = table.filter(pc.equal(table["image_id"], image_id)).to_pylist()
    found: bytes | None = rows[0]["mask"] if rows else None
    return found
