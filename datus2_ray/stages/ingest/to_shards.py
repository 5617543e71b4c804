"""Shards: a folder or data set → Parquet files of a size that object stores and many readers like."""

from __future__ import annotations

import ray.data

from datus2_ray.engine.context import RunContext
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.parts import PartWriter, map_parts, run_stage
from datus2_ray.sources.listing import list_for_shards
from datus2_ray.sources.shards import DATASET_KEY, FOLDER, LABELLED_KEY
from datus2_ray.stages.ingest.from_files import ReadFiles
from datus2_ray.stages.ingest.ingest import refuse_empty
from datus2_ray.store.run_folder import Commit, fingerprint

VERSION = 1

#: Its name in the log, and of its table of quarantined images.
STAGE = "shards"


def write_shards(context: RunContext) -> Commit:
    """Read every image of the source once, check it, and write it with its ground truth into shards.

    Parameters
    ----------
    context : RunContext
        Where the source is, and the folder for ``shards/`` and ``quarantine/``.

    Returns
    -------
    Commit
        Of ``shards/``.

    Raises
    ------
    DatusError
        No image of the source can be used, or more cannot than allowed.
    UsageError
        The source does not have the layout of its data set, holds no images, or holds shards already.
    """
    config = context.config
    listing = list_for_shards(config)
    identity = {
        "shard_megabytes": config.ingest.shard_megabytes,
        "row_group_rows": config.ingest.row_group_rows,
        "dataset": config.dataset,
        "source": config.source,
    }
    stamp = fingerprint(STAGE, VERSION, identity, [listing.content])
    metadata = {DATASET_KEY: config.dataset.encode(), LABELLED_KEY: b"yes" if listing.labelled else b"no"}
    writer = PartWriter(context.folder.path(FOLDER), STAGE, config.ingest.row_group_rows, metadata)

    def build(parts: ray.data.Dataset, heartbeat: Heartbeat) -> ray.data.Dataset:
        return map_parts(parts, ReadFiles(config.source, config.dataset, heartbeat))

    def facts() -> dict[str, int | str]:
        return {"dataset": config.dataset}

    payload = listing.parts.__getitem__
    commit = run_stage(context, STAGE, FOLDER, stamp, listing.counts, build, payload, facts, writer)
    refuse_empty(context, commit, STAGE)
    return commit
