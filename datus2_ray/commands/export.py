"""Masks of a finished run, or of new images, in the formats of other tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datus2_ray.config.load import change, read_config
from datus2_ray.engine.machines import Machines, require_cpu
from datus2_ray.engine.run import Run
from datus2_ray.engine.session import look_at_machines, start_ray
from datus2_ray.errors import UsageError
from datus2_ray.sources.listing import Listing
from datus2_ray.stages import COMMANDS
from datus2_ray.stages.export import EXPORT
from datus2_ray.store import storage
from datus2_ray.store.events import EventLog
from datus2_ray.store.facts import Exported, Ingested
from datus2_ray.store.lease import hold
from datus2_ray.store.run_folder import RunFolder


def export(run: str, settings: Mapping[str, Any]) -> str:
    """Write the masks of a finished run, or of `datus2 predict`, in the format of another tool.

    An interrupted export goes on when it is asked for again, and one that is finished is returned as it is. What the
    folder holds otherwise stays as it is: other formats lie beside this one.

    Parameters
    ----------
    run : str
        Folder of a finished run, or of predicted masks.
    settings : mapping
        Settings of :class:`~datus2_ray.config.export.ExportConfig`, ``format`` among them.

    Returns
    -------
    str
        Folder of the files.

    Raises
    ------
    StorageError
        If `run` is no finished run.
    UsageError
        If a setting is out of range, or the masks or classes cannot be written in that format.
    """
    folder = RunFolder(storage.absolute(run))
    command = folder.read()["command"]
    if command not in ("run", "predict"):
        raise UsageError(f"{run} is what `datus2 {command}` made; give the folder of a run or of predicted masks")
    if command == "run":
        folder.require_finished()
    kept = read_config(folder.path("config.json"))
    config = change(kept, out=folder.uri, export={**kept.export.model_dump(), **settings})
    ingested = folder.require(Ingested)
    commits = {stage.name: commit for stage in COMMANDS[command] if (commit := folder.find(stage.facts)) is not None}
    machines = look_at_machines(config.no_progress_seconds)
    require_cpu(machines)
    # Nothing of the source is read that ingest has not listed, so it need not be listed again.
    listing = Listing({}, {}, {}, "", ingested.facts.dataset, labelled=False, columns=None)
    with hold(folder.uri, "export"):
        start_ray(config.no_progress_seconds)

        from datus2_ray.engine.execute import execute

        opened = Run(config, folder, EventLog(folder.path("events.jsonl")), listing, Machines.now(), commits)
        opened.events.open("export", format=config.export.format)
        done, _ = execute(opened, (EXPORT,))
    exported = done.commit(Exported)
    return exported.path(exported.facts.format)
