"""One streaming Ray Data execution over the parts of a stage: every part in, every part out, each written once.

A part is the unit of work: a fixed slice of the sorted image ids (cut at ingest), one block from read to write, one
file of every table. A file's name says its part and it is put in place atomically, so a retried task writes the same
bytes again and an interrupted stage goes on with the parts that are not there yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from datus2_ray.engine import prometheus
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.failure import cause_of
from datus2_ray.engine.heartbeat import Heartbeat, watched
from datus2_ray.engine.pools import Pool
from datus2_ray.engine.progress import Progress
from datus2_ray.errors import DatusError
from datus2_ray.store import schemas, storage
from datus2_ray.store.run_folder import Commit

#: Adds a stage's operators to a data set of one-row blocks with the column ``part``; some of them beat the heart.
Build = Callable[[ray.data.Dataset, Heartbeat], ray.data.Dataset]

#: Where Ray Data's context keeps the seconds after which a stage counts as stalled.
NO_PROGRESS = "datus2_ray.no_progress_seconds"

#: Columns by which a row that could not be used carries its fault to the end of the stage.
FAULT_COLUMNS = ("fault_kind", "fault_message")


def configure_ray_data(no_progress_seconds: int) -> None:
    """Set Ray Data's context for this process: no bars, one block a part, and no silent hang."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = None  # a part stays one block however large its pictures are
    context.set_config(NO_PROGRESS, no_progress_seconds)
    # Ray Data's own guard takes a slow part for a stalled one; `watched` does not, and ends a stage long before this.
    context.execution_no_progress_timeout_s = max(1800, 4 * no_progress_seconds)


def map_parts(
    dataset: ray.data.Dataset, operator: Callable[..., Any], pool: Pool | None = None, *arguments: Any
) -> ray.data.Dataset:
    """Add an operator that takes whole parts: a CPU task, or a pool of actors that each build the operator once.

    Parameters
    ----------
    dataset : Dataset
        A block a part.
    operator : callable
        Without `pool`: block → block. With it: the class of such callables.
    pool : Pool, optional
        Size and devices of the actor pool.
    *arguments
        What the class is built with in every actor: names and addresses, never weights.
    """
    if pool is None:
        return dataset.map_batches(operator, batch_size=None, batch_format="pyarrow", num_cpus=1)
    # The public map_batches refuses batch_size=None with GPUs, lest a block overflow one; here the actor itself cuts a
    # part into forward passes, and must have the part alone: an image's result may depend on what shares its batch.
    mapped: ray.data.Dataset = dataset.map_batches_internal(
        operator,
        fn_constructor_args=arguments,
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=pool.least, max_size=pool.most),
        num_cpus=0,
        num_gpus=pool.num_gpus or None,
        memory=pool.memory or None,
    )
    return mapped


def stream_parts(
    items: Sequence[Mapping[str, Any]],
    build: Build,
) -> Iterator[dict[str, Any]]:
    """Send parts through a chain of Ray Data operators and give the rows of the last one as each part is finished.

    Parameters
    ----------
    items : sequence of mapping
        A part each: its name under ``part``, and what else the first operator needs to know.
    build : callable
        Adds the stage's operators (:func:`map_parts`); each keeps a block whole and keeps its column ``part``. The
        last one leaves few and small rows: they all come here.

    Raises
    ------
    DatusError
        Nothing moved for the time set in the Ray Data context, or an operator failed.
    """
    if not items:
        return
    source = ray.data.from_items([dict(item) for item in items], override_num_blocks=len(items))
    limit = no_progress_seconds()
    heartbeat = Heartbeat()

    def stalled() -> DatusError:
        return DatusError(
            f"nothing moved for {limit} s; the cluster may lack free CPUs or GPUs (`ray status` shows them): give "
            "fewer actors, or wait longer with --set no_progress_seconds=N"
        )

    try:
        yield from watched(iter(build(source, heartbeat).iter_rows()), heartbeat, limit, stalled)
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error


def no_progress_seconds() -> int:
    """Give the seconds after which a stage counts as stalled, as :func:`configure_ray_data` set them."""
    seconds: int = ray.data.DataContext.get_current().get_config(NO_PROGRESS)
    return seconds


def split_faults(block: pa.Table, stage: str) -> tuple[pa.Table, pa.Table]:
    """Part a block into the rows that are well, without fault columns, and quarantine rows for the others."""
    well = pc.is_null(block["fault_kind"])
    bad = block.filter(pc.invert(well))
    quarantine = pa.table(
        {
            "image_id": bad["image_id"],
            "stage": pa.array([stage] * len(bad), pa.string()),
            "kind": bad["fault_kind"],
            "message": bad["fault_message"],
        },
        schema=schemas.QUARANTINE,
    )
    return block.filter(well).drop_columns(list(FAULT_COLUMNS)), quarantine


@dataclass(frozen=True)
class PartWriter:
    """Writes a finished block to its part's file, and its faults beside it in ``_faults/``.

    Parameters
    ----------
    folder : str
        URI of the stage's folder.
    stage : str
        Name of the stage.
    row_group_rows : int, optional
        Rows in a row group; default all.
    metadata : dict of bytes to bytes, optional
        What the file's schema says beside the columns.
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
                storage.write_table(storage.join(self.folder, "_faults", part), quarantine)
        table = table.replace_schema_metadata(self.metadata)
        storage.write_table(storage.join(self.folder, part), table, self.row_group_rows)
        return pa.table({"part": [part], "rows": [len(table)], "faults": [faults]})


def run_stage(
    context: RunContext,
    stage: str,
    folder: str,
    fingerprint: str,
    parts: Mapping[str, int],
    build: Build,
    payload: Callable[[str], Mapping[str, Any]] = lambda part: {},
    facts: Callable[[], Mapping[str, Any]] = dict,
    writer: PartWriter | None = None,
) -> Commit:
    """Run a stage that turns every part into a part: resume it, watch it, check that no image is lost, commit it.

    Parameters
    ----------
    context : RunContext
        The run.
    stage, folder : str
        Name of the stage, and of its folder in the run folder.
    fingerprint : str
        Hash of what its result depends on.
    parts : mapping of str to int
        Names of the parts and how many images come in with each.
    build : callable
        Adds the stage's operators, see :func:`stream_parts`.
    payload : callable
        Gives what the first operator needs to know of a part beside its name.
    facts : callable
        Gives what the commit notes for later stages and the report; called when all parts are there.
    writer : PartWriter, optional
        Writes the parts; default one file a part without anything special to it.

    Raises
    ------
    DatusError
        More images than ``max_error_rate`` cannot be used, or rows were lost.
    """
    progress = Progress(stage, sum(parts.values()))
    done = context.folder.commit_of(folder)
    if done is not None and done.fingerprint == fingerprint:
        progress.skip(f"{done.rows_out:,} images, done before")
        return done
    finished = context.folder.begin(folder, fingerprint)
    uri = context.folder.path(folder)
    context.events.write("begin", stage=stage, images=progress.total, parts_done_before=len(finished))
    rows, faults = {}, {}
    for part in sorted(finished & set(parts)):
        rows[part], faults[part] = storage.count_rows(storage.join(uri, part)), _count_faults(uri, part)
        progress.advance(rows[part] + faults[part], faults[part])
    _check_error_rate(context, stage, uri, progress)
    todo = [{"part": part, **payload(part)} for part in parts if part not in finished]
    writer = writer or PartWriter(uri, stage)
    for done_part in stream_parts(todo, lambda source, heartbeat: map_parts(build(source, heartbeat), writer)):
        rows[done_part["part"]], faults[done_part["part"]] = done_part["rows"], done_part["faults"]
        progress.advance(done_part["rows"] + done_part["faults"], done_part["faults"])
        prometheus.count_images(stage, done_part["rows"], done_part["faults"])
        _check_error_rate(context, stage, uri, progress)
    lost = [part for part in parts if rows.get(part, 0) + faults.get(part, 0) != parts[part]]
    if lost:
        raise DatusError(f"{stage}: rows were lost in {', '.join(lost[:3])} of {uri}; please report this as a bug")
    _collect_faults(context, stage, uri, [part for part in faults if faults[part]])
    counted = dict(sorted(rows.items()))
    commit = Commit(fingerprint, progress.total, sum(rows.values()), sum(faults.values()), counted, dict(facts()))
    context.folder.finish(folder, commit)
    context.end(stage, progress.finish(), images=commit.rows_out, errors=progress.errors)
    return commit


def _count_faults(uri: str, part: str) -> int:
    faults = storage.join(uri, "_faults", part)
    return storage.count_rows(faults) if storage.exists(faults) else 0


def _check_error_rate(context: RunContext, stage: str, uri: str, progress: Progress) -> None:
    allowed = context.config.max_error_rate
    if progress.errors > allowed * progress.total:
        raise DatusError(
            f"{stage}: {progress.errors} of {progress.total} images cannot be used, more than --max-error-rate "
            f"{allowed:g} allows; {uri}/_faults says which and why"
        )


def _collect_faults(context: RunContext, stage: str, uri: str, parts: list[str]) -> None:
    tables = [storage.read_table(storage.join(uri, "_faults", part)) for part in sorted(parts)]
    merged = pa.concat_tables([schemas.QUARANTINE.empty_table(), *tables])
    storage.write_table(context.folder.path("quarantine", f"{stage}.parquet"), merged)
