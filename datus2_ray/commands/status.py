"""What is done in a run folder, what was begun, and what has not been: read from commits, without Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from datus2_ray.errors import StorageError
from datus2_ray.store import storage
from datus2_ray.store.run_folder import BEGUN, MARKER, EventLog, RunFolder

#: Folder of a stage's result, and the stage's name in the event log; in the order in which they are made.
STAGES = {
    "shards": "shards",
    "images": "ingest",
    "sample": "sample",
    "segments": "discover",
    "clusters": "cluster",
    "masks/initial": "label",
    "refine": "refine",
    "masks/refined": "predict",
    "baseline": "baseline",
    "evaluate": "evaluate",
    "png": "export",
    "pretrain": "pretrain",
}


@dataclass(frozen=True)
class StageStatus:
    """How far a stage is.

    Parameters
    ----------
    stage, folder : str
        Its name, and the folder of its result.
    state : str
        ``done``, ``begun`` or ``not begun``.
    rows, quarantined : int
        Rows that it gave, and those that it could not use; of a begun one, the rows of its finished parts.
    parts, of_parts : int
        Parts that are finished, and how many there will be; 0 where a stage is not cut into parts, or it is not known.
    seconds : float or None
        How long it took when it last did its work.
    """

    stage: str
    folder: str
    state: Literal["done", "begun", "not begun"]
    rows: int
    quarantined: int
    parts: int
    of_parts: int
    seconds: float | None


def survey(folder: RunFolder) -> list[StageStatus]:
    """Look at every stage of a run.

    Raises
    ------
    StorageError
        The folder is no run's.
    """
    if not storage.exists(folder.path(MARKER)):
        raise StorageError(f"{folder.uri} is no run folder; give what a command was given as --out")
    seconds = EventLog(folder).stage_seconds()
    images = folder.commit_of("images")
    of_parts = len(images.parts) if images else 0
    return [_look(folder, name, stage, of_parts, seconds.get(stage)) for name, stage in STAGES.items()]


def _look(folder: RunFolder, name: str, stage: str, of_parts: int, seconds: float | None) -> StageStatus:
    commit = folder.commit_of(name)
    if commit is not None:
        count = len(commit.parts)
        return StageStatus(stage, name, "done", commit.rows_out, commit.rows_quarantined, count, count, seconds)
    if not storage.exists(folder.path(name, BEGUN)):
        return StageStatus(stage, name, "not begun", 0, 0, 0, 0, None)
    parts = folder.written_parts(name)
    rows = sum(storage.count_rows(folder.path(name, part)) for part in parts)
    return StageStatus(stage, name, "begun", rows, 0, len(parts), of_parts if parts else 0, seconds)
