"""Ingest: a folder, data set or shards → ``images/``, in parts; what cannot be used goes to quarantine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import ray.data

from datus2_ray.engine.context import RunContext
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.parts import map_parts, run_stage
from datus2_ray.errors import DatusError
from datus2_ray.sources.listing import Listing, list_source, refuse_uncounted
from datus2_ray.stages.ingest.from_files import ReadFiles
from datus2_ray.stages.ingest.from_shards import ReadShard
from datus2_ray.stages.ingest.survey import survey_images
from datus2_ray.store import storage
from datus2_ray.store.run_folder import Commit, fingerprint

VERSION = 2


def ingest(context: RunContext, labelled: bool = True, listing: Listing | None = None) -> Commit:
    """Read every image of the source once, check it, and cut the set into parts.

    Parameters
    ----------
    context : RunContext
        The run.
    labelled : bool
        Whether masks that lie beside the images are taken for ground truth; else they are not looked at.
    listing : Listing, optional
        What the source holds, where that is known; default it is listed.

    Returns
    -------
    Commit
        Of ``images/``; its facts hold the number of ``labelled`` images, the ``dataset`` and the ``classes`` of their
        masks, and where shards keep the images.

    Raises
    ------
    DatusError
        No image of the source can be used, or two have the same id.
    UsageError
        The source does not have the layout of its data set, or holds no images at all.
    """
    config = context.config
    listing = listing or list_source(config, labelled)
    # Of shards the listing's hash says which columns are read, and their row groups are the parts.
    identity: dict[str, Any] = {"dataset": listing.dataset, "source": config.source}
    if listing.columns is None:
        identity["images_per_part"] = config.ingest.images_per_part
    stamp = fingerprint("ingest", VERSION, identity, [listing.content])

    def build(parts: ray.data.Dataset, heartbeat: Heartbeat) -> ray.data.Dataset:
        return map_parts(parts, reader(config.source, config.dataset, listing, heartbeat))

    def facts() -> dict[str, Any]:
        survey = survey_images(context.folder.path("images"), listing)
        found: dict[str, Any] = {"dataset": listing.dataset, "labelled": survey.labelled, "classes": survey.classes}
        if listing.columns is not None:
            found["kept_in"] = {
                "source": config.source,
                "image_column": listing.columns.image,
                "id_column": listing.columns.image_id,
            }
        return found

    commit = run_stage(context, "ingest", "images", stamp, listing.counts, build, listing.parts.__getitem__, facts)
    refuse_empty(context, commit, "ingest")
    if labelled:
        # Shards may have a column for masks and nothing in it.
        refuse_uncounted(config, listing.dataset, commit.facts["labelled"] > 0)
    return commit


def reader(source: str, dataset: str, listing: Listing, heartbeat: Heartbeat) -> Callable[[pa.Table], pa.Table]:
    """Give the task that reads a part of a source."""
    if listing.columns is None:
        return ReadFiles(source, dataset, heartbeat)
    return ReadShard(source, dataset, listing.columns, heartbeat)


def refuse_empty(context: RunContext, commit: Commit, stage: str) -> None:
    """End a run of whose images none can be used, with the first one's fault."""
    if commit.rows_out == 0:
        first = storage.read_table(context.folder.path("quarantine", f"{stage}.parquet")).slice(0, 1).to_pylist()[0]
        raise DatusError(f"no image of {context.config.source} can be used; {first['image_id']}: {first['message']}")
