"""Ingest: a folder, data set or shards to checked images, in parts; what cannot be used goes to quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage, Use
from datus2_ray.engine.uses import part_tasks
from datus2_ray.sources.shard_paths import PathReader
from datus2_ray.store.facts import Ingested


def _decides(run: Run, device: Device) -> dict[str, Any]:
    listing = run.listing
    # Of shards the listing's hash says which columns are read, and their row groups are the parts.
    by_files = {"images_per_part": run.config.ingest.images_per_part} if listing.columns is None else {}
    return {"dataset": listing.dataset, "source": run.config.source, "content": listing.content, **by_files}


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    # Imported here: plan and status need the declaration, not the decoders.
    from datus2_ray.stages.ingest.from_files import ReadFiles
    from datus2_ray.stages.ingest.from_shards import ReadShard

    source, dataset = run.listing.root, run.config.dataset
    if run.listing.columns is None:
        return [Operator(ReadFiles(source, dataset, heartbeat))]
    return [Operator(ReadShard(source, dataset, PathReader(source, run.config.ingest.outside_paths), heartbeat))]


def _bundle(run: Run, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the parts of a row group to one task, so that the group is read once."""
    if run.listing.columns is None:
        return list(items)
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for item in items:
        groups.setdefault((item["shard"], item["row_group"]), []).append(item)
    return [{"part": slices[0]["part"], "slices": slices} for slices in groups.values()]


def _facts(run: Run, placement: Placement) -> Ingested:
    return Ingested(run.listing.dataset, None if run.listing.columns is None else run.listing.root)


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
        bundle=_bundle,
    ),
)
