"""Shards: a folder or data set to Parquet files of a size that object stores and many readers like."""

from __future__ import annotations

from typing import Any

from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage
from datus2_ray.engine.uses import part_tasks
from datus2_ray.sources.shards import DATASET_KEY, LABELLED_KEY
from datus2_ray.store.facts import Sharded


def _decides(run: Run, device: Device) -> dict[str, Any]:
    config = run.config
    return {
        "shard_megabytes": config.ingest.shard_megabytes,
        "row_group_rows": config.ingest.row_group_rows,
        "dataset": config.dataset,
        "source": config.source,
        "content": run.listing.content,
    }


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    from datus2_ray.stages.ingest.from_files import ReadFiles

    return [Operator(ReadFiles(run.config.source, run.config.dataset, heartbeat))]


def _metadata(run: Run) -> tuple[int, dict[bytes, bytes]]:
    labelled = b"yes" if run.listing.labelled else b"no"
    return run.config.ingest.row_group_rows, {DATASET_KEY: run.config.dataset.encode(), LABELLED_KEY: labelled}


SHARDS = Stage(
    facts=Sharded,
    title="Check every image and pack it, with its ground truth, into Parquet shards",
    writes={"part-*.parquet": "shards of images, sizes and ground truth, as a source for `datus2 run`"},
    version=3,
    decides=_decides,
    uses=lambda prospect: [part_tasks(prospect)],
    work=PerPart(
        operators=_operators,
        facts=lambda run, placement: Sharded(run.config.dataset),
        parts=lambda run: run.listing.counts,
        payload=lambda run, part: run.listing.parts[part],
        metadata=_metadata,
    ),
)
