"""The files of a source: their paths, sizes and times, a few blocks in memory, the rest in a temporary file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, overload

import pyarrow as pa

from datus2_ray.sources import blocks
from datus2_ray.sources.blocks import Blocks, Positions
from datus2_ray.sources.paths import Paths, Show, quiet
from datus2_ray.sources.sorting import sort_rows
from datus2_ray.store.walk import FileEntry

_SCHEMA = pa.schema([("path", pa.string()), ("size", pa.int64()), ("time", pa.int64())])


class Files(Sequence[FileEntry]):
    """The files of a source, sorted by path.

    Parameters
    ----------
    rows : Blocks
        Path, size in bytes and time in nanoseconds of every file.
    show : callable
        Called with the number of files whenever some of their paths were read in order.
    """

    def __init__(self, rows: Blocks, show: Show = quiet) -> None:
        self._rows, self.paths = rows, Paths(rows, "path", show)

    @staticmethod
    def of(entries: Iterable[FileEntry], show: Show = quiet) -> Files:
        """Return files that come in any order; `show` is called where their paths are read later."""
        source = iter(entries)

        def batches() -> Iterator[Any]:
            while some := list(islice(source, blocks.CHUNK)):
                columns = ([getattr(entry, name) for entry in some] for name in ("path", "size", "modified_ns"))
                yield pa.record_batch(list(map(pa.array, columns)), schema=_SCHEMA)

        return Files(sort_rows(batches(), _SCHEMA), show)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> FileEntry: ...
    @overload
    def __getitem__(self, at: slice) -> list[FileEntry]: ...
    def __getitem__(self, at: int | slice) -> FileEntry | list[FileEntry]:
        """Return a file, or some of them."""
        numbers = range(len(self))[at]
        if isinstance(numbers, range):
            return [self[number] for number in numbers]
        return next(_entries(next(self._rows.read(numbers, numbers + 1))))

    def __iter__(self) -> Iterator[FileEntry]:
        """Yield all files."""
        for batch in self._rows.read():
            yield from _entries(batch)

    def stamps(self, positions: Positions) -> list[tuple[int, int]]:
        """Return the size and time of some files, zeros for a position of -1."""
        found = self._rows.take(positions)
        sizes, times = (found.column(name).fill_null(0).to_pylist() for name in ("size", "time"))
        return list(zip(sizes, times, strict=True))


def _entries(batch: Any) -> Iterator[FileEntry]:
    return map(FileEntry, *(column.to_pylist() for column in batch.columns))
