"""A table of many rows in blocks: in memory while it is small, in a temporary file beyond."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Never

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datus2_ray.errors import StorageError

#: Rows of a block, which are in memory at a time.
CHUNK = 1 << 14

#: Bytes of a table above which it goes to a file: the paths of some hundred thousand files.
HELD_BYTES = 8 * 10**6

#: Blocks of a file that are kept: rows that are asked for in turn are mostly in the same ones.
KEPT = 4

Positions = NDArray[np.int64]


class Blocks:
    """The rows of a table, which do not change.

    Parameters
    ----------
    schema : pyarrow.Schema
        The columns.
    rows, chunk : int
        Number of rows, and of those in every block but the last one.
    block : callable
        Returns a block, a record batch, by its number.
    """

    def __init__(self, schema: Any, rows: int, chunk: int, block: Callable[[int], Any]) -> None:
        self.schema, self.chunk, self.block, self._rows = schema, chunk, block, rows

    @staticmethod
    def of(batches: Iterable[Any], schema: Any, chunk: int | None = None) -> Blocks:
        """Return the rows of record batches of any lengths.

        Raises
        ------
        StorageError
            If the temporary file cannot be written.
        """
        chunk = chunk or CHUNK
        held: list[Any] = []
        rows = size = 0
        rest = rebatch(batches, chunk)
        for batch in rest:
            held.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if size > HELD_BYTES:
                break
        else:
            return Blocks(schema, rows, chunk, held.__getitem__)
        with _writing():
            # It has no name, and is gone when nothing reads it any more.
            file = tempfile.TemporaryFile(prefix="datus2-")  # noqa: SIM115
            writer = pa.ipc.new_file(file, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
            for batch in held:
                writer.write_batch(batch)
        held.clear()
        for batch in rest:
            rows += batch.num_rows
            with _writing():
                writer.write_batch(batch)
        with _writing():
            writer.close()
            file.flush()
        return Blocks(schema, rows, chunk, lru_cache(KEPT)(pa.ipc.open_file(file).get_batch))

    def __len__(self) -> int:
        return self._rows

    def __reduce__(self) -> Never:
        """Refuse to be sent to another process, also where the rows are in memory and could be."""
        raise TypeError("the list of files stays in the process that made it; send the rows that are needed")

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[Any]:
        """Yield the rows from `start` to `stop` (exclusive) as record batches of at most a block."""
        stop = len(self) if stop is None else stop
        while start < stop:
            number, first = divmod(start, self.chunk)
            yield self.block(number).slice(first, stop - start)
            start = (number + 1) * self.chunk

    def take(self, positions: Positions) -> Any:
        """Return the rows at some positions as a record batch; at a position of -1 all values are null."""
        there = np.flatnonzero(positions >= 0)
        of_block = positions[there] // self.chunk
        order = there[np.argsort(of_block, kind="stable")]
        numbers, counts = np.unique(of_block, return_counts=True)
        found = [pa.RecordBatch.from_pylist([], self.schema)]
        for number, some in zip(numbers.tolist(), np.split(order, np.cumsum(counts)[:-1]), strict=False):
            found.append(self.block(number).take(pa.array(positions[some] - number * self.chunk)))
        back = np.zeros(len(positions), np.int64)
        back[order] = np.arange(len(order))
        return pa.concat_batches(found).take(pa.array(back, pa.int64(), mask=positions < 0))


def rebatch(batches: Iterable[Any], rows: int) -> Iterator[Any]:
    """Yield the rows of record batches in batches of `rows`, of which the last may have fewer."""
    waiting: list[Any] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        if count >= rows:
            whole = waiting[0] if len(waiting) == 1 else pa.concat_batches(waiting)
            full = count - count % rows
            for start in range(0, full, rows):
                yield whole.slice(start, rows)
            waiting, count = [whole.slice(full)], count - full
    if count:
        yield pa.concat_batches(waiting)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write the list of files to a temporary folder: {error}; set TMPDIR to a folder with space"
        ) from error
