"""A run folder: where each table lies, what a stage's fingerprint is, and how a stage counts as done.

::

    RUN/config.json events.jsonl summary.json metrics.json
    RUN/images/part-000000.parquet … _COMMIT.json        (every stage folder has a _COMMIT.json, written last)
    RUN/sample/ segments/ clusters/ masks/initial/ refine/ masks/refined/ baseline/ evaluate/ png/ quarantine/ report/
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from typing import Any

from datus2_ray.errors import StorageError, UsageError
from datus2_ray.store import storage

COMMIT = "_COMMIT.json"
BEGUN = "_BEGUN.json"

#: Written last, in this order: with them a folder is a finished run.
FINISHED = ("summary.json", "config.json")

#: The page about a finished run.
REPORT = "report/index.html"

#: Says that a folder is a run's: nothing is removed from one that lacks it.
MARKER = "_DATUS2_RUN.json"


@dataclass(frozen=True)
class Commit:
    """What a finished stage says of itself.

    Parameters
    ----------
    fingerprint : str
        Hash of everything that decides the stage's result.
    rows_in, rows_out, rows_quarantined : int
        Images that came in, went out, and were refused.
    parts : dict of str to int
        Names of the stage's table files and the rows in each.
    facts : dict
        Counts that later stages and the report need.
    """

    fingerprint: str
    rows_in: int
    rows_out: int
    rows_quarantined: int
    parts: dict[str, int]
    facts: dict[str, Any]


def fingerprint(stage: str, version: int, identity: dict[str, Any], inputs: list[str]) -> str:
    """Hash what decides a stage's result: its code's version, its settings and its inputs' fingerprints."""
    text = json.dumps([stage, version, identity, inputs], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def part_name(index: int) -> str:
    """Name the file of a part."""
    return f"part-{index:06d}.parquet"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    Parameters
    ----------
    uri : str
        Local path or ``s3://`` URI.
    """

    uri: str

    def path(self, *parts: str) -> str:
        """Give the URI of something in the folder."""
        return storage.join(self.uri, *parts)

    def keep_apart(self, other: str) -> None:
        """See that this folder and another do not lie within each other.

        Raises
        ------
        UsageError
            They do.
        """
        out, read = f"{self.uri.rstrip('/')}/", f"{other.rstrip('/')}/"
        if out.startswith(read) or read.startswith(out):
            raise UsageError(f"--out {self.uri} and {other} lie within each other; give another folder for the results")

    def see_free(self, source: str, command: str) -> None:
        """See that the folder is a run's already, or can become one: a stage removes what lies in its place.

        Parameters
        ----------
        source : str
            URI of what the run reads.
        command : str
            Whose folder it is to be: of each command its own, as one's tables would pass for the other's.

        Raises
        ------
        UsageError
            The folder is, holds, or lies within the source, or has other people's files in it.
        """
        self.keep_apart(source)
        if storage.exists(self.path(MARKER)):
            owner = storage.read_json(self.path(MARKER)).get("command", command)
            if owner != command:
                raise UsageError(f"--out {self.uri} is what `datus2 {owner}` made; give another folder")
        elif not storage.is_empty(self.uri):
            raise UsageError(f"--out {self.uri} has files in it that are no run's; give a new or empty folder")

    def claim(self, source: str, command: str) -> None:
        """Make the folder a command's, where it may be (:meth:`see_free`)."""
        self.see_free(source, command)
        if not storage.exists(self.path(MARKER)):
            storage.write_json(self.path(MARKER), {"format": 1, "command": command})

    def commit_of(self, stage: str) -> Commit | None:
        """Give a finished stage's commit, or None while it is not finished."""
        uri = self.path(stage, COMMIT)
        if not storage.exists(uri):
            return None
        return Commit(**storage.read_json(uri))

    def require(self, stage: str) -> Commit:
        """Give the commit of a stage that the caller has just seen finished.

        Raises
        ------
        StorageError
            The stage is not finished.
        """
        commit = self.commit_of(stage)
        if commit is None:
            raise StorageError(f"{self.path(stage)} is not finished; run the same `datus2 run` again")
        return commit

    def begun(self, stage: str) -> str | None:
        """Give the fingerprint under which a stage was begun, finished or not; None where it was not."""
        uri = self.path(stage, BEGUN)
        return str(storage.read_json(uri)["fingerprint"]) if storage.exists(uri) else None

    def is_bare(self, stage: str) -> bool:
        """Tell whether a stage that was begun has left nothing yet."""
        return all(entry.path == BEGUN for entry in storage.list_files(self.path(stage)))

    def begin(self, stage: str, stage_fingerprint: str) -> set[str]:
        """Prepare a stage's folder and give the names of the parts that an interrupted attempt left finished.

        Output that was made under another fingerprint is removed first, so that old and new never mix.
        """
        # From here on the folder is no finished run: what is in it may be of two minds.
        self.unfinish()
        if self.begun(stage) != stage_fingerprint:
            self.discard(stage)
            storage.write_json(self.path(stage, BEGUN), {"fingerprint": stage_fingerprint})
        return self.written_parts(stage)

    def unfinish(self) -> None:
        """Take away what says that the run is finished, before something in it changes."""
        # The report first: while it is there, the others say that it is theirs.
        for name in (REPORT, *FINISHED):
            storage.remove(self.path(name))

    def discard(self, stage: str) -> None:
        """Remove a stage's result, in an order in which a crash leaves no commit of tables that are gone."""
        for name in (COMMIT, BEGUN):
            storage.remove(self.path(stage, name))
        storage.remove(self.path(stage))

    def written_parts(self, stage: str) -> set[str]:
        """Give the names of the parts that lie in a stage's folder, committed or not."""
        # The folder itself only: below `png/` lies a file for every mask, which a store takes minutes to list.
        names = (entry.path for entry in storage.list_files(self.path(stage), recursive=False))
        return {name for name in names if name.startswith("part-") and name.endswith(".parquet")}

    def finish(self, stage: str, commit: Commit) -> None:
        """Write the commit: from now on the stage's output counts."""
        storage.write_json(self.path(stage, COMMIT), asdict(commit))


class EventLog:
    """``events.jsonl``: a line for everything that a run did, with its time.

    Parameters
    ----------
    folder : RunFolder
        The run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._uri = folder.path("events.jsonl")
        self._lines = storage.read_bytes(self._uri).decode().splitlines() if storage.exists(self._uri) else []
        self._first: str | None = None
        self.grew = False

    def open(self, event: str, **fields: Any) -> None:
        """Keep an event that is written before the next one: a run that finds nothing to do leaves no trace."""
        self._first = _line(event, fields)

    def write(self, event: str, **fields: Any) -> None:
        """Append an event."""
        self._lines += [self._first] if self._first else []
        self._lines.append(_line(event, fields))
        self._first, self.grew = None, True
        # An object store cannot append, so the whole log is put again; it has a few lines a stage.
        storage.write_bytes(self._uri, ("\n".join(self._lines) + "\n").encode())

    def read(self) -> list[dict[str, Any]]:
        """Give all events so far, oldest first."""
        return [json.loads(line) for line in self._lines]

    def stage_seconds(self) -> dict[str, float]:
        """Give the seconds that each stage took when it last did its work."""
        return {event["stage"]: event["seconds"] for event in self.read() if event["event"] == "end"}


def _line(event: str, fields: dict[str, Any]) -> str:
    return json.dumps({"time": round(time.time(), 3), "event": event, **fields})
