"""Fixed shards of a table's vectors, held in Ray actors, that answer the questions of k-means and PCA.

The vectors of a run are numbered in the order of the sorted image ids; a shard is a fixed run of those numbers. Which
actor holds a shard, and how many actors there are, changes nothing: answers are put back into shard order. A holder
that dies is started again by Ray, reads its shards again, and answers the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from datus2_ray.core.cluster.projection import Projection
from datus2_ray.core.cluster.row_hash import row_uniform
from datus2_ray.core.cluster.shards import Shard
from datus2_ray.engine.failure import cause_of
from datus2_ray.engine.parts import map_parts, no_progress_seconds, stream_parts
from datus2_ray.errors import DatusError
from datus2_ray.store import storage
from datus2_ray.store.columns import list_arrays

P = ParamSpec("P")
T = TypeVar("T")

UNCHANGED = Projection()


@dataclass(frozen=True)
class VectorTable:
    """Where the vectors are and which of them are wanted.

    Parameters
    ----------
    folder : str
        URI of ``segments/``.
    column : str
        ``descriptors`` or ``tokens``.
    weights : str, optional
        Column of the same lengths that weighs them; else all weigh 1.
    share : float
        Share of the vectors to take, chosen by a hash of their number and the seed.
    seed : int
        The run's seed.
    """

    folder: str
    column: str
    weights: str | None = None
    share: float = 1.0
    seed: int = 0

    def chosen(self, start: int, stop: int) -> np.ndarray:
        """Tell which of the vectors numbered from `start` to `stop` are wanted: bool, shape (stop - start,)."""
        if self.share >= 1.0:
            return np.ones(stop - start, dtype=bool)
        return row_uniform(np.arange(start, stop), self.seed, "share") < self.share


@dataclass(frozen=True)
class ShardPlan:
    """One shard: its number among the shards, its vectors' numbers, where they lie, and its first row once thinned."""

    number: int
    start: int
    stop: int
    first_row: int
    pieces: tuple[tuple[str, int, int], ...]


class ShardHolder:
    """Actor that holds some of the shards.

    Parameters
    ----------
    table : VectorTable
        Where the vectors are.
    plans : list of ShardPlan
        The shards to hold.
    projection : Projection
        What is done to them first.
    """

    def __init__(self, table: VectorTable, plans: list[ShardPlan], projection: Projection) -> None:
        self._shards = [_load(table, plan, projection) for plan in plans]

    def ask(self, question: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """Ask every held shard, in their order."""
        return [question(shard, *args, **kwargs) for shard in self._shards]


def _load(table: VectorTable, plan: ShardPlan, projection: Projection) -> Shard:
    vectors, weights = [], []
    columns = [table.column] + ([table.weights] if table.weights else [])
    for part, start, stop in plan.pieces:
        read = storage.read_table(storage.join(table.folder, part), columns)
        vectors.append(_concatenated(read[table.column])[start:stop])
        if table.weights:
            weights.append(_concatenated(read[table.weights])[start:stop])
    chosen = table.chosen(plan.start, plan.stop)
    x = np.concatenate(vectors)[chosen]
    w = np.concatenate(weights)[chosen].astype(np.float64) if table.weights else np.ones(len(x))
    return Shard(projection.transform(x), w, plan.first_row)


def _concatenated(column: pa.ChunkedArray) -> np.ndarray:
    return np.concatenate([array for array in list_arrays(column) if array is not None])


class RayShards:
    """Shards in actors; implements :class:`~datus2_ray.core.cluster.shards.Shards`.

    Parameters
    ----------
    table : VectorTable
        Where the vectors are.
    counts : mapping of str to int
        Vectors in every part, see :func:`count_vectors`.
    shard_rows : int
        Vectors in a shard.
    workers : int
        Actors.
    projection : Projection
        What is done to the vectors first.
    tell : callable
        Told the number of passes over the vectors after each one.
    """

    def __init__(
        self,
        table: VectorTable,
        counts: Mapping[str, int],
        shard_rows: int,
        workers: int,
        projection: Projection = UNCHANGED,
        tell: Callable[[int], None] = lambda passes: None,
    ) -> None:
        plans = plan_shards(table, counts, shard_rows)
        self._count = len(plans)
        self._answered = 0
        self._tell = tell
        self._workers = max(1, min(workers, len(plans)))
        # A few restarts mend a lost node; a holder that dies again and again lacks memory, and must say so.
        holder: Any = ray.remote(num_cpus=0, max_restarts=3, max_task_retries=3)(ShardHolder)
        dealt = [plans[worker :: self._workers] for worker in range(self._workers)]
        self._holders: list[Any] = [holder.remote(table, mine, projection) for mine in dealt]

    def ask(self, question: Callable[Concatenate[Shard, P], T], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Ask every shard and list the answers in shard order."""
        asked = [holder.ask.remote(question, args, kwargs) for holder in self._holders]
        waiting = list(asked)
        while waiting:
            answered, waiting = ray.wait(waiting, timeout=no_progress_seconds())
            if not answered:
                raise DatusError(
                    f"no holder of shards answered for {no_progress_seconds()} s; the cluster may lack memory: give "
                    "more nodes, or wait longer with --set no_progress_seconds=N"
                )
        try:
            held: list[list[T]] = ray.get(asked)
        except ray.exceptions.RayError as error:
            raise cause_of(error) from error
        self._answered += 1
        self._tell(self._answered)
        return [held[number % self._workers][number // self._workers] for number in range(self._count)]

    def close(self) -> None:
        """Let the actors go, and with them the vectors' memory."""
        for holder in self._holders:
            ray.kill(holder)


def plan_shards(table: VectorTable, counts: Mapping[str, int], shard_rows: int) -> list[ShardPlan]:
    """Cut the vectors, in the order of the parts' names, into shards of fixed numbers.

    Parameters
    ----------
    table : VectorTable
        Which vectors are wanted.
    counts : mapping of str to int
        Vectors in every part.
    shard_rows : int
        Vectors in a shard; the last has what is left.
    """
    parts = sorted(counts)
    ends = np.cumsum([counts[part] for part in parts])
    total = int(ends[-1]) if parts else 0
    plans: list[ShardPlan] = []
    first_row = 0
    for start in range(0, max(total, 1), shard_rows):
        stop = min(start + shard_rows, total)
        pieces = []
        first = int(np.searchsorted(ends, start, side="right"))
        for part, end in zip(parts[first:], ends[first:].tolist(), strict=True) if start < stop else ():
            begin = end - counts[part]
            if begin >= stop:
                break
            if counts[part]:
                pieces.append((part, max(start - begin, 0), min(stop, end) - begin))
        plans.append(ShardPlan(len(plans), start, stop, first_row, tuple(pieces)))
        first_row += int(table.chosen(start, stop).sum())
    return plans


def count_vectors(folder: str, column: str, parts: list[str]) -> dict[str, int]:
    """Count the vectors in every part of a table, in Ray tasks."""

    def count(block: pa.Table) -> pa.Table:
        part = block["part"][0].as_py()
        lengths = pc.list_value_length(storage.read_table(storage.join(folder, part), [column])[column])
        return pa.table({"part": [part], "vectors": [pc.sum(lengths).as_py() or 0]})

    rows = stream_parts([{"part": part} for part in parts], lambda source, _: map_parts(source, count))
    return {row["part"]: row["vectors"] for row in rows}
