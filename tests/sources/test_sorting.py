"""Rows in runs and merged: what sorting all at once would say."""

from __future__ import annotations

import pickle
from io import BytesIO
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.errors import StorageError
from datus2_ray.sources import blocks, sorting
from datus2_ray.sources.blocks import Blocks, rebatch

SCHEMA = pa.schema([("name", pa.string()), ("at", pa.int64())])


def batches(names: list[str], sizes: list[int]) -> list[Any]:
    whole = pa.record_batch([pa.array(names, pa.string()), pa.array(range(len(names)), pa.int64())], schema=SCHEMA)
    starts = [sum(sizes[:at]) for at in range(len(sizes))]
    return [whole.slice(start, size) for start, size in zip(starts, sizes, strict=True)] + [whole.slice(sum(sizes))]


@given(st.permutations([f"{number:03}"[: 1 + number % 3] + "/é"[number % 2] + str(number) for number in range(50)]))
def test_runs_are_merged(names: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("ROWS_SORTED", 8), ("ROWS_MERGED", 2)):
            patch.setattr(sorting, name, value)
        patch.setattr(blocks, "HELD_BYTES", 100)
        found = sorting.sort_rows(batches(names, [7, 0, 1, 20]), SCHEMA)
        rows = [row for batch in found.read() for row in batch.to_pylist()]
    assert rows == sorted(({"name": name, "at": at} for at, name in enumerate(names)), key=lambda row: row["name"])


@given(st.lists(st.integers(0, 9), max_size=9), st.integers(1, 12))
def test_batches_are_cut_evenly(sizes: list[int], rows: int) -> None:
    names = [str(number) for number in range(sum(sizes))]
    found = list(rebatch(batches(names, sizes), rows))
    assert [name for batch in found for name in batch["name"].to_pylist()] == names
    assert all(len(batch) == rows for batch in found[:-1])
    assert all(0 < len(batch) <= rows for batch in found[-1:])


class Full(BytesIO):
    """A file that takes so many bytes."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: Any) -> int:
        self.room -= len(data)
        return super().write(data)

    def flush(self) -> None:
        # As a file with a buffer, which finds out only now.
        if self.room < 0:
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize("room", [None, 0, 100_000])
def test_a_temporary_folder_that_is_full_or_missing_is_an_error(
    monkeypatch: pytest.MonkeyPatch, room: int | None
) -> None:
    def open_file(**options: Any) -> Full:
        if room is None:
            raise FileNotFoundError(2, "No usable temporary directory")
        return Full(room)

    monkeypatch.setattr(blocks, "HELD_BYTES", 0)
    monkeypatch.setattr(blocks.tempfile, "TemporaryFile", open_file)
    if room:
        assert len(Blocks.of(batches(["a"], []), SCHEMA)) == 1
        return
    with pytest.raises(StorageError, match=r"No (space left on device|usable temporary directory); set TMPDIR"):
        Blocks.of(batches(["a"], []), SCHEMA)


@pytest.mark.parametrize("held", [0, 10**6])
def test_rows_are_not_sent_to_other_processes(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr(blocks, "HELD_BYTES", held)
    found = Blocks.of(batches(["a", "b"], []), SCHEMA)
    with pytest.raises(TypeError, match="stays in the process"):
        pickle.dumps(found)
