"""The vectors of a table's parts: how many there are, how they are cut into blocks, and how blocks are read.

The vectors of a run are numbered in the order of the sorted image ids; a block is a fixed run of those numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.core.cluster.row_hash import row_uniform
from datus2_ray.core.cluster.rows import RowBlock
from datus2_ray.engine.parts import stream_parts
from datus2_ray.engine.stage import Operator
from datus2_ray.store import parquet, storage
from datus2_ray.store.columns import list_arrays

T = TypeVar("T")

#: Parts that this process reads itself: in less time than tasks take to start.
OWN_PARTS = 64

#: Threads that read parts: from an object store each read is a round trip. Whole parts may be large, counts are small.
AHEAD, COUNT_THREADS = 4, 16


@dataclass(frozen=True)
class BlockPlan:
    """A block: its vectors' numbers, where they lie (part, start, stop), and its first row's number once thinned."""

    start: int
    stop: int
    first_row: int
    pieces: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class VectorTable:
    """A column of vectors (``descriptors`` or ``tokens``) in the folder of ``segments/``, and which of them are used.

    Parameters
    ----------
    weights, areas : str, optional
        Columns of the same lengths with their weights and areas; default all are 1.
    share : float
        Share of the vectors to use, chosen by a hash of their number and the seed.
    """

    folder: str
    column: str
    weights: str | None = None
    areas: str | None = None
    share: float = 1.0
    seed: int = 0

    def chosen(self, start: int, stop: int) -> np.ndarray:
        """Return which of the vectors numbered from `start` to `stop` are used: bool, shape (stop - start,)."""
        if self.share >= 1.0:
            return np.ones(stop - start, dtype=bool)
        return row_uniform(np.arange(start, stop), self.seed, "share") < self.share

    def length(self, counts: Mapping[str, int]) -> int:
        """Return the length of a vector, 0 where there is none; `counts` as :func:`count_vectors`."""
        part = next((part for part, count in sorted(counts.items()) if count), None)
        if part is None:
            return 0
        column = parquet.read_schema(storage.join(self.folder, part)).field(self.column)
        return int(column.type.value_type.list_size)

    def read(self, plans: Sequence[BlockPlan], *, ahead: bool = False) -> Iterator[RowBlock]:
        """Read blocks; a part that two of them share, one after the other, is read once.

        With `ahead` as :func:`read_ahead` reads, which takes the memory of some parts.
        """
        names = sorted({self.column, *filter(None, (self.weights, self.areas))})

        def read_part(part: str) -> dict[str, np.ndarray]:
            table = parquet.read_table(storage.join(self.folder, part), names)
            return {name: _concatenated(table[name]) for name in names}

        parts = [part for part, _ in groupby(part for plan in plans for part, _, _ in plan.pieces)]
        tables = zip(parts, read_ahead(read_part, parts) if ahead else map(read_part, parts), strict=True)
        last, vectors = "", dict[str, np.ndarray]()
        for plan in plans:
            pieces: dict[str, list[np.ndarray]] = {name: [] for name in names}
            for part, start, stop in plan.pieces:
                if part != last:
                    last, vectors = next(tables)
                for name, found in pieces.items():
                    found.append(vectors[name][start:stop])
            yield self._block(plan, pieces)

    def _block(self, plan: BlockPlan, pieces: Mapping[str, Sequence[np.ndarray]]) -> RowBlock:
        chosen = self.chosen(plan.start, plan.stop)
        rows = {name: np.concatenate(found)[chosen] for name, found in pieces.items()}
        ones = np.ones(len(rows[self.column]))
        weights, areas = (rows[name].astype(np.float64) if name else ones for name in (self.weights, self.areas))
        return RowBlock(rows[self.column], weights, areas, plan.first_row)


def read_ahead(read: Callable[[str], T], parts: Sequence[str]) -> Iterator[T]:
    """Yield what is read of each part, in their order, while :data:`AHEAD` others are read in threads."""
    threads = ThreadPoolExecutor(AHEAD)
    try:
        waiting: deque[Future[T]] = deque()
        for part in parts:
            waiting.append(threads.submit(read, part))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)


def _concatenated(column: pa.ChunkedArray) -> np.ndarray:
    return np.concatenate([array for array in list_arrays(column) if array is not None])


def plan_blocks(table: VectorTable, counts: Mapping[str, int], block_rows: int) -> list[BlockPlan]:
    """Cut the vectors, in the order of the parts' names, into blocks of `block_rows`; the last has what is left.

    `counts` are the vectors in every part.
    """
    parts = sorted(counts)
    ends = np.cumsum([counts[part] for part in parts])
    total = int(ends[-1]) if parts else 0
    plans: list[BlockPlan] = []
    first_row = 0
    for start in range(0, max(total, 1), block_rows):
        stop = min(start + block_rows, total)
        pieces = []
        first = int(np.searchsorted(ends, start, side="right"))
        for part, end in zip(parts[first:], ends[first:].tolist(), strict=True) if start < stop else ():
            begin = end - counts[part]
            if begin >= stop:
                break
            if counts[part]:
                pieces.append((part, max(start - begin, 0), min(stop, end) - begin))
        plans.append(BlockPlan(start, stop, first_row, tuple(pieces)))
        first_row += int(table.chosen(start, stop).sum())
    return plans


def count_vectors(folder: str, column: str, parts: list[str]) -> dict[str, int]:
    """Count the vectors in every part of a table by a small list column with one item per vector.

    In Ray tasks where there are more than :data:`OWN_PARTS` parts.
    """

    def count(part: str) -> int:
        lengths = pc.list_value_length(parquet.read_table(storage.join(folder, part), [column])[column])
        return pc.sum(lengths).as_py() or 0

    def count_block(block: pa.Table) -> pa.Table:
        part = block["part"][0].as_py()
        return pa.table({"part": [part], "vectors": [count(part)]})

    if len(parts) <= OWN_PARTS:
        with ThreadPoolExecutor(COUNT_THREADS) as threads:
            return dict(zip(parts, threads.map(count, parts), strict=True))
    rows = stream_parts([{"part": part} for part in parts], lambda _: [Operator(count_block)])
    return {row["part"]: row["vectors"] for row in rows}
