"""Predict: images and segmenter to the refined masks; the segmenter in an actor pool, the codecs in CPU tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.operators.encode import encode_masks
from datus2_ray.engine.operators.read_images import ReadImages
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage, Use
from datus2_ray.engine.uses import model_actors, part_tasks
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.store import storage
from datus2_ray.store.facts import Ingested, Labelled, Predicted, Refined


@dataclass(frozen=True)
class ReadChosen:
    """CPU task: read the images of a part, and only those that `table`, the URI of another table, holds."""

    read: ReadImages
    table: str | None

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part."""
        rows = self.read(block)
        if self.table is None:
            return rows
        kept = storage.read_table(storage.join(self.table, rows["part"][0].as_py()), ["image_id"])
        return rows.filter(pc.is_in(rows["image_id"], value_set=kept["image_id"].combine_chunks()))


def _parts(run: Run) -> Mapping[str, int]:
    """Return the parts of the initial masks, or of all images where they get none."""
    initial = run.find(Labelled)
    return initial.parts if initial else run.commit(Ingested).parts


def _decides(run: Run, device: Device) -> dict[str, Any]:
    return {"size": run.facts(Refined).size, "mirror": run.config.refine.mirror}


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    from datus2_ray.stages.predict.segment_images import SegmentImages

    refined, initial = run.commit(Refined), run.find(Labelled)
    read = ReadImages(ImagesTable.of(run.commit(Ingested)), refined.facts.size, heartbeat)
    segmenter = refined.path(refined.facts.checkpoint)
    arguments = (segmenter, run.backbone, placement.device, heartbeat, run.config.refine.mirror)
    return [
        Operator(ReadChosen(read, initial.uri if initial else None)),
        Operator(SegmentImages, placement.pools["segment"], arguments),
        Operator(encode_masks),
    ]


def _uses(prospect: Prospect) -> list[Use]:
    return [part_tasks(prospect, prospect.config.refine.size**2 * 3), model_actors(prospect, "segment")]


PREDICT = Stage(
    facts=Predicted,
    title="Write the refined masks: the most likely cluster of every pixel",
    writes={"part-*.parquet": "per image: mask as PNG"},
    version=2,
    reads=(Ingested, Refined),
    may_read=(Labelled,),
    decides=_decides,
    computes=True,
    uses=_uses,
    work=PerPart(operators=_operators, facts=lambda run, placement: Predicted(), parts=_parts),
)
