"""Row blocks of a table's vectors that answer the questions of k-means and PCA: in Ray actors, or few of them here.

Which actor holds a block, and how many actors there are, changes nothing: answers are put back into block order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar

import ray

from datus2_ray.core.cluster.rows import LocalRows, RowBlock, Transform
from datus2_ray.engine.clustering.vectors import OWN_PARTS, BlockPlan, VectorTable, plan_blocks
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.waiting import get_or_stall
from datus2_ray.errors import DatusError

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

#: Vectors in a block. It decides the order of all float sums: another number, other last bits of the centroids.
BLOCK_ROWS = 32_768

#: Bytes of vectors in float32 that this process holds itself, and of those among which they are chosen: where they lie
#: in few parts, they are read and clustered in less time than actors take to start.
OWN_BYTES, OWN_BYTES_READ = 64 * 10**6, 512 * 10**6


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
