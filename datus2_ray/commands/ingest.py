"""Shards from a folder or data set: checked once, packed for an object store, to be run on by many."""

from __future__ import annotations

from datus2_ray.config.load import RunConfig
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.session import start_ray
from datus2_ray.sources.shards import FOLDER
from datus2_ray.store.run_folder import Commit


def ingest(config: RunConfig) -> tuple[str, Commit]:
    """Write the images of a source, and their ground truth, into Parquet shards.

    Parameters
    ----------
    config : RunConfig
        Source, output folder and the settings of ``ingest``.

    Returns
    -------
    str
        URI of the folder of shards. A run takes it, or the output folder itself, for its source.
    Commit
        How many images it holds and how many were refused.

    Raises
    ------
    DatusError
        Something that the message explains in one line.
    """
    context = RunContext.open(config, "ingest")
    start_ray(config.no_progress_seconds)

    from datus2_ray.stages.ingest.to_shards import write_shards

    return context.folder.path(FOLDER), write_shards(context)
