"""Ingest: a folder, data set or shards to checked images, in parts; what cannot be used goes to quarantine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage, Use
from datus2_ray.engine.uses import part_tasks
from datus2_ray.sources.listing import Listing
from datus2_ray.store.facts import Ingested, ShardColumnsUsed


def _decides(run: Run, device: Device) -> dict[str, Any]:
    listing = run.listing
    # Of shards the listing's hash says which columns are read, and their row groups are the parts.
    by_files = {"images_per_part": run.config.ingest.images_per_part} if listing.columns is None else {}
    return {"dataset": listing.dataset, "source": run.config.source, "content": listing.content, **by_files}


def reader(source: str, dataset: str, listing: Listing, heartbeat: Heartbeat) -> Callable[[pa.Table], pa.Table]:
    """Return the task that reads a part of a source."""
    # Imported here: plan and status need the declaration, not the decoders.
    from datus2_ray.stages.ingest.from_files import ReadFiles
    from datus2_ray.stages.ingest.from_shards import ReadShard

    if listing.columns is None:
        return ReadFiles(source, dataset, heartbeat)
    return ReadShard(source, dataset, listing.columns, heartbeat)


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    return [Operator(reader(run.config.source, run.config.dataset, run.listing, heartbeat))]


def _facts(run: Run, placement: Placement) -> Ingested:
    columns = run.listing.columns
    if columns is None:
        return Ingested(run.listing.dataset)
    return Ingested(run.listing.dataset, ShardColumnsUsed(run.config.source, columns.image, columns.image_id))


def _uses(prospect: Prospect) -> list[Use]:
    largest = max(prospect.parts.values(), default=1)
    return [part_tasks(prospect, prospect.part_bytes // largest)]


INGEST = Stage(
    facts=Ingested,
    title="Read and check every image of the source once",
    writes={"part-*.parquet": "the encoded images (of shards: where they lie), their sizes and ground truth"},
    version=4,
    decides=_decides,
    uses=_uses,
    work=PerPart(
        operators=_operators,
        facts=_facts,
        parts=lambda run: run.listing.counts,
        payload=lambda run, part: run.listing.parts[part],
    ),
)
