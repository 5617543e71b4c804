"""A run folder: where each result lies, and which of them are current.

::

    RUN/run.json                                what the folder is, and the current fingerprint of every stage
    RUN/<stage>/<fingerprint, 12 digits>/       a result; _BEGUN.json is written first, _COMMIT.json last
    RUN/config.json summary.json metrics.json quarantine.parquet events.jsonl report/

A changed setting makes a sibling beside the earlier result, which stays until ``datus2 clean`` removes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from datus2_ray.errors import StorageError, UsageError
from datus2_ray.store import folders, storage
from datus2_ray.store.commit import Commit, F
from datus2_ray.version import VERSION

COMMIT = "_COMMIT.json"
BEGUN = "_BEGUN.json"

#: Says that a folder is a run's, and which results in it are current.
RUN_FILE = "run.json"

#: The same of the first format, which had one result a stage and removed it when a setting changed.
OLD_RUN_FILE = "_DATUS2_RUN.json"

#: Images that a stage could not use, beside its parts: readers of a folder of tables pass over such names.
QUARANTINE = "_quarantine.parquet"

#: Images that any current stage could not use, in the run folder.
ALL_QUARANTINED = "quarantine.parquet"

#: Files of the source that are neither images nor masks, in the run folder.
PASSED_OVER = "passed_over.parquet"

#: Of this file's layout; raised when a folder of the old one would be misread.
FORMAT = 4

#: Written last, in this order: with them a folder is a finished run.
FINISHED = ("summary.json", "config.json")

#: While masks of another K are computed: what `datus2 relabel` goes on with where it is interrupted.
RELABELLED = "relabel.json"

#: The page about a finished run.
REPORT = "report/index.html"

#: Where `datus2 explore` serves a run on this machine, unless it is taken; the page links to it.
EXPLORER_PORT = 8237

#: Digits of a fingerprint in the name of its folder.
DIGITS = 12


def part_name(index: int) -> str:
    """Return the file name of a part."""
    return f"part-{index:06d}.parquet"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run; `uri` is a local path or an ``s3://`` URI."""

    uri: str

    def path(self, *parts: str) -> str:
        """Return the URI of something in the folder."""
        return storage.join(self.uri, *parts)

    def result(self, stage: str, fingerprint: str) -> str:
        """Return the URI of the folder of a result."""
        return self.path(stage, fingerprint[:DIGITS])

    def check_apart(self, other: str) -> None:
        """Raise a UsageError if this folder and another lie within each other."""
        out, read = f"{self.uri.rstrip('/')}/", f"{other.rstrip('/')}/"
        if out.startswith(read) or read.startswith(out):
            raise UsageError(f"--out {self.uri} and {other} lie within each other; give another folder for the results")

    def check_free(self, source: str, command: str) -> bool:
        """Return whether the folder belongs to this command already; if not, it can be taken for it.

        Raises
        ------
        UsageError
            If it is, holds, or lies within the source, or holds files of others or results of another command.
        """
        self.check_apart(source)
        if (kept := self._kept()) is not None:
            if (owner := kept["command"]) != command:
                raise UsageError(f"--out {self.uri} is what `datus2 {owner}` made; give another folder")
        elif not folders.is_empty(self.uri):
            raise UsageError(f"--out {self.uri} has files in it that are no run's; give a new or empty folder")
        return kept is not None

    def claim(self, source: str, command: str) -> None:
        """Make the folder a command's, where :meth:`check_free` allows it."""
        if not self.check_free(source, command):
            self._write({"format": FORMAT, "version": VERSION, "command": command, "stages": {}})

    def is_run(self) -> bool:
        """Return whether the folder is a run's; raise a UsageError if another version wrote it in another format."""
        return self._kept() is not None

    def _kept(self) -> dict[str, Any] | None:
        kept: dict[str, Any] | None = storage.if_there(storage.read_json, self.path(RUN_FILE))
        if kept is None:
            if storage.exists(self.path(OLD_RUN_FILE)):
                raise UsageError(
                    f"{self.uri} was written by datus2-ray 0.1 (format 1), which this version ({VERSION}, format "
                    f"{FORMAT}) does not read; give a new folder, or use version 0.1 for this one"
                )
            return None
        if kept.get("format") != FORMAT:
            raise UsageError(
                f"{self.uri} was written by datus2-ray {kept.get('version')} (format {kept.get('format')}); this is "
                f"version {VERSION}, which reads format {FORMAT}; use that version for this folder"
            )
        return kept

    def read(self) -> dict[str, Any]:
        """Return what ``run.json`` holds; raise a StorageError if the folder is no run's."""
        if (kept := self._kept()) is None:
            raise StorageError(f"{self.uri} is no run folder; give what a command was given as --out")
        return kept

    def identify(self) -> str:
        """Return the id of the folder, which is made when it is first asked for and moves with the folder."""
        kept = self.read()
        if "id" not in kept:
            kept["id"] = uuid4().hex
            self._write(kept)
        return str(kept["id"])

    def current(self) -> dict[str, str]:
        """Return the current fingerprint of every stage that has one."""
        stages: dict[str, str] = self.read()["stages"]
        return stages

    def set_current(self, stages: dict[str, str], begun: tuple[str, str] | None = None) -> None:
        """Note which results are current, and which one is being made: stage and fingerprint."""
        self.change_current(lambda _: stages, begun)

    def change_current(
        self, change: Callable[[dict[str, str]], dict[str, str] | None], begun: tuple[str, str] | None = None
    ) -> None:
        """Do as :meth:`set_current` with what a function returns for the current results; None changes nothing."""
        kept = self.read()
        stages = change(kept["stages"])
        noted = {**kept, "stages": stages, "begun": list(begun) if begun else None}
        if stages is not None and noted != {"begun": None, **kept}:
            self._write(noted)

    def _write(self, kept: dict[str, Any]) -> None:
        storage.write_json(self.path(RUN_FILE), kept)

    def find(self, facts: type[F], fingerprint: str | None = None) -> Commit[F] | None:
        """Return the commit of a stage's result, by default of the current one; None where it is not finished."""
        fingerprint = fingerprint or self.current().get(facts.stage)
        if fingerprint is None:
            return None
        uri = self.result(facts.stage, fingerprint)
        kept = storage.if_there(storage.read_json, storage.join(uri, COMMIT))
        return None if kept is None else Commit.from_json(uri, kept, facts)

    def require(self, facts: type[F]) -> Commit[F]:
        """Return the commit of a stage's current result; raise a StorageError if it is not finished."""
        commit = self.find(facts)
        if commit is None:
            raise StorageError(f"{self.uri}: stage {facts.stage} is not finished; run the same `datus2 run` again")
        return commit

    @staticmethod
    def of_finished(run: str) -> RunFolder:
        """Return the folder of a finished run; raise a StorageError if `run` is none."""
        folder = RunFolder(storage.absolute(run))
        folder.require_finished()
        return folder

    def require_finished(self) -> None:
        """Raise a StorageError if the folder is not that of a finished run."""
        if not self.is_run():
            raise StorageError(f"{self.uri} is no finished run, nor any run folder; give what a run was given as --out")
        for name in FINISHED:
            if not storage.exists(self.path(name)):
                relabelled = storage.exists(self.path(RELABELLED))
                again = f"datus2 relabel {self.uri} --clusters K" if relabelled else "datus2 run"
                raise StorageError(f"{self.uri} is no finished run, it has no {name}; run the same `{again}` again")

    def is_begun(self, stage: str, fingerprint: str) -> bool:
        """Return whether an attempt at a result left something, finished or not."""
        uri = self.result(stage, fingerprint)
        return storage.exists(uri) and any(entry.path != BEGUN for entry in folders.list_files(uri))

    def begin(
        self,
        stage: str,
        fingerprint: str,
        decides: Mapping[str, Any],
        inputs: Mapping[str, str] | None = None,
        adds: bool = False,
    ) -> set[str]:
        """Prepare the folder of a result and return the names of the parts that an interrupted attempt finished.

        Unless the result only `adds` to a finished run, the folder is none from here on: what is in it may be of
        different settings.
        """
        uri = self.result(stage, fingerprint)
        if not adds:
            self.unfinish()
        names = folders.list_names(uri)
        if BEGUN not in names:
            begun = {"fingerprint": fingerprint, "decides": dict(decides), "inputs": dict(inputs or {})}
            storage.write_json(storage.join(uri, BEGUN), begun)
        return parts_among(names)

    def inputs(self, stage: str, fingerprint: str) -> dict[str, str]:
        """Return the fingerprints of what a result was made from, by stage; none where it does not say so."""
        return self._begun(stage, fingerprint).get("inputs", {})

    def decides(self, stage: str, fingerprint: str) -> dict[str, Any]:
        """Return what decided a result; nothing where it does not say so."""
        return self._begun(stage, fingerprint).get("decides", {})

    def _begun(self, stage: str, fingerprint: str) -> dict[str, dict[str, Any]]:
        uri = storage.join(self.result(stage, fingerprint), BEGUN)
        kept: dict[str, dict[str, Any]] | None = storage.if_there(storage.read_json, uri)
        return kept or {}

    def commit(self, commit: Commit[Any]) -> None:
        """Write a commit: from now on the result counts."""
        storage.write_json(commit.path(COMMIT), commit.to_json())

    def unfinish(self) -> None:
        """Remove what says that the run is finished, before something in it changes."""
        # The report first: while it is there, the others say that it is theirs.
        for name in (REPORT, *FINISHED):
            storage.remove_file(self.path(name))

    def is_finished(self, config: dict[str, Any]) -> bool:
        """Return whether the folder is that of a finished run with exactly these settings."""
        kept = storage.if_there(storage.read_json, self.path("config.json"))
        return kept == config and all(storage.exists(self.path(name)) for name in (*FINISHED, REPORT))


def written_parts(uri: str) -> set[str]:
    """Return the names of the parts that lie in the folder of a result, committed or not."""
    # The folder itself only: below an export lies a file for every mask, which a store takes minutes to list.
    return parts_among(folders.list_names(uri))


def parts_among(names: Collection[str]) -> set[str]:
    """Return those of some names of files that are parts."""
    return {name for name in names if name.startswith("part-") and name.endswith(".parquet")}
