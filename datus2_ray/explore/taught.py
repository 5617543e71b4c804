"""What was taught: the layer's masks and how sure it is of every segment, and what it would gain from a name."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.explore.tables import Tables
from datus2_ray.store import parquet
from datus2_ray.store.columns import list_arrays
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Taught, TaughtMasks
from datus2_ray.store.run_folder import DIGITS, RunFolder


@dataclass(frozen=True)
class Lesson:
    """The current result of teaching.

    Parameters
    ----------
    names : str
        Hash of the names that it was taught.
    doubt : ndarray of float32, shape (S,)
        1 - probability of the class of every segment, in the order of the tables' rows.
    """

    masks: Commit[TaughtMasks]
    names: str
    doubt: np.ndarray

    @property
    def version(self) -> str:
        """What tells it from others, in addresses of pictures."""
        return self.masks.fingerprint[:DIGITS]

    def to_json(self, tables: Tables) -> dict[str, Any]:
        """Return what the page shows: classes, the hash of the names, and pixels in doubt per cluster."""
        pixels = np.bincount(tables.fine, weights=self.doubt * tables.pixels, minlength=tables.leaves)
        return {
            "version": self.version,
            "classes": [named.name for named in self.masks.facts.classes],
            "names": self.names,
            "doubt": pixels.round().astype(np.int64).tolist(),
        }


class Lessons:
    """Reads what was taught, again when it was taught again."""

    def __init__(self, run: RunFolder, tables: Tables) -> None:
        self._run, self._tables = run, tables
        self._lock = threading.Lock()
        self._read: Lesson | None = None

    def now(self) -> Lesson | None:
        """Return the current lesson; None before the first one."""
        with self._lock:
            masks, taught = self._run.find(TaughtMasks), self._run.find(Taught)
            if masks is None or taught is None:
                return None
            if self._read is None or self._read.masks.fingerprint != masks.fingerprint:
                self._read = Lesson(masks, taught.facts.names, self._read_doubt(masks))
            return self._read

    def _read_doubt(self, masks: Commit[TaughtMasks]) -> np.ndarray:
        tables = self._tables
        doubt = np.zeros(len(tables.image), dtype=np.float32)
        for part in sorted(masks.parts):
            table = parquet.read_table(masks.path(part), ["image_id", "segment_confidence"])
            ids = pa.array(table["image_id"].to_pylist(), pa.string())
            numbers = pc.index_in(ids, value_set=tables.image_ids).to_pylist()
            for image, confidence in zip(numbers, list_arrays(table["segment_confidence"]), strict=True):
                if image is not None and confidence is not None:
                    doubt[tables.rows_of_image(image)] = 1 - np.asarray(confidence)
        return doubt
