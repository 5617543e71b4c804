"""Row blocks of a table's vectors that answer the questions of k-means and PCA: in Ray actors, or few of them here.

The vectors of a run are numbered in the order of the sorted image ids; a block is a fixed run of those numbers. Which
actor holds a block, and how many actors there are, changes nothing: answers are put back into block order.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from datus2_ray.core.cluster.row_hash import row_uniform
from datus2_ray.core.cluster.rows import LocalRows, RowBlock, Transform
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.parts import stream_parts
from datus2_ray.engine.stage import Operator
from datus2_ray.engine.waiting import get_or_stall
from datus2_ray.errors import DatusError
from datus2_ray.store import parquet, storage
from datus2_ray.store.columns import list_arrays

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

#: Vectors in a block. It decides the order of all float sums: another number, other last bits of the centroids.
BLOCK_ROWS = 32_768


#: Bytes of vectors in float32 that this process holds itself, of those among which they are chosen, and parts in which
#: these lie: they are read and clustered in less time than actors take to start.
OWN_BYTES, OWN_BYTES_READ, OWN_PARTS = 64 * 10**6, 512 * 10**6, 64

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


class RowHolder:
    """Actor that reads some blocks once and answers questions about them.

    A holder that dies is started again by Ray and reads its blocks again. Every question therefore comes with all
    projection steps so far, and those that the holder has not applied yet are applied first.
    """

    def __init__(self, table: VectorTable, plans: Sequence[BlockPlan]) -> None:
        self._blocks = list(table.read(plans))
        self._applied = 0

    def ask(
        self, steps: Sequence[Transform], question: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Any]:
        """Ask every held block, in their order."""
        for step in steps[self._applied :]:
            for i, block in enumerate(self._blocks):
                self._blocks[i] = replace(block, x=step.transform(block.x))
            self._applied += 1
        return [question(block, *args, **kwargs) for block in self._blocks]


class OwnRows(LocalRows):
    """Row blocks in this process; parameters are those of :class:`RayRows`, of which ``workers`` has no effect."""

    def __init__(
        self,
        table: VectorTable,
        counts: Mapping[str, int],
        workers: int | None = None,
        block_rows: int = BLOCK_ROWS,
        on_pass: Callable[[int], None] = lambda passes: None,
    ) -> None:
        self._on_pass = on_pass
        self._passes, self._showing = 0, threading.Lock()  # several threads ask
        plans = plan_blocks(table, counts, block_rows)
        blocks = list(table.read(plans, ahead=True))
        super().__init__(*([getattr(block, name) for block in blocks] for name in ("x", "weights", "areas")))

    def ask(self, question: Callable[Concatenate[RowBlock, P], T], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Ask one block after the other."""
        answers = super().ask(question, *args, **kwargs)
        with self._showing:
            self._passes += 1
            self._on_pass(self._passes)
        return answers

    def close(self) -> None:
        """Free the memory."""
        self.blocks = []


class RayRows:
    """Row blocks in actors; implements :class:`~datus2_ray.core.cluster.rows.RowBlocks`.

    Parameters
    ----------
    counts : mapping of str to int
        Vectors in every part, see :func:`count_vectors`.
    workers : int, optional
        Number of actors; default one per CPU.
    on_pass : callable
        Called with the number of passes over the vectors after each one.
    """

    def __init__(
        self,
        table: VectorTable,
        counts: Mapping[str, int],
        workers: int | None = None,
        block_rows: int = BLOCK_ROWS,
        on_pass: Callable[[int], None] = lambda passes: None,
    ) -> None:
        plans = plan_blocks(table, counts, block_rows)
        self._on_pass = on_pass
        self._passes = 0
        self._steps: list[Transform] = []
        self._shared_steps = ray.put(self._steps)
        workers = max(1, min(workers or Machines.now().cpus, len(plans)))
        # A few restarts recover from a lost node; a holder that dies again and again lacks memory, and must fail.
        holder: Any = ray.remote(num_cpus=0, max_restarts=3, max_task_retries=3)(RowHolder)
        # Neighbours together: two blocks may share a part.
        shares = [plans[len(plans) * i // workers : len(plans) * (i + 1) // workers] for i in range(workers)]
        self._holders: list[Any] = [holder.remote(table, share) for share in shares]

    def ask(self, question: Callable[Concatenate[RowBlock, P], T], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Ask every block and return the answers in block order."""
        references = [holder.ask.remote(self._shared_steps, question, args, kwargs) for holder in self._holders]
        remedy = "the cluster may lack memory: add nodes"
        held = get_or_stall(references, "the actors that hold vectors", remedy)
        self._passes += 1
        self._on_pass(self._passes)
        return [answer for answers in held for answer in answers]

    def each(self, function: Callable[[S], T], items: Sequence[S]) -> list[T]:
        """Call a function for one item after the other: the actors have enough to do."""
        return [function(item) for item in items]

    def project(self, step: Transform) -> None:
        """Replace every row by its transform, in place, at the next question."""
        self._steps.append(step)
        self._shared_steps = ray.put(self._steps)

    def close(self) -> None:
        """Stop the actors and free their memory."""
        for holder in self._holders:
            ray.kill(holder)


def hold_rows(
    table: VectorTable,
    counts: Mapping[str, int],
    workers: int | None,
    machines: Machines,
    on_pass: Callable[[int], None],
) -> OwnRows | RayRows:
    """Hold the vectors of a table in actors, or in this process where they are few; parameters as :class:`RayRows` has.

    Raises
    ------
    DatusError
        If the vectors do not fit into the memory of `machines`.
    """
    length, vectors = table.length(counts), sum(counts.values())
    read = 4 * length * vectors
    held = table.share * read
    # As much again while a block is concatenated and projected.
    if 2 * held > machines.memory:
        raise DatusError(
            f"k-means over {table.share * vectors:,.0f} vectors of {length} numbers takes about {2 * held / 1e9:.1f} "
            f"GB, and the machines have {machines.memory / 1e9:.1f} GB; add nodes, or lower "
            "--set evaluate.token_sample=N where these are the tokens of a baseline"
        )
    few = held <= OWN_BYTES and read <= OWN_BYTES_READ and len(counts) <= OWN_PARTS
    hold = OwnRows if few else RayRows
    return hold(table, counts, workers, on_pass=on_pass)
