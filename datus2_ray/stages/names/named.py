"""Named: masks of clusters and names to masks of classes; nothing is learned.

Images that the run has not seen have no segments: their pixels take the class of their cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from datus2_ray.core.images.labels import encode_labels
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.naming import Naming
from datus2_ray.engine.run import Run
from datus2_ray.engine.segments_table import LabelledImage, SegmentsTable
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage
from datus2_ray.engine.uses import part_tasks
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.columns import list_column
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Discovered, Labelled, Named, Predicted


@dataclass(frozen=True)
class NamePart:
    """CPU task: write the masks of classes of a part's images.

    `masks` is the URI of the final masks of clusters; `segments` is None where the images have no segments.
    """

    masks: str
    segments: SegmentsTable | None
    naming: Naming
    heartbeat: Heartbeat

    def __call__(self, block: pa.Table) -> pa.Table:
        """Name one part."""
        part = block["part"][0].as_py()
        found = parquet.read_table(storage.join(self.masks, part), ["image_id", "mask"])
        images: dict[str, tuple[bytes, LabelledImage | None]] = {
            image_id: (mask, None) for image_id, mask in zip(*(column.to_pylist() for column in found), strict=True)
        }
        if self.segments is not None:
            # An image that could not be refined has its initial mask.
            images = {
                image.image_id: (images.get(image.image_id, (image.mask, None))[0], image)
                for image in self.segments.read(part)
            }
        painted = [self.naming.paint(*image) for image in self.heartbeat.through(images.values())]
        columns = {
            "image_id": list(images),
            "height": [mask.shape[0] for mask, _ in painted],
            "width": [mask.shape[1] for mask, _ in painted],
            "mask": [encode_labels(mask) for mask, _ in painted],
            "segment_classes": list_column([classes for _, classes in painted], pa.int32()),
        }
        named = pa.table(columns, schema=schemas.NAMED_MASKS)
        return named.append_column("part", pa.array([part] * len(named), pa.string()))


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    labelled, discovered = run.find(Labelled), run.find(Discovered)
    segments = SegmentsTable.of(discovered, labelled) if labelled and discovered else None
    return [Operator(NamePart(_masks(run).uri, segments, run.naming, heartbeat))]


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
