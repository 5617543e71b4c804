"""What reading the images of a part tells beside its rows: notes for the user, and the ranges of deep images.

They lie in ``_notes/`` beside the parts, a file for each part that has any, as most sets have none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pyarrow as pa

from datus2_ray.core.images.rendering import Rendering
from datus2_ray.store import folders, parquet, schemas, storage

NOTES = "_notes"

#: Parts read at a time.
READ_THREADS = 16


def write_notes(folder: str, part: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the notes and ranges of a part's rows; each row may have ``notes`` and the columns of a range."""
    noted: list[dict[str, Any]] = []
    for row in rows:
        if row.get("number_type") is not None:
            noted.append({name: row[name] for name in ("image_id", *schemas.RANGE)})
        noted += [{"image_id": row["image_id"], "note": note} for note in row.get("notes", ())]
    if noted:
        parquet.write_table(storage.join(folder, NOTES, part), pa.Table.from_pylist(noted, schema=schemas.NOTES))


def sum_notes(folder: str, parts: Collection[str], rendering: Rendering) -> tuple[Rendering, dict[str, int]]:
    """Return how the whole set is rendered, and the images per note.

    The range of a type of numbers goes from the smallest low to the largest high value of all images, unless it is
    given.
    """
    uri = storage.join(folder, NOTES)
    with ThreadPoolExecutor(READ_THREADS) as threads:
        wanted = sorted(folders.list_names(uri) & set(parts))
        tables = list(threads.map(lambda part: parquet.read_table(storage.join(uri, part)), wanted))
    rows = pa.concat_tables([schemas.NOTES.empty_table(), *tables]).to_pylist()
    ranges: dict[str, tuple[float, float]] = {}
    notes: Counter[str] = Counter()
    for row in rows:
        kind, low, high = (row[name] for name in schemas.RANGE)
        if kind is None:
            notes[row["note"]] += 1
        else:
            first, last = ranges.get(kind, (low, high))
            ranges[kind] = (min(first, low), max(last, high))
    given = rendering.ranges_by_type
    for kind in ranges:
        low, high = {**ranges, **given}[kind]
        notes[f"values of type {kind}, of which {low:g} is shown black and {high:g} white"] = sum(
            row["number_type"] == kind for row in rows
        )
    kept = tuple((kind, *values) for kind, values in sorted({**ranges, **given}.items()))
    return replace(rendering, ranges=kept), dict(sorted(notes.items()))


def note_lines(notes: Mapping[str, int]) -> list[str]:
    """Return a line per note, with the images that it is about."""
    return [f"{count:,} image{'s' if count > 1 else ''}: {note}" for note, count in notes.items()]
