"""What is done in a run folder, what was begun, and what has not been: read from commits, without Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from datus2_ray.engine.stage import Stage
from datus2_ray.stages import COMMANDS
from datus2_ray.store.counted import count_parts
from datus2_ray.store.events import EventLog
from datus2_ray.store.facts import Ingested
from datus2_ray.store.names_results import is_outdated
from datus2_ray.store.run_folder import RunFolder, written_parts


@dataclass(frozen=True)
class StageStatus:
    """How far a stage is; what is done is outdated where it was made of other names than there are now.

    Parameters
    ----------
    uri : str or None
        Folder of its result; None where it was not begun.
    rows, quarantined : int
        Rows of its result, and those that it could not use; of a begun one, the rows of its finished parts.
    parts, of_parts : int
        Parts that are finished, and how many there will be; 0 where a stage is not cut into parts, or it is not known.
    seconds : float or None
        How long all attempts at the result took.
    """

    stage: str
    title: str
    uri: str | None
    state: Literal["done", "outdated", "begun", "not begun"]
    rows: int = 0
    quarantined: int = 0
    parts: int = 0
    of_parts: int = 0
    seconds: float | None = None


def read_status(folder: RunFolder) -> list[StageStatus]:
    """Read the state of every stage of the folder's command.

    Raises
    ------
    StorageError
        If the folder is no run's.
    """
    kept = folder.read()
    begun_stage, begun_fingerprint = kept.get("begun") or (None, None)
    ingested = folder.find(Ingested)
    of_parts = len(ingested.parts) if ingested else 0
    events = EventLog(folder.path("events.jsonl"))
    rows = []
    for stage in COMMANDS[kept["command"]]:
        fingerprint = kept["stages"].get(stage.name)
        begun = begun_fingerprint if stage.name == begun_stage else None
        rows.append(_status(folder, stage, events, fingerprint, begun, of_parts))
    return rows


def _status(
    folder: RunFolder, stage: Stage[Any], events: EventLog, fingerprint: str | None, begun: str | None, of_parts: int
) -> StageStatus:
    commit = folder.find(stage.facts, fingerprint) if fingerprint and not begun else None
    if commit is not None:
        count = len(commit.parts)
        seconds = events.stage_seconds(commit.fingerprint)
        state: Literal["done", "outdated"] = "outdated" if is_outdated(folder, stage.facts) else "done"
        return StageStatus(
            stage.name, stage.title, commit.uri, state, commit.rows_out, commit.rows_quarantined, count, count, seconds
        )
    if begun is None:
        return StageStatus(stage.name, stage.title, None, "not begun")
    uri = folder.result(stage.name, begun)
    parts = sorted(written_parts(uri))
    rows, faults = (sum(counts.values()) for counts in count_parts(uri, parts))
    return StageStatus(stage.name, stage.title, uri, "begun", rows, faults, len(parts), of_parts if parts else 0)
