"""A run: every stage in order, each given what those before it committed, then summary and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datus2_ray.commands.plan import plan_run
from datus2_ray.commands.summary import summarise, write_metrics, write_quarantine
from datus2_ray.commands.weights import check_weights, local_weights
from datus2_ray.config import RunConfig
from datus2_ray.config.load import resolve_paths
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.run import Run, open_run
from datus2_ray.engine.session import start_ray
from datus2_ray.engine.stage import Stage
from datus2_ray.stages import RUN
from datus2_ray.store import storage
from datus2_ray.store.run_folder import RELABELLED
from datus2_ray.trackers.follow import check_tracker, follow


def run(config: RunConfig) -> dict[str, Any]:
    """Find segments and classes in the images of a source, write their masks, score them, and report.

    A stage whose settings and input are unchanged is taken from the run folder; an interrupted one goes on.

    Parameters
    ----------
    config : RunConfig
        Source, run folder and settings.

    Returns
    -------
    dict
        What ``summary.json`` holds: counts, seconds per stage, and the scores where there is ground truth.

    Raises
    ------
    DatusError
        If the run cannot work or a stage fails; the message says in one line what to do.
    """
    # What cannot run is refused before Ray starts, and before torch and timm are loaded, which takes seconds.
    config = resolve_paths(config)
    check_tracker(config.tracker)
    plan = plan_run(config)
    check_weights(config)
    with open_run(config, "run", plan.source, plan.machines) as opened:
        if storage.exists(relabelled := opened.folder.path(RELABELLED)):
            storage.remove_file(relabelled)
        return run_stages(opened, RUN, local_weights(config))


def run_stages(run: Run, stages: Sequence[Stage[Any]], weights: Mapping[str, Any]) -> dict[str, Any]:
    """Run stages in a folder whose lease is held, after those that the run has, and write what :func:`run` returns.

    `weights` are what the summary says of the weights that the run uses.
    """
    config = run.config
    settings = config.model_dump(mode="json")
    if not run.folder.is_finished(settings):
        run.folder.unfinish()
    start_ray(config.no_progress_seconds)
    run = run.on(Machines.now())

    from datus2_ray.engine.execute import execute
    from datus2_ray.report.html import write_report

    run.events.open("run", source=config.source, preset=config.preset, seed=config.seed)
    following = follow(run)
    run, left_out = execute(run, stages, following.after_stage)
    if run.folder.is_finished(settings) and not run.events.grew:
        kept: dict[str, Any] = storage.read_json(run.folder.path("summary.json"))
        following.finish(run, kept)
        return kept
    write_metrics(run.folder)
    write_quarantine(run)
    summary = {**summarise(run, left_out), **weights}
    storage.write_json(run.folder.path("config.json"), settings)
    storage.write_json(run.folder.path("summary.json"), summary)
    write_report(run.folder)
    following.finish(run, summary)
    return summary
