"""Remove from a run folder what is not current: results of other settings, leftovers of killed writes and trainings."""

from __future__ import annotations

from dataclasses import dataclass

from datus2_ray.errors import UsageError
from datus2_ray.explore.prepare import EXPLORE
from datus2_ray.stages import COMMANDS
from datus2_ray.store import folders, storage
from datus2_ray.store.facts import Labelled
from datus2_ray.store.lease import hold
from datus2_ray.store.run_folder import DIGITS, RunFolder


@dataclass(frozen=True)
class Removable:
    """A folder or file that no current result needs; `uri` and bytes."""

    uri: str
    bytes: int


def clean(uri: str, dry_run: bool = False) -> list[Removable]:
    """Remove what is not current, and return what was, or with `dry_run` would be, removed.

    Raises
    ------
    StorageError
        If the folder is no run's.
    UsageError
        If another driver works in it, or it is an experiment's.
    """
    folder = RunFolder(uri)
    if folder.read()["command"] == "experiment":
        # All variants of an experiment are wanted, and only the last is current.
        raise UsageError(f"{uri} holds the variants of an experiment, which share results; remove it as a whole")
    with hold(folder.uri, "clean"):
        found = find_removable(folder)
        if not dry_run:
            for item in found:
                storage.remove(item.uri)
    return found


def find_removable(folder: RunFolder) -> list[Removable]:
    """List results that are not current, and what killed writes left of current ones.

    A result that was begun and not finished is kept if it is the one that the next run goes on with.
    """
    kept = folder.read()
    current = {(stage, fingerprint[:DIGITS]) for stage, fingerprint in kept["stages"].items()}
    if kept.get("begun"):
        stage, fingerprint = kept["begun"]
        current.add((stage, fingerprint[:DIGITS]))
    stages = {stage.name for stage in COMMANDS[kept["command"]]}
    current_label = kept["stages"].get(Labelled.stage, "")[:DIGITS]
    sizes: dict[str, int] = {}
    for entry in folders.list_files(folder.uri):
        stage, _, rest = entry.path.partition("/")
        digits = rest.partition("/")[0]
        if (stage == EXPLORE and digits != current_label) or (
            stage in stages and "/" in rest and (stage, digits) not in current
        ):
            place = storage.join(stage, digits)
        elif entry.path.rpartition("/")[2].startswith("_") and entry.path.endswith(".tmp"):
            place = entry.path
        else:
            continue
        sizes[place] = sizes.get(place, 0) + entry.size
    return [Removable(folder.path(place), size) for place, size in sorted(sizes.items())]
