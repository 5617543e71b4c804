"""The names of a run: ``names.yaml`` says what is what, ``names.jsonl`` how it came to be, in the run folder.

``names.yaml`` may be edited by hand; that is taken as one change. It is written before its entry in ``names.jsonl``:
what a crash between the two leaves is an edit by hand, and nothing is lost. A lock keeps writers of one machine apart;
an object store has none, and there two edits of the same moment may meet, as in every other file of a run. Readers take
none: they may have no right to write, or a file system without locks.
"""

from __future__ import annotations

import getpass
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from filelock import FileLock, Timeout

from datus2_ray.core.names.changes import Change
from datus2_ray.core.names.names import Names
from datus2_ray.errors import StorageError, UsageError
from datus2_ray.store import storage
from datus2_ray.store.facts import Clustered
from datus2_ray.store.names_history import Entry, open_to_turn, read_lines, write_lines
from datus2_ray.store.names_yaml import format_names, parse_names, read_text
from datus2_ray.store.run_folder import RunFolder

NAMES = "names.yaml"

#: Hidden, so that it counts as no file of the run.
LOCK = ".names.lock"

#: Seconds to wait for another process that changes the names.
PATIENCE = 60

#: Returns a change, and the entry that it undoes if any, of the lines of the history and of the names there are.
_Choose = Callable[[list[str], Names], tuple[Change, int | None]]


def read_names(folder: RunFolder) -> Names:
    """Return the names of a run as they are written now; without any, empty ones of its current clustering.

    Raises
    ------
    UsageError
        If ``names.yaml`` does not hold names; the message says what is wrong.
    """
    return _parse(_read(folder), folder)


def open_names(folder: RunFolder) -> tuple[Names, int]:
    """Return the names of a run and the number of its last change, to edit them; an edit by hand becomes a change.

    Where it cannot be written, the number is the one that it will get.
    """
    # In this order: an edit of this moment looks like one by hand, and is waited for.
    lines, text = read_lines(folder), _read(folder)
    if not _is_noted(lines, text):
        try:
            with locked(folder):
                lines, text = _with_hand_edit(folder), _read(folder)
        except StorageError:
            # They can be looked at; whoever changes them is told.
            return _parse(text, folder), len(lines) + 1
    return _parse(text, folder), len(lines)


def append_change(folder: RunFolder, change: Change, expected: int, who: str | None = None) -> int:
    """Apply a change to the names of a run, and return its number.

    Parameters
    ----------
    expected : int
        Number of the last change that the change was made after, as :func:`open_names` or this function returned it.
    who : str, optional
        Who makes the change; default the user of this process.

    Raises
    ------
    UsageError
        If somebody else changed the names in between.
    StorageError
        If the names cannot be locked or written.
    """
    return _append(folder, expected, who, lambda lines, names: (change, None))


def undo(folder: RunFolder, expected: int, who: str | None = None) -> int:
    """Undo the last change that is not undone yet, as a change of its own; see :func:`append_change`.

    Raises
    ------
    UsageError
        If there is none, it leads to names of another clustering than the run has, or somebody else changed the names
        in between.
    """
    return _turn(folder, expected, who, 0, "undo")


def redo(folder: RunFolder, expected: int, who: str | None = None) -> int:
    """Undo the last undo, unless something was changed after it; raises as :func:`undo` does."""
    return _turn(folder, expected, who, 1, "redo")


def _read(folder: RunFolder) -> str:
    uri = folder.path(NAMES)
    return storage.if_there(read_text, uri) or ""


def _parse(text: str, folder: RunFolder) -> Names:
    return _parsed(text, folder.path(NAMES), folder.current().get(Clustered.stage, ""))


# A server asks for the same names again and again, and large ones take a second to read.
_parsed = lru_cache(maxsize=4)(parse_names)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Keep other processes of this machine from changing the names; an object store cannot.

    Raises
    ------
    StorageError
        If the folder cannot be written, its file system has no locks, or another process does not end.
    """
    if "://" in folder.uri:
        yield
        return
    lock, file = FileLock(folder.path(LOCK)), folder.path(LOCK)
    try:
        _acquire(lock, Path(file))
    except Timeout as error:
        raise StorageError(
            f"another process holds {file}; wait until it has changed the names, or remove the file if there is none"
        ) from error
    except (OSError, NotImplementedError) as error:  # the second where an older filelock finds no locks
        reason = error.strerror if isinstance(error, OSError) else error
        raise StorageError(
            f"cannot lock {file}, as changes of names need ({reason}); use a copy of the run on a disk that can be "
            "written and has locks"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, file: Path) -> None:
    try:
        lock.acquire(timeout=1)
    except Timeout:
        # In a file system without flock, filelock waits until there is no file; one that flock left stays, empty.
        if type(lock) is not FileLock and file.is_file() and not file.stat().st_size:
            raise
        lock.acquire(timeout=PATIENCE)


def _is_noted(lines: list[str], text: str) -> bool:
    return _hash(text) == (Entry.from_line(lines[-1]).state if lines else _hash(""))


def _with_hand_edit(folder: RunFolder) -> list[str]:
    """Return the lines of the history, with one for what was changed in the file by hand since the last one."""
    lines, text = read_lines(folder), _read(folder)
    if _is_noted(lines, text):
        return lines
    after = _parse(text, folder)
    entries = [Entry.from_line(line) for line in lines]
    before = Names(entries[0].clustering if entries else after.clustering)
    for entry in entries:
        first = entry.change.clustering[0] if entry.change.clustering else entry.clustering
        before = entry.change.apply(replace(before, clustering=first))
    return _write_line(folder, lines, Change.between(before, after), after, text, "an edit by hand", None)


def _append(folder: RunFolder, expected: int, who: str | None, choose: _Choose) -> int:
    with locked(folder):
        lines = _with_hand_edit(folder)
        if len(lines) != expected:
            other = f"were changed by {Entry.from_line(lines[-1]).who} meanwhile" if lines else "are new"
            raise UsageError(
                f"the names of {folder.uri} {other} (change {len(lines)}, expected {expected}); load them again"
            )
        names = _parse(_read(folder), folder)
        change, undoes = choose(lines, names)
        names = change.apply(names)
        text = format_names(names)
        storage.write_bytes(folder.path(NAMES), text.encode())
        return len(_write_line(folder, lines, change, names, text, who or _user(), undoes))


def _write_line(
    folder: RunFolder, lines: list[str], change: Change, names: Names, text: str, who: str, undoes: int | None
) -> list[str]:
    now = round(time.time(), 3)
    entry = Entry(len(lines) + 1, now, who, change, names.clustering, _hash(text), undoes)
    # Before the line is there: after a crash, the scores of names are gone rather than those of other names.
    _remove_scores(folder)
    lines = [*lines, entry.to_line()]
    write_lines(folder, lines)
    return lines


def _remove_scores(folder: RunFolder) -> None:
    """Remove the scores of the names before from what says how good the run is now."""
    for file, where in (("metrics.json", ()), ("summary.json", ("metrics",))):
        uri = folder.path(file)
        metrics = kept = storage.if_there(storage.read_json, uri) or {}
        for key in where:
            metrics = metrics.get(key) or {}
        if metrics.pop("names", None) is not None:
            storage.write_json(uri, kept)


def _turn(folder: RunFolder, expected: int, who: str | None, which: int, what: str) -> int:
    def choose(lines: list[str], names: Names) -> tuple[Change, int]:
        entries = [Entry.from_line(line) for line in lines]
        numbers = open_to_turn(entries)[which]
        if not numbers:
            raise UsageError(f"there is nothing to {what}")
        entry = entries[numbers[-1] - 1]
        if entry.clustering != names.clustering:
            # Its numbers are those of other clusters.
            raise UsageError(
                f"the last change was made to clustering {entry.clustering[:12]}, and this run has "
                f"{names.clustering[:12]}: there is nothing to {what} in it"
            )
        change, clustering = entry.change.inverse(), folder.current().get(Clustered.stage, "")
        # As before --carry-over: nothing shows those names any more, so that nobody could redo it.
        if change.clustering and change.clustering[1] != clustering and not change.apply(names).is_empty:
            raise UsageError(
                f"cannot {what} the last change: it leads to names of clustering {change.clustering[1][:12]}, and this "
                f"run has {clustering[:12]}; change the names as they are now"
            )
        return change, entry.number

    return _append(folder, expected, who, choose)
