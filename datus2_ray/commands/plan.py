"""What a command would put on the machines, from the declarations of its stages; what cannot run is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datus2_ray.config import RunConfig
from datus2_ray.engine.machines import Device, Machines, require_cpu
from datus2_ray.engine.run import Run
from datus2_ray.engine.session import look_at_machines
from datus2_ray.engine.stage import Stage, Use
from datus2_ray.sources import layouts
from datus2_ray.sources.listing import Listing, list_for_shards, list_source
from datus2_ray.stages import INGEST_COMMAND, PRETRAIN_COMMAND, RUN
from datus2_ray.store.commit import Commit
from datus2_ray.store.events import EventLog
from datus2_ray.store.run_folder import RunFolder


@dataclass(frozen=True)
class Plan:
    """What a command would do: source, machines, what each stage puts there, and what is left out or may wait."""

    source: Listing
    machines: Machines
    device: Device
    uses: tuple[tuple[str, Use], ...]
    notes: tuple[str, ...]


def plan_run(config: RunConfig) -> Plan:
    """Plan a run.

    Raises
    ------
    DatusError
        If it cannot run with these settings, on this source, or on these machines. The message says what to change.
    """
    machines = check_place(config, "run")
    return plan_stages(config, RUN, list_source(config, labelled=True), machines)


def plan_ingest(config: RunConfig) -> Plan:
    """Plan the writing of shards; raises as :func:`plan_run` does."""
    machines = check_place(config, "ingest")
    return plan_stages(config, INGEST_COMMAND, list_for_shards(config), machines)


def plan_pretraining(config: RunConfig) -> Plan:
    """Plan a pre-training; raises as :func:`plan_run` does."""
    machines = check_place(config, "pretrain")
    return plan_stages(config, PRETRAIN_COMMAND, list_source(config, labelled=False), machines)


def plan_stages(
    config: RunConfig,
    stages: Sequence[Stage[Any]],
    listing: Listing,
    machines: Machines,
    commits: Mapping[str, Commit[Any]] | None = None,
) -> Plan:
    """Plan stages that no command has begun, given results of another run; raises as :func:`plan_run` does."""
    folder = RunFolder(config.out)
    prospect = Run(config, folder, EventLog(folder.path("events.jsonl")), listing, machines, commits or {}).prospect
    uses: list[tuple[str, Use]] = []
    notes: list[str] = []
    left_out: dict[str, str] = {}
    if prospect.device == "cuda" and not machines.gpus:
        notes.append(
            "the cluster has no GPU yet: stages wait for its autoscaler to start some, and fail where nothing has "
            f"moved for no_progress_seconds = {config.no_progress_seconds}"
        )
    notes += listing.ground_truth
    for stage in stages:
        reason = stage.reason_left_out(prospect, left_out)
        if reason is not None:
            left_out[stage.name] = reason
            notes.append(f"no {stage.name}: {reason}")
            continue
        for use in stage.uses(prospect):
            uses.append((stage.name, use))
            notes += [f"{stage.name}: {note}" for note in use.notes]
    return Plan(listing, machines, prospect.device, tuple(uses), tuple(notes))


def check_place(config: RunConfig, command: str) -> Machines:
    """Check what needs no look at the source, and return the machines: to list millions of objects takes minutes."""
    layouts.find(config.dataset)
    RunFolder(config.out).check_free(config.source, command)
    machines = look_at_machines(config.no_progress_seconds)
    require_cpu(machines)
    return machines
