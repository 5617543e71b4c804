"""A stage that makes one result of the whole set, not a part of each part: skipped when done, else committed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datus2_ray.engine.context import RunContext
from datus2_ray.engine.progress import Progress
from datus2_ray.store.run_folder import Commit


def run_once(
    context: RunContext,
    stage: str,
    folder: str,
    fingerprint: str,
    unit: str,
    work: Callable[[Progress], dict[str, Any]],
) -> Commit:
    """Run such a stage.

    Parameters
    ----------
    context : RunContext
        The run.
    stage, folder : str
        Name of the stage, and of its folder in the run folder.
    fingerprint : str
        Hash of what its result depends on.
    unit : str
        What it works on, in the plural.
    work : callable
        Sets the progress' total, writes the stage's files, and gives the facts to commit.
    """
    done = context.folder.commit_of(folder)
    progress = Progress(stage, 0, unit)
    if done is not None and done.fingerprint == fingerprint:
        progress.skip(f"{done.rows_out:,} {unit}, done before")
        return done
    context.folder.begin(folder, fingerprint)
    context.events.write("begin", stage=stage)
    facts = work(progress)
    commit = Commit(fingerprint, progress.total, progress.total, 0, {}, facts)
    context.folder.finish(folder, commit)
    progress.advance(progress.total - progress.done)
    context.end(stage, progress.finish(), errors=0, **{unit: progress.total})
    return commit
