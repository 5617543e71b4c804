"""Masks of a finished run, or of new images, in the formats of other tools."""

from __future__ import annotations

from typing import Any

from datus2_ray.commands.name import name
from datus2_ray.config.load import change, read_config
from datus2_ray.engine.machines import Machines, require_cpu
from datus2_ray.engine.naming import find_naming
from datus2_ray.engine.run import Run, listed_before
from datus2_ray.engine.session import look_at_machines, start_ray
from datus2_ray.errors import UsageError
from datus2_ray.stages import COMMANDS
from datus2_ray.stages.export import EXPORT
from datus2_ray.store import storage
from datus2_ray.store.events import EventLog
from datus2_ray.store.facts import Exported, Facts, Named, Predicted, Taught, TaughtMasks
from datus2_ray.store.lease import hold
from datus2_ray.store.run_folder import RunFolder


def export(run: str, format_name: str, **settings: Any) -> str:
    """Write the masks of a finished run, or of `datus2 predict`, in the format of another tool.

    Where clusters are named, masks are of classes, as they are named now; else of clusters.

    An interrupted export goes on when it is asked for again, and one that is finished is returned as it is. What the
    folder holds otherwise stays as it is: other formats lie beside this one.

    Parameters
    ----------
    run : str
        Folder of a finished run, or of predicted masks.
    format_name : str
        ``png``, ``coco``, ``coco-panoptic``, ``cvat``, ``label-studio``, ``yolo``, ``hf`` or ``geojson``.
    **settings
        Other settings of :class:`~datus2_ray.config.export.ExportConfig`, such as ``instances=True``.

    Returns
    -------
    str
        Folder of the files.

    Raises
    ------
    StorageError
        If `run` is no finished run.
    UsageError
        If a setting is out of range, the names are of another clustering and ``masks`` is neither ``initial`` nor
        ``refined``, or the masks or classes cannot be written in that format.
    """
    folder = RunFolder(storage.absolute(run))
    command = folder.read()["command"]
    if command not in ("run", "predict"):
        raise UsageError(f"{run} is what `datus2 {command}` made; give the folder of a run or of predicted masks")
    if command == "run":
        folder.require_finished()
    kept = read_config(folder.path("config.json"))
    config = change(kept, out=folder.uri, export={**settings, "format": format_name})
    outdated = _name(folder, config.export.masks) if command == "run" else ()
    found = {stage.name: folder.find(stage.facts) for stage in COMMANDS[command] if stage.facts not in outdated}
    commits = {stage: commit for stage, commit in found.items() if commit is not None}
    machines = look_at_machines(config.no_progress_seconds)
    require_cpu(machines)
    listing = listed_before(folder)
    with hold(folder.uri, "export"):
        start_ray(config.no_progress_seconds)

        from datus2_ray.engine.execute import execute

        opened = Run(config, folder, EventLog(folder.path("events.jsonl")), listing, Machines.now(), commits)
        opened.events.open("export", format=config.export.format)
        done, _ = execute(opened, (EXPORT,))
    exported = done.commit(Exported)
    return exported.path(exported.facts.format)


def _name(folder: RunFolder, masks: str | None) -> tuple[type[Facts], ...]:
    """Write the masks of classes as clusters are named now, and return the sets of masks that are of other names.

    Raises
    ------
    UsageError
        If `masks`, the set that is asked for, is one of those, or the names are of another clustering and it is not
        masks of clusters.
    """
    if masks in ("initial", "refined"):  # whatever is named, or was once
        return Named, TaughtMasks
    try:
        naming = find_naming(folder, storage.read_json(folder.path("summary.json"))["clusters"])
    except UsageError as error:
        final = "refined" if folder.find(Predicted) else "initial"
        raise UsageError(f"{error}; --masks {final} exports the masks of clusters") from error
    if naming is None:
        return Named, TaughtMasks
    if masks in (None, "named"):
        name(folder.uri)
    taught = folder.find(Taught)
    if taught is None or taught.facts.names == naming.names.fingerprint():
        return ()
    if masks == "taught":
        raise UsageError(
            f"the names of {folder.uri} were changed after they were taught; teach them again by "
            f"`datus2 name {folder.uri} --teach`"
        )
    return (TaughtMasks,)
