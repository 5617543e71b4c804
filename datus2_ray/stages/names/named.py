"""Named: masks of clusters and names to masks of classes; nothing is learned.

Images that the run has not seen have no segments: their pixels take the class of their cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from datus2_ray.core.images.labels import decode_labels, encode_labels
from datus2_ray.core.names.masks import label_table, paint_clusters, paint_segments
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.naming import Naming
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage
from datus2_ray.engine.uses import part_tasks
from datus2_ray.store import schemas, storage
from datus2_ray.store.columns import list_arrays, list_column
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Discovered, Labelled, Named, Predicted


@dataclass(frozen=True)
class NamePart:
    """CPU task: write the masks of classes of a part's images.

    `masks` is the URI of the final masks of clusters; `labels` and `segments` are those of the clusters of segments and
    of their patches, None where the images have no segments.
    """

    masks: str
    labels: str | None
    segments: str | None
    naming: Naming
    heartbeat: Heartbeat

    def __call__(self, block: pa.Table) -> pa.Table:
        """Name one part."""
        part = block["part"][0].as_py()
        table = label_table(self.naming.classes)
        of_clusters = np.array(self.naming.cluster_classes)
        found = storage.read_table(storage.join(self.masks, part), ["image_id", "mask"])
        clusters = dict(zip(found["image_id"].to_pylist(), found["mask"].to_pylist(), strict=True))
        rows = []
        for image_id, segments in self.heartbeat.through(self._images(part, clusters)):
            # An image that could not be refined has its initial mask.
            own = decode_labels(clusters.get(image_id) or segments.initial)  # type: ignore[union-attr]
            if segments is None:
                painted, classes = paint_clusters(own, of_clusters, table), None
            else:
                classes = self.naming.names.of_segments(image_id, segments.fine)
                painted = paint_segments(own, of_clusters, segments.patch_map, segments.clusters, classes, table)
            rows.append((image_id, painted.shape, encode_labels(painted), classes))
        columns = {
            "image_id": [image_id for image_id, *_ in rows],
            "height": [shape[0] for _, shape, *_ in rows],
            "width": [shape[1] for _, shape, *_ in rows],
            "mask": [mask for *_, mask, _ in rows],
            "segment_classes": list_column([classes for *_, classes in rows], pa.int32()),
        }
        named = pa.table(columns, schema=schemas.NAMED_MASKS)
        return named.append_column("part", pa.array([part] * len(named), pa.string()))

    def _images(self, part: str, clusters: dict[str, bytes]) -> list[tuple[str, _Segments | None]]:
        """Return the images of a part, each with its segments, if it has any."""
        if self.labels is None or self.segments is None:
            return [(image_id, None) for image_id in clusters]
        labels = storage.read_table(
            storage.join(self.labels, part), ["image_id", "mask", "segment_fine", "segment_clusters"]
        )
        columns = ["image_id", "grid_height", "grid_width", "patch_map"]
        table = storage.read_table(storage.join(self.segments, part), columns)
        maps = dict(zip(table["image_id"].to_pylist(), list_arrays(table["patch_map"]), strict=True))
        heights = dict(zip(table["image_id"].to_pylist(), table["grid_height"].to_pylist(), strict=True))
        return [
            (
                image_id,
                _Segments(
                    initial,
                    np.asarray(maps[image_id]).reshape(heights[image_id], -1),
                    np.asarray(fine),
                    np.asarray(of_segments),
                ),
            )
            for image_id, initial, fine, of_segments in zip(
                labels["image_id"].to_pylist(),
                labels["mask"].to_pylist(),
                list_arrays(labels["segment_fine"]),
                list_arrays(labels["segment_clusters"]),
                strict=True,
            )
        ]


@dataclass(frozen=True)
class _Segments:
    """The segments of an image: its initial mask as PNG, segment of every patch, fine cluster and cluster of each."""

    initial: bytes
    patch_map: np.ndarray
    fine: np.ndarray
    clusters: np.ndarray


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    labelled, discovered = run.find(Labelled), run.find(Discovered)
    labels, segments = (labelled.uri, discovered.uri) if labelled and discovered else (None, None)
    return [Operator(NamePart(_masks(run).uri, labels, segments, run.naming, heartbeat))]


def _masks(run: Run) -> Commit[Any]:
    """Return the final masks of clusters."""
    refined: Commit[Any] | None = run.find(Predicted)
    return refined or run.commit(Labelled)


def _decides(run: Run, device: Device) -> dict[str, Any]:
    return {"names": run.naming.names.fingerprint(), "clusters": run.naming.cluster_classes}


def _parts(run: Run) -> dict[str, int]:
    labelled: Commit[Any] | None = run.find(Labelled)
    return (labelled or _masks(run)).parts


NAMED = Stage(
    facts=Named,
    title="Write the masks of classes, as clusters and segments are named",
    writes={"part-*.parquet": "per image: mask of class ids as PNG, class of every segment"},
    version=1,
    adds=True,
    may_read=(Discovered,),
    reads_either=(Labelled, Predicted),
    decides=_decides,
    uses=lambda prospect: [part_tasks(prospect)],
    work=PerPart(
        operators=_operators,
        facts=lambda run, placement: Named(run.naming.classes),
        parts=_parts,
    ),
)
