"""The names of a run as the explorer holds them: read once a change, saved with every edit, shared by all tabs."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.core.names.changes import Change
from datus2_ray.core.names.names import UNNAMED, Names
from datus2_ray.errors import DatusError, UsageError
from datus2_ray.explore.edits import Request, Turn, to_function
from datus2_ray.explore.tables import Tables
from datus2_ray.store import storage
from datus2_ray.store.facts import Clustered
from datus2_ray.store.names import NAMES, append_change, open_names, redo, undo
from datus2_ray.store.names_history import HISTORY, open_to_turn, read_history
from datus2_ray.store.run_folder import RunFolder


class ConflictError(DatusError):
    """The names are not those that an edit was made from: somebody else changed them."""


@dataclass(frozen=True)
class Named:
    """Names, their hash, the number of their last change, and what follows from them.

    Parameters
    ----------
    of_fine : ndarray of int32, shape (M,)
        Class of every fine cluster, -1 where unnamed.
    undoable, redoable : int
        Changes that can be taken back one after the other, and done again.
    """

    names: Names
    fingerprint: str
    number: int
    of_fine: np.ndarray
    undoable: int
    redoable: int

    def to_json(self) -> dict[str, Any]:
        """Return what the page needs of it; segments with a class of their own travel with their images."""
        own = [number for found in self.names.segments.values() for number in found.values()]
        counts = np.bincount(np.array(own, dtype=np.int64), minlength=len(self.names.classes)).tolist()
        return {
            "number": self.number,
            "fingerprint": self.fingerprint,
            "classes": [
                {"name": named.name, "colour": named.colour, "ignore": named.ignore, "segments": count}
                for named, count in zip(self.names.classes, counts, strict=True)
            ],
            "fine": self.of_fine.tolist(),
            "undo": self.undoable,
            "redo": self.redoable,
        }


class Naming:
    """Reads and edits the names of a run."""

    def __init__(self, run: RunFolder, tables: Tables) -> None:
        self._run, self._tables = run, tables
        self._clustering = run.require(Clustered).fingerprint
        self._lock = threading.Lock()
        self._seen: tuple[Any, ...] | None = None
        self._named: Named | None = None
        self._of_rows: tuple[str, np.ndarray] | None = None

    def now(self) -> Named:
        """Return the names as they are; they are read again if their files have changed.

        Raises
        ------
        UsageError
            If ``names.yaml`` does not hold names, or names those of another clustering.
        """
        with self._lock:
            return self._read()

    def edit(self, request: Request) -> Named:
        """Apply an edit and save it.

        Raises
        ------
        ConflictError
            If the names were changed since the page read them.
        UsageError
            If the edit is not possible.
        """
        with self._lock:
            named = self._read()
            if named.number != request.expected:
                raise ConflictError("the names were changed elsewhere; they are shown as they are now: please repeat")
            if isinstance(request.edit, Turn):
                (undo if request.edit.do == "undo" else redo)(self._run, named.number)
            else:
                change = Change.between(named.names, to_function(request.edit, self._tables)(named.names))
                if not change.is_empty:
                    append_change(self._run, change, named.number)
            return self._read()

    def of_rows(self, named: Named) -> np.ndarray:
        """Return the class of every segment, -1 where unnamed, int32 [S], in the order of the tables' rows."""
        with self._lock:
            if self._of_rows is None or self._of_rows[0] != named.fingerprint:
                self._of_rows = named.fingerprint, self._compute_rows(named)
            return self._of_rows[1]

    def _compute_rows(self, named: Named) -> np.ndarray:
        tables, own = self._tables, named.names.segments
        classes: np.ndarray = named.of_fine[tables.fine]
        numbers = pc.index_in(pa.array(list(own), pa.string()), value_set=tables.image_ids).to_pylist()
        for image, found in zip(numbers, own.values(), strict=True):
            if image is not None:
                rows = tables.rows_of_image(image)
                classes[rows[list(found)]] = list(found.values())
        return classes

    def _read(self) -> Named:
        files = tuple(storage.find_file(self._run.path(name)) for name in (NAMES, HISTORY))
        if self._named is None or files != self._seen:
            names, number = open_names(self._run)
            names.check_clustering(self._clustering)
            done, undone = open_to_turn(read_history(self._run))
            # Re-read: an edit by hand was noted just now.
            self._seen = tuple(storage.find_file(self._run.path(name)) for name in (NAMES, HISTORY))
            of_fine = names.of_fine(self._tables.leaves)
            self._named = Named(names, names.fingerprint(), number, of_fine, len(done), len(undone))
        return self._named


def own_class(named: Named, image_id: str) -> dict[int, int]:
    """Return the segments of an image that have a class of their own."""
    return dict(named.names.segments.get(image_id, {}))


def groups(named: Named, clusters: np.ndarray) -> np.ndarray:
    """Return what every fine cluster belongs to, int [M]: its class, or its one of K clusters if it is unnamed."""
    belongs: np.ndarray = np.where(named.of_fine == UNNAMED, len(named.names.classes) + clusters, named.of_fine)
    return belongs


def check(named: Named, number: int) -> None:
    """Raise a UsageError if there is no such class; -1 stands for what is unnamed."""
    if not UNNAMED <= number < len(named.names.classes):
        raise UsageError("there is no such class")
