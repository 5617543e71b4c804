"""Run declared stages: skip what is done, resume what was begun, check that no image is lost, commit."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from datus2_ray.engine import prometheus
from datus2_ray.engine.device import choose_identity
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.parts import Items, PartWriter, stream_parts
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Identity, Operator, PerPart, Placement, Stage, Whole
from datus2_ray.errors import DatusError
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.commit import Commit, F
from datus2_ray.store.counted import FAULTS, count_parts, note_counts, remove_note
from datus2_ray.store.run_folder import QUARANTINE

#: Files of faults read at a time: from an object store each is a round trip.
READ_THREADS = 32

#: Seconds between two notes of what is finished.
NOTE_SECONDS = 10.0


def execute(
    run: Run, stages: Sequence[Stage[Any]], after: Callable[[Run], None] = lambda run: None
) -> tuple[Run, dict[str, str]]:
    """Run stages in order, after those whose commits the run has already.

    Parameters
    ----------
    after : callable
        Called with the run after every stage, done now or before.

    Returns
    -------
    Run
        With the commits of all stages.
    dict of str to str
        Stages that were left out, and why.

    Raises
    ------
    DatusError
        If a stage fails; the message says which, and what to do.
    """
    left_out: dict[str, str] = {}
    for stage in stages:
        reason = stage.reason_left_out(run.prospect, left_out)
        if reason is not None:
            left_out[stage.name] = reason
            continue
        run = execute_stage(run, stage)
        after(run)
    made = {stage.name: run.commits[stage.name].fingerprint for stage in stages if stage.name not in left_out}
    run.folder.change_current(partial(_still_current, run, stages, made))
    return run, left_out


def _still_current(
    run: Run, stages: Sequence[Stage[Any]], made: Mapping[str, str], current: dict[str, str]
) -> dict[str, str]:
    """Return which results are current: those of these stages, and of others that were made from current ones."""
    # The commits that a run starts with may be those of another folder.
    kept = {**{name: stamp for name, stamp in current.items() if name in run.commits}, **made}
    # One that only adds, and was not asked for this time, is not undone by that.
    own = {stage.name for stage in stages if not stage.adds}
    for name in current:  # in the order in which they were made
        inputs = {} if name in kept or name in own else run.folder.inputs(name, current[name])
        if inputs and all(kept.get(stage) == stamp for stage, stamp in inputs.items()):
            kept[name] = current[name]
    return kept


def execute_stage(run: Run, stage: Stage[F]) -> Run:
    """Run one stage, or take its result where it is finished, and make it current."""
    identity = choose_identity(run, stage)
    stamp = identity.fingerprint
    commit = run.folder.find(stage.facts, stamp)
    if commit is None:
        commit = _make(run, stage, identity)
    else:
        unit = stage.work.unit if isinstance(stage.work, Whole) else "images"
        Progress(stage.name, commit.rows_in, unit).skip(f"{commit.rows_out:,} {unit}, done before")
    run = run.with_commit(commit)
    run.folder.change_current(partial(_current_after, run, stage, stamp))
    return run


def _current_after(run: Run, stage: Stage[Any], stamp: str, current: dict[str, str]) -> dict[str, str] | None:
    """Return which results are current after a stage; None if its own was so before."""
    if current.get(stage.name) == stamp:
        return None
    if stage.adds:
        return _still_current(run, (stage,), {stage.name: stamp}, current)
    # What run.json names of later stages was made from another result.
    return {**{name: kept for name, kept in current.items() if name in run.commits}, stage.name: stamp}


def _make(run: Run, stage: Stage[F], identity: Identity) -> Commit[F]:
    stamp = identity.fingerprint
    uses = stage.uses(replace(run.prospect, device=identity.device))
    pools = {use.runs: use.pool for use in uses if use.pool}
    placement = Placement(run.folder.result(stage.name, stamp), identity.device, pools)
    before = run.folder.begin(stage.name, stamp, identity.decides, identity.inputs, stage.adds)
    run.folder.change_current(lambda current: current, begun=(stage.name, stamp))
    make: Callable[..., Commit[F]] = _whole if isinstance(stage.work, Whole) else _parts
    commit = make(run, stage, stage.work, stamp, placement, before)
    run.folder.commit(commit)
    if commit.parts:
        remove_note(placement.uri)
    return commit


def _whole(run: Run, stage: Stage[F], work: Whole[F], stamp: str, placement: Placement, before: set[str]) -> Commit[F]:
    progress = Progress(stage.name, 0, work.unit)
    with _logged(run, stage, stamp, progress):
        facts = work.compute(run, placement, progress)
        progress.advance(progress.total - progress.done)
    return Commit(placement.uri, stamp, progress.total, progress.total, 0, {}, facts)


def _parts(
    run: Run, stage: Stage[F], work: PerPart[F], stamp: str, placement: Placement, before: set[str]
) -> Commit[F]:
    parts = work.parts(run)
    rows, faults = count_parts(placement.uri, sorted(before & set(parts)))
    errors = sum(faults.values())
    progress = Progress(stage.name, sum(parts.values()), done_before=sum(rows.values()) + errors, errors=errors)
    check = _error_rate(run, stage.name, placement.uri, progress, faults)
    check()
    todo = Items([part for part in parts if part not in rows], partial(work.payload, run))
    writer = Operator(PartWriter(placement.uri, stage.name, *work.metadata(run)))
    watched: list[Heartbeat] = []

    def operators(heartbeat: Heartbeat) -> list[Operator]:
        watched.append(heartbeat)
        return [*work.operators(run, placement, heartbeat), writer]

    with _logged(run, stage, stamp, progress):
        with _noting(placement.uri, rows, faults) as note:
            for done in stream_parts(work.bundle(run, todo), operators, sum(parts[part] for part in todo.parts)):
                rows[done["part"]], faults[done["part"]] = done["rows"], done["faults"]
                progress.advance(done["rows"] + done["faults"], done["faults"])
                prometheus.count_images(stage.name, done["rows"], done["faults"])
                note()
                check()
        progress.memory = watched[-1].memory() if watched else None
        lost = [part for part in parts if rows.get(part, 0) + faults.get(part, 0) != parts[part]]
        if lost:
            raise DatusError(
                f"{stage.name}: rows were lost in {', '.join(lost[:3])} of {placement.uri}; please report this as a bug"
            )
        _collect_faults(placement.uri, faults)
        if parts and not any(rows.values()):
            _refuse_empty(run, placement)
        facts = work.facts(run, placement)
    # Later stages pass over parts of which no image is left.
    counted = {part: count for part, count in sorted(rows.items()) if count}
    return Commit(placement.uri, stamp, progress.total, sum(rows.values()), sum(faults.values()), counted, facts)


@contextmanager
def _noting(uri: str, rows: Mapping[str, int], faults: Mapping[str, int]) -> Iterator[Callable[[], None]]:
    """Return what notes the counts of finished parts every few seconds; note them also where the context fails."""
    noted, before = time.monotonic(), len(rows)

    def note() -> None:
        nonlocal noted
        if time.monotonic() - noted >= NOTE_SECONDS:
            note_counts(uri, rows, faults)
            noted = time.monotonic()

    try:
        yield note
    except BaseException:
        if len(rows) > before:
            with suppress(DatusError):  # the error that ends the stage is the one to show
                note_counts(uri, rows, faults)
        raise


@contextmanager
def _logged(run: Run, stage: Stage[Any], stamp: str, progress: Progress) -> Iterator[None]:
    """Note the begin and the end of an attempt, its seconds and the rows that it did itself, in the event log."""
    start = time.monotonic()
    event = {"stage": stage.name, "fingerprint": stamp}
    run.events.write("begin", **event, rows=progress.total, rows_before=progress.done_before)

    def end(outcome: str) -> None:
        seconds = round(time.monotonic() - start, 3)
        rows_done = progress.done - progress.done_before
        memory = {} if progress.memory is None else {"memory": progress.memory}
        run.events.write(outcome, **event, rows_done=rows_done, errors=progress.errors, seconds=seconds, **memory)
        prometheus.set_seconds(stage.name, seconds)

    try:
        yield
    except BaseException:
        end("stop")
        raise
    progress.finish()
    end("end")


def _error_rate(run: Run, stage: str, uri: str, progress: Progress, faults: Mapping[str, int]) -> Callable[[], None]:
    """Return a check that raises a DatusError once too many images have a fault; `faults` counts them by part."""
    allowed = run.config.max_error_rate

    def check() -> None:
        if progress.errors > allowed * progress.total:
            raise DatusError(
                f"{stage}: {progress.errors} of {progress.total} images cannot be used, more than --max-error-rate "
                f"{allowed:g} allows: {_describe_faults(_read_faults(uri, faults))}; mend them or leave them out, or "
                f"go on without them with --max-error-rate 1; all are in {storage.join(uri, FAULTS)}"
            )

    return check


def _read_faults(uri: str, faults: Mapping[str, int]) -> pa.Table:
    """Read the rows in quarantine of the parts that have some."""
    parts = sorted(part for part, count in faults.items() if count)
    with ThreadPoolExecutor(READ_THREADS) as threads:
        tables = list(threads.map(lambda part: parquet.read_table(storage.join(uri, FAULTS, part)), parts))
    return pa.concat_tables([schemas.QUARANTINE.empty_table(), *tables])


def _describe_faults(table: pa.Table) -> str:
    """Return how many images have which fault, and one of the most frequent kind."""
    counts = Counter(table["kind"].to_pylist())
    kind, _ = counts.most_common(1)[0]
    first = next(row for row in table.to_pylist() if row["kind"] == kind)
    kinds = ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
    return f"{kinds}, for example {first['image_id']}: {first['message']}"


def _collect_faults(uri: str, faults: Mapping[str, int]) -> None:
    if any(faults.values()):
        parquet.write_table(storage.join(uri, QUARANTINE), _read_faults(uri, faults))


def _refuse_empty(run: Run, placement: Placement) -> None:
    described = _describe_faults(parquet.read_table(placement.path(QUARANTINE)))
    raise DatusError(f"no image of {run.config.source} can be used: {described}; give a source with images")
