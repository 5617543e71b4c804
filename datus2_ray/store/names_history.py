"""The history of names: ``names.jsonl`` has a line for every change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from datus2_ray.core.names.changes import Change
from datus2_ray.store import storage
from datus2_ray.store.run_folder import RunFolder

HISTORY = "names.jsonl"


@dataclass(frozen=True)
class Entry:
    """A line of the history.

    Parameters
    ----------
    number : int
        Of the entry, from 1.
    time : float
        Seconds since the epoch.
    who : str
        Who made the change, as far as is known.
    clustering, state : str
        Fingerprint of the clustering, and hash of ``names.yaml``, after the change.
    undoes : int or None
        Entry whose change this one undoes; of an undo, that is the redo.
    """

    number: int
    time: float
    who: str
    change: Change
    clustering: str
    state: str
    undoes: int | None = None

    def to_line(self) -> str:
        """Return the entry as a line of JSON."""
        kept = {**vars(self), "change": self.change.to_json()}
        return json.dumps({name: value for name, value in kept.items() if value is not None}, ensure_ascii=False)

    @staticmethod
    def from_line(line: str) -> Entry:
        """Read an entry that :meth:`to_line` wrote."""
        kept = json.loads(line)
        return Entry(**{**kept, "change": Change.from_json(kept["change"])})


def read_history(folder: RunFolder) -> list[Entry]:
    """Return all changes, oldest first, without an edit by hand that nobody has noticed yet."""
    return [Entry.from_line(line) for line in read_lines(folder)]


def read_lines(folder: RunFolder) -> list[str]:
    """Return the lines of the history."""
    uri = folder.path(HISTORY)
    # Not splitlines(): names may hold other characters that it takes for ends of lines.
    return (storage.if_there(storage.read_bytes, uri) or b"").decode().split("\n")[:-1]


def write_lines(folder: RunFolder, lines: Sequence[str]) -> None:
    """Write the history: an object store cannot append, and a crash may not leave half a line."""
    storage.write_bytes(folder.path(HISTORY), "".join(f"{line}\n" for line in lines).encode())


def open_to_turn(entries: list[Entry]) -> tuple[list[int], list[int]]:
    """Return the entries that can be undone and those, undos, that can be redone, each with the next one last."""
    undone: list[int] = []
    done: list[int] = []
    for entry in entries:
        if entry.undoes is None:
            done, undone = [*done, entry.number], []
        elif done and entry.undoes == done[-1]:
            done, undone = done[:-1], [*undone, entry.number]
        else:
            done, undone = [*done, entry.number], undone[:-1]
    return done, undone
