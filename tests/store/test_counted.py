"""Counts of finished parts: from footers, or from a note that spares opening them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from datus2_ray.errors import StorageError
from datus2_ray.store import parquet, storage
from datus2_ray.store.counted import FAULTS, count_parts, note_counts, remove_note

PARTS = [f"part-{i:06d}.parquet" for i in range(3)]
ROWS, QUARANTINED = dict(zip(PARTS, (4, 3, 4), strict=True)), dict(zip(PARTS, (0, 1, 0), strict=True))


@pytest.fixture
def uri(tmp_path: Path) -> str:
    for part, rows in ROWS.items():
        parquet.write_table(storage.join(str(tmp_path), part), pa.table({"image_id": ["a"] * rows}))
    parquet.write_table(storage.join(str(tmp_path), FAULTS, PARTS[1]), pa.table({"image_id": ["b"]}))
    return str(tmp_path)


def test_footers_say_what_no_note_does(uri: str) -> None:
    assert count_parts(uri, PARTS) == (ROWS, QUARANTINED)
    assert count_parts(uri, PARTS[:1]) == ({PARTS[0]: 4}, {PARTS[0]: 0})
    assert count_parts(uri, []) == ({}, {})


def test_noted_parts_are_not_opened(uri: str) -> None:
    noted = PARTS[:2]
    note_counts(uri, {part: ROWS[part] for part in noted}, QUARANTINED)
    for part in noted:
        Path(uri, part).write_bytes(b"opened")
    assert count_parts(uri, PARTS) == (ROWS, QUARANTINED)
    remove_note(uri)
    with pytest.raises(StorageError, match=PARTS[0]):
        count_parts(uri, PARTS)


def test_a_part_that_is_gone_does_not_count_for_being_noted(uri: str) -> None:
    note_counts(uri, ROWS, QUARANTINED)
    assert count_parts(uri, PARTS[1:]) == ({part: ROWS[part] for part in PARTS[1:]}, {PARTS[1]: 1, PARTS[2]: 0})
