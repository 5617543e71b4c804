"""Shards from a folder or data set: checked once, packed for an object store, for many runs to read."""

from __future__ import annotations

from datus2_ray.commands.plan import plan_ingest
from datus2_ray.config import RunConfig
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.run import open_run
from datus2_ray.engine.session import start_ray
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Sharded


def ingest(config: RunConfig) -> Commit[Sharded]:
    """Write the images of a source, and their ground truth, into Parquet shards.

    Parameters
    ----------
    config : RunConfig
        Source, output folder and the settings of ``ingest``.

    Returns
    -------
    Commit
        Its ``uri`` is the folder of shards; a run takes it, or the output folder itself, as its source.

    Raises
    ------
    DatusError
        If the source holds no usable images, holds shards already, or a stage fails.
    """
    plan = plan_ingest(config)
    with open_run(config, "ingest", plan.source, plan.machines) as run:
        start_ray(config.no_progress_seconds)

        from datus2_ray.engine.execute import execute
        from datus2_ray.stages import INGEST_COMMAND

        run, _ = execute(run.on(Machines.now()), INGEST_COMMAND)
    return run.commit(Sharded)
