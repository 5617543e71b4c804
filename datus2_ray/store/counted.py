"""How many rows the finished parts of a result have, and how many images each could not use.

Every part's footer says so, but a footer is a request to an object store: a driver notes what it was told, and later
only the parts that were finished after the last note are opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from datus2_ray.store import folders, parquet, storage

#: Folder beside a result's parts for the faults of each.
FAULTS = "_faults"

#: The note: rows and faults by part. A part of that name is always the same, so the note cannot be out of date.
NOTE = "_COUNTED.json"

#: Footers read at a time.
READ_THREADS = 32


def note_counts(uri: str, rows: Mapping[str, int], faults: Mapping[str, int]) -> None:
    """Note the rows and faults of finished parts, in place of an earlier note."""
    storage.write_json(storage.join(uri, NOTE), {part: [rows[part], faults[part]] for part in sorted(rows)})


def remove_note(uri: str) -> None:
    """Remove the note of a result whose commit has the counts."""
    storage.remove_file(storage.join(uri, NOTE))


def count_parts(uri: str, parts: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the rows and the faults of finished parts, by part, from the note and from the footers of those after it.

    Raises
    ------
    StorageError
        If a part that the note does not have cannot be read.
    """
    if not parts:
        return {}, {}
    note = storage.join(uri, NOTE)
    noted: dict[str, list[int]] = storage.if_there(storage.read_json, note) or {}
    folder = storage.join(uri, FAULTS)
    rest = [part for part in parts if part not in noted]
    faulty = folders.list_names(folder) if rest else set()

    def count(part: str) -> list[int]:
        faults = storage.join(folder, part)
        return [parquet.count_rows(storage.join(uri, part)), parquet.count_rows(faults) if part in faulty else 0]

    with ThreadPoolExecutor(READ_THREADS) as threads:
        counts = {**noted, **dict(zip(rest, threads.map(count, rest), strict=True))}
    return {part: counts[part][0] for part in parts}, {part: counts[part][1] for part in parts}
