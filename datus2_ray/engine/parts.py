"""One stream over the parts of a stage, on Ray Data: every part in, every part out, each written once.

A part is the unit of work: a fixed slice of the sorted image ids (cut at ingest), one block from read to write, one
file of every table. A file's name says its part and it is put in place atomically, so a retried task writes the same
bytes again and an interrupted stage goes on with the parts that are not there yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import groupby
from typing import Any, cast, overload

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from datus2_ray.engine import ray_private
from datus2_ray.engine.failure import cause_of
from datus2_ray.engine.heartbeat import Heartbeat, Unheard, watched
from datus2_ray.engine.operators.as_in_a_task import as_in_a_task
from datus2_ray.engine.operators.encode import FAULT_COLUMNS
from datus2_ray.engine.session import no_progress_seconds
from datus2_ray.engine.stage import Operator
from datus2_ray.errors import DatusError
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.counted import FAULTS

#: Items, and images in them, for which no tasks are started: that takes one or two seconds, and would halve the time of
#: the work at best.
FEW, FEW_IMAGES = 2, 64

#: What this process needs after most stages with a model; on few cores one is idle while the first images are computed.
NEXT = ("datus2_ray.engine.clustering.kmeans", "datus2_ray.engine.clustering.table")


@dataclass(frozen=True)
class Items(Sequence[dict[str, Any]]):
    """Parts and what the first operator needs to know of each, read when it is asked for.

    Of a folder, payloads name every image: together they may take more memory than the driver has.
    """

    parts: Sequence[str]
    payload: Callable[[str], Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.parts)

    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> Items: ...
    def __getitem__(self, at: int | slice) -> dict[str, Any] | Items:
        """Return an item, or some of them."""
        if isinstance(at, slice):
            return Items(self.parts[at], self.payload)
        return {"part": self.parts[at], **self.payload(self.parts[at])}


def stream_parts(
    items: Sequence[Mapping[str, Any]], operators: Callable[[Heartbeat], Sequence[Operator]], images: int = 0
) -> Iterator[dict[str, Any]]:
    """Send parts through operators on Ray Data and yield the rows of the last one as each part is finished.

    Up to :data:`FEW` items that need no model are worked on in this process, without a limit of time.

    Parameters
    ----------
    items : sequence of mapping
        One part each: its name under ``part``, and what else the first operator needs to know.
    operators : callable
        Returns the operators; each keeps a block whole and keeps its column ``part``, or makes a block of every part
        of an item. The last one leaves few and small rows: they all come to the driver.
    images : int
        Number of images in all items; 0 where the work does not depend on it.

    Raises
    ------
    DatusError
        If nothing moved for ``no_progress_seconds``, or an operator failed.
    """
    if not items:
        return
    if len(items) <= FEW and images <= FEW_IMAGES:
        alone = operators(Unheard())
        if not any(operator.pool for operator in alone):
            try:
                yield from as_in_a_task(stream_here(items, alone))
            except Exception as error:
                raise cause_of(error) from error
            return
    heartbeat = Heartbeat()
    # Ray asks the sequence, which it calls a list, for one item at a time, and puts each into the object store.
    dataset: ray.data.Dataset = ray.data.from_items(cast("list[Any]", items), override_num_blocks=len(items))
    chosen = operators(heartbeat)
    for _, chain in groupby(chosen, key=lambda operator: id(operator) if operator.pool else None):
        dataset = _add(dataset, *chain)
    limit = no_progress_seconds()

    def stalled() -> DatusError:
        return DatusError(
            f"nothing moved for {limit} s; there may be too few free CPUs or GPUs (`ray status` shows a cluster's): "
            "set fewer actors, or wait longer with --set no_progress_seconds=N"
        )

    rows = watched(
        iter(dataset.iter_rows()),
        heartbeat,
        limit,
        stalled,
        on_beat=_import_next if any(operator.pool for operator in chosen) else lambda: None,
    )
    try:
        yield from rows
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error
    finally:
        # Also where the caller ends early: the execution would go on writing parts of a stage that has failed.
        rows.close()
        ray_private.stop_execution(dataset)


def _import_next() -> None:
    for name in NEXT:
        import_module(name)


def stream_here(items: Iterable[Mapping[str, Any]], operators: Sequence[Operator]) -> Iterator[dict[str, Any]]:
    """Send items through operators in this process, one after the other."""
    chain = Chain(tuple(operator.build() for operator in operators))
    for item in items:
        for block in chain.each(pa.Table.from_pylist([dict(item)])):
            yield from block.to_pylist()


def _add(dataset: ray.data.Dataset, operator: Operator, *more: Operator) -> ray.data.Dataset:
    if operator.pool is None:
        chain = Chain(tuple(each.make for each in (operator, *more)))

        def run(block: pa.Table) -> pa.Table | Iterator[pa.Table]:
            return chain(block)

        # Ray's dashboard and the titles of its processes show the name of a function.
        run.__name__ = "->".join(getattr(make, "__name__", type(make).__name__) for make in chain.operators)
        return dataset.map_batches(run, batch_size=None, batch_format="pyarrow", num_cpus=1)
    # An actor cuts a part into forward passes itself, and must have the part alone: an image's result may depend on
    # what shares its batch.
    pool = operator.pool
    added: ray.data.Dataset = ray_private.map_whole_blocks(
        dataset,
        _actor_class(operator),
        operator.arguments,
        compute=ray.data.ActorPoolStrategy(min_size=pool.min_actors, max_size=pool.max_actors),
        num_cpus=0,
        num_gpus=pool.num_gpus or None,
        memory=pool.memory or None,
    )
    return added


def _actor_class(operator: Operator) -> type:
    """Return a class for Ray Data, which Ray's dashboard shows by the name of what it builds."""
    make = operator.make

    class Actor:
        def __init__(self, *arguments: Any) -> None:
            self._built = make(*arguments)

        def __call__(self, block: pa.Table) -> pa.Table:
            made: pa.Table = self._built(block)
            return made

    Actor.__name__ = Actor.__qualname__ = getattr(make, "name", getattr(make, "__name__", "Actor"))
    return Actor


@dataclass(frozen=True)
class Chain:
    """Operators one after the other; a block that one of them makes is through all of them before it makes the next."""

    operators: tuple[Callable[[pa.Table], pa.Table | Iterator[pa.Table]], ...]

    def __call__(self, block: pa.Table) -> pa.Table | Iterator[pa.Table]:
        """Return what the last operator makes of a block; an iterator where one of them makes several of it."""
        for number, operator in enumerate(self.operators):
            made = operator(block)
            if not isinstance(made, pa.Table):
                rest = Chain(self.operators[number + 1 :])
                return (after for each in made for after in rest.each(each))
            block = made
        return block

    def each(self, block: pa.Table) -> Iterator[pa.Table]:
        """Yield what the last operator makes of a block."""
        made = self(block)
        yield from [made] if isinstance(made, pa.Table) else made


def split_faults(block: pa.Table, stage: str) -> tuple[pa.Table, pa.Table]:
    """Split a block into its usable rows, without fault columns, and quarantine rows for the others."""
    usable = pc.is_null(block["fault_kind"])
    bad = block.filter(pc.invert(usable))
    quarantine = pa.table(
        {
            "image_id": bad["image_id"],
            "stage": pa.array([stage] * len(bad), pa.string()),
            "kind": bad["fault_kind"],
            "message": bad["fault_message"],
        },
        schema=schemas.QUARANTINE,
    )
    return block.filter(usable).drop_columns(list(FAULT_COLUMNS)), quarantine


@dataclass(frozen=True)
class PartWriter:
    """Last operator of every stage: write a finished block to its part's file, and its faults to ``_faults/``.

    `row_group_rows` is None for one row group; `metadata` is of the file's schema.
    """

    folder: str
    stage: str
    row_group_rows: int | None = None
    metadata: dict[bytes, bytes] | None = None

    def __call__(self, block: pa.Table) -> pa.Table:
        """Write one part; the faults go first, so that a part's file means that all of it is there."""
        part = block["part"][0].as_py()
        table = block.drop_columns(["part"])
        faults = 0
        if "fault_kind" in table.column_names:
            table, quarantine = split_faults(table, self.stage)
            faults = len(quarantine)
            if faults:
                parquet.write_table(storage.join(self.folder, FAULTS, part), quarantine)
        table = table.replace_schema_metadata(self.metadata)
        parquet.write_table(storage.join(self.folder, part), table, self.row_group_rows)
        return pa.table({"part": [part], "rows": [len(table)], "faults": [faults]})
