"""The names of a run: ``names.yaml`` says what is what, ``names.jsonl`` how it came to be, in the run folder.

``names.yaml`` may be edited by hand; that is taken as one change. It is written before its entry in ``names.jsonl``:
what a crash between the two leaves is an edit by hand, and nothing is lost. A lock keeps writers of one machine apart;
an object store has none, and there two edits of the same moment may meet, as in every other file of a run.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import yaml
from filelock import FileLock

from datus2_ray.core.names.changes import Change
from datus2_ray.core.names.names import NamedClass, Names, free_colour
from datus2_ray.errors import UsageError
from datus2_ray.store import storage
from datus2_ray.store.facts import Clustered
from datus2_ray.store.run_folder import RunFolder

NAMES, HISTORY = "names.yaml", "names.jsonl"

#: Hidden, so that it counts as no file of the run.
LOCK = ".names.lock"

_HEAD = "# Classes of this run, and the fine clusters and single segments that belong to them; may be edited by hand.\n"


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


def read_names(folder: RunFolder) -> Names:
    """Return the names of a run as they are written now; without any, empty ones of its current clustering.

    Raises
    ------
    UsageError
        If ``names.yaml`` does not hold names; the message says what is wrong.
    """
    return _parse(_read(folder), folder)


def read_history(folder: RunFolder) -> list[Entry]:
    """Return all changes, oldest first, without an edit by hand that nobody has noticed yet."""
    return [Entry.from_line(line) for line in _lines(folder)]


def open_names(folder: RunFolder) -> tuple[Names, int]:
    """Return the names of a run and the number of its last change, to edit them; an edit by hand becomes a change."""
    with _locked(folder):
        number = len(_with_hand_edit(folder))
        return read_names(folder), number


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
    """
    return _append(folder, change, expected, who)


def undo(folder: RunFolder, expected: int, who: str | None = None) -> int:
    """Undo the last change that is not undone yet, as a change of its own; see :func:`append_change`.

    Raises
    ------
    UsageError
        If there is none, or somebody else changed the names in between.
    """
    return _turn(folder, expected, who, 0, "undo")


def redo(folder: RunFolder, expected: int, who: str | None = None) -> int:
    """Undo the last undo, unless something was changed after it; raises as :func:`undo` does."""
    return _turn(folder, expected, who, 1, "redo")


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


def read_text(uri: str) -> str:
    """Return the text of a file of names.

    Raises
    ------
    StorageError
        If there is no such file.
    UsageError
        If it is no text in UTF-8.
    """
    try:
        return storage.read_bytes(uri).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{uri} is no text in UTF-8, see its byte {error.start}; save it as UTF-8") from error


def parse_names(text: str, where: str, clustering: str) -> Names:
    """Read names from YAML.

    Parameters
    ----------
    where : str
        What the text is of, for messages.
    clustering : str
        What the names are taken for where the text does not say, or where no cluster or segment has one: classes
        alone hold for every clustering.

    Raises
    ------
    UsageError
        If the text does not hold names; the message says what is wrong.
    """
    try:
        kept = yaml.load(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    try:
        return _build({} if kept is None else kept, clustering)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{where} does not hold names: {error}; write classes: [{{name: road, colour: '#e69f00'}}] and "
            "clusters: {road: [0, 5]}"
        ) from error


def format_names(names: Names) -> str:
    """Return names as the text of ``names.yaml``, in a fixed order."""
    titles = [named.name for named in names.classes]
    clusters: dict[str, list[int]] = {title: [] for title in titles}
    for number, found in sorted(names.clusters.items()):
        clusters[titles[found]].append(number)
    kept = {
        "clustering": names.clustering,
        "classes": [
            {"name": named.name, "colour": named.colour, **({"ignore": True} if named.ignore else {})}
            for named in names.classes
        ],
        "clusters": {title: numbers for title, numbers in clusters.items() if numbers},
        "segments": {
            image_id: {number: titles[c] for number, c in sorted(found.items())}
            for image_id, found in sorted(names.segments.items())
        },
    }
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 120}
    text: str = yaml.dump(kept, Dumper=_DUMPER, default_flow_style=None, **options)
    return _HEAD + text


#: Those of libyaml, ten times as fast, where PyYAML was built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _build(kept: Any, clustering: str) -> Names:
    if not isinstance(kept, dict):
        raise TypeError("it is no mapping")
    unknown = set(kept) - {"clustering", "classes", "clusters", "segments"}
    if unknown:
        raise UsageError(
            f"unknown key {sorted(map(str, unknown))[0]!r}; there are clustering, classes, clusters, segments"
        )
    classes: list[NamedClass] = []
    for given in kept.get("classes") or ():
        values = {"name": given} if isinstance(given, str) else dict(given)
        classes.append(NamedClass(**{"colour": free_colour(classes), **values}))
    names = Names(str(kept.get("clustering") or clustering), tuple(classes))
    clusters: dict[int, int] = {}
    for title, numbers in (kept.get("clusters") or {}).items():
        found = names.class_id(str(title))
        for number in numbers:
            if clusters.setdefault(_whole(number), found) != found:
                raise UsageError(f"fine cluster {number} belongs to {classes[clusters[number]].name!r} and {title!r}")
    segments = {
        str(image_id): {_whole(number): names.class_id(str(title)) for number, title in found.items()}
        for image_id, found in (kept.get("segments") or {}).items()
    }
    names = Names(
        names.clustering, names.classes, clusters, {image: found for image, found in segments.items() if found}
    )
    return replace(names, clustering=clustering) if names.is_empty and clustering else names


def _whole(number: Any) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise UsageError(f"{number!r} is no number of a cluster or segment: they are 0, 1, 2, …")
    return number


def _read(folder: RunFolder) -> str:
    uri = folder.path(NAMES)
    return read_text(uri) if storage.exists(uri) else ""


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
def _locked(folder: RunFolder) -> Iterator[None]:
    if "://" in folder.uri:
        yield
        return
    with FileLock(folder.path(LOCK), timeout=60):
        yield


def _lines(folder: RunFolder) -> list[str]:
    uri = folder.path(HISTORY)
    # Not splitlines(): names may hold other characters that it takes for ends of lines.
    return storage.read_bytes(uri).decode().split("\n")[:-1] if storage.exists(uri) else []


def _with_hand_edit(folder: RunFolder) -> list[str]:
    """Return the lines of the history, with one for what was changed in the file by hand since the last one."""
    lines, text = _lines(folder), _read(folder)
    last = Entry.from_line(lines[-1]) if lines else None
    if _hash(text) == (last.state if last else _hash("")):
        return lines
    after = _parse(text, folder)
    entries = [Entry.from_line(line) for line in lines]
    before = Names(entries[0].clustering if entries else after.clustering)
    for entry in entries:
        first = entry.change.clustering[0] if entry.change.clustering else entry.clustering
        before = entry.change.apply(replace(before, clustering=first))
    return _write_line(folder, lines, Change.between(before, after), after, text, "an edit by hand", None)


def _append(folder: RunFolder, change: Change, expected: int, who: str | None, undoes: int | None = None) -> int:
    with _locked(folder):
        lines = _with_hand_edit(folder)
        if len(lines) != expected:
            other = f"were changed by {Entry.from_line(lines[-1]).who} meanwhile" if lines else "are new"
            raise UsageError(
                f"the names of {folder.uri} {other} (change {len(lines)}, expected {expected}); load them again"
            )
        names = change.apply(_parse(_read(folder), folder))
        text = format_names(names)
        storage.write_bytes(folder.path(NAMES), text.encode())
        return len(_write_line(folder, lines, change, names, text, who or _user(), undoes))


def _write_line(
    folder: RunFolder, lines: list[str], change: Change, names: Names, text: str, who: str, undoes: int | None
) -> list[str]:
    now = round(time.time(), 3)
    entry = Entry(len(lines) + 1, now, who, change, names.clustering, _hash(text), undoes)
    lines = [*lines, entry.to_line()]
    # An object store cannot append, and a crash may not leave half a line.
    storage.write_bytes(folder.path(HISTORY), "".join(f"{line}\n" for line in lines).encode())
    return lines


def _turn(folder: RunFolder, expected: int, who: str | None, which: int, what: str) -> int:
    entries = read_history(folder)
    numbers = open_to_turn(entries)[which]
    if not numbers:
        raise UsageError(f"there is nothing to {what}")
    entry = entries[numbers[-1] - 1]
    if entry.clustering != (now := read_names(folder).clustering):
        # Its numbers are those of other clusters.
        raise UsageError(
            f"the last change was made to clustering {entry.clustering[:12]}, and this run has {now[:12]}: there is "
            f"nothing to {what} in it"
        )
    return _append(folder, entry.change.inverse(), expected, who, entry.number)
