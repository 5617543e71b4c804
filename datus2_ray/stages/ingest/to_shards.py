"""Shards: a folder or data set to Parquet files of a size that object stores and many readers like."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from datus2_ray.core.images.rendering import Rendering
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.progress import say
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage
from datus2_ray.engine.uses import part_tasks
from datus2_ray.sources.shard_columns import DATASET_KEY, LABELLED_KEY, PALETTE_KEY
from datus2_ray.stages.ingest.drawing import drawing
from datus2_ray.stages.ingest.notes import note_lines, sum_notes
from datus2_ray.store import parquet
from datus2_ray.store.facts import Sharded


def _decides(run: Run, device: Device) -> dict[str, Any]:
    config = run.config
    return {
        "shard_megabytes": config.ingest.shard_megabytes,
        "row_group_rows": config.ingest.row_group_rows,
        "max_megapixels": config.ingest.max_megapixels,
        "dataset": config.dataset,
        "palette": run.listing.palette,
        "source": config.source,
        "content": run.listing.content,
        **drawing(run.listing),
    }


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    from datus2_ray.stages.ingest.from_files import ReadFiles

    return [Operator(ReadFiles(run.listing.root, run.config.dataset, heartbeat, _rendering(run), placement.uri))]


def _rendering(run: Run) -> Rendering:
    """Return how images are checked: bands and ranges are for the runs that read the shards to choose."""
    return Rendering(max_megapixels=run.config.ingest.max_megapixels)


def _facts(run: Run, placement: Placement) -> Sharded:
    _, notes = sum_notes(placement.uri, run.listing.parts, _rendering(run))
    say("ingest", *note_lines(notes))
    uris = (placement.path(part) for part in sorted(run.listing.counts))
    faults = [parquet.read_table(uri, ["mask_fault"])["mask_fault"].drop_null().to_pylist() for uri in uris]
    kinds = Counter(fault.partition(":")[0] for found in faults for fault in found)
    return Sharded(run.config.dataset, dict(sorted(kinds.items())))


def _metadata(run: Run) -> tuple[int, dict[bytes, bytes]]:
    labelled = b"yes" if run.listing.labelled else b"no"
    metadata = {DATASET_KEY: run.config.dataset.encode(), LABELLED_KEY: labelled}
    if run.listing.palette:
        metadata[PALETTE_KEY] = json.dumps(run.listing.palette).encode()
    return run.config.ingest.row_group_rows, metadata


SHARDS = Stage(
    facts=Sharded,
    title="Check every image and pack it, with its ground truth, into Parquet shards",
    writes={"part-*.parquet": "shards of images, sizes and ground truth, as a source for `datus2 run`"},
    version=5,
    decides=_decides,
    uses=lambda prospect: [part_tasks(prospect)],
    work=PerPart(
        operators=_operators,
        facts=_facts,
        parts=lambda run: run.listing.counts,
        payload=lambda run, part: run.listing.parts[part],
        metadata=_metadata,
    ),
)
