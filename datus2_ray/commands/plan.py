"""What a command would put on the machines, from the declarations of its stages; what cannot run is refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isqrt
from typing import Any

from datus2_ray.config import RunConfig
from datus2_ray.core.images.resize import MAX_ASPECT
from datus2_ray.core.views.windows import MAX_PATCHES
from datus2_ray.engine.machines import Device, Machines, require_cpu
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.run import Run
from datus2_ray.engine.session import look_at_machines
from datus2_ray.engine.stage import Stage, Use
from datus2_ray.errors import DatusError, UsageError
from datus2_ray.sources.layouts import known
from datus2_ray.sources.list_source import list_for_shards, list_source
from datus2_ray.sources.listing import Listing
from datus2_ray.stages import INGEST_COMMAND, PRETRAIN_COMMAND, RUN
from datus2_ray.stages.discover.discover import SMALL_PATCH
from datus2_ray.store import folders
from datus2_ray.store.commit import Commit
from datus2_ray.store.events import EventLog
from datus2_ray.store.facts import Clustered
from datus2_ray.store.run_folder import RunFolder

#: Seconds of a listing that shows nothing.
QUIET_SECONDS = 1.0


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
    listing = list_shown(config)
    if config.protocol == "stego" and not listing.labelled:
        raise UsageError(
            f"--protocol stego is a rule for scores, and {config.source} has no ground truth; leave it out, or name "
            "its --dataset or --masks"
        )
    return plan_stages(config, RUN, listing, machines)


def plan_ingest(config: RunConfig) -> Plan:
    """Plan the writing of shards; raises as :func:`plan_run` does."""
    machines = check_place(config, "ingest")
    listing = _shown(lambda opened, **shown: list_for_shards(config, **shown))
    return plan_stages(config, INGEST_COMMAND, listing, machines)


def plan_pretraining(config: RunConfig) -> Plan:
    """Plan a pre-training; raises as :func:`plan_run` does."""
    machines = check_place(config, "pretrain")
    return plan_stages(config, PRETRAIN_COMMAND, list_shown(config, labelled=False), machines)


def list_shown(config: RunConfig, labelled: bool = True) -> Listing:
    """List a source as :func:`list_source` does; show how far it is, where that takes long, and what is passed over."""
    return _shown(partial(list_source, config, labelled))


def _shown(make: Callable[..., Listing]) -> Listing:
    progress, start, hidden = Progress("list", 0, "files"), time.monotonic(), 0
    done = dict.fromkeys(("names compared", "shards opened"), 0)

    def show(more: int) -> None:
        nonlocal hidden
        hidden += more
        if time.monotonic() - start >= QUIET_SECONDS:
            progress.advance(hidden, note=", ".join(f"{count:,} {what}" for what, count in done.items() if count))
            hidden = 0

    def count(what: str, more: int) -> None:
        done[what] += more
        show(0)

    listing = make(show=show, compared=partial(count, "names compared"), opened=partial(count, "shards opened"))
    if progress.done:
        progress.finish()
    for note in listing.notes:
        progress.skip(f"passed over {note}")
    return listing


def plan_stages(
    config: RunConfig,
    stages: Sequence[Stage[Any]],
    listing: Listing,
    machines: Machines,
    commits: Mapping[str, Commit[Any]] | None = None,
) -> Plan:
    """Plan stages that no command has begun, given results of another run; raises as :func:`plan_run` does."""
    folder = RunFolder(config.out)
    if any(stage.facts is Clustered for stage in stages):
        _check_segments(config, listing)
    if not folder.is_run():
        _check_space(config, listing)
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


def _check_segments(config: RunConfig, listing: Listing) -> None:
    """Raise a UsageError if there are more clusters than segments can be, or more segments than can be numbered."""
    discover = config.discover
    # A backbone's patches are not known without torch, seconds to load; none are smaller.
    grid = discover.grid or discover.side(SMALL_PATCH) // SMALL_PATCH
    patches = grid * grid * (MAX_ASPECT if discover.keep_aspect else 1)
    single = discover.unit == "patches"
    if single and discover.grid and grid * grid > MAX_PATCHES:
        raise UsageError(
            f"discover.unit=patches: {grid} × {grid} patches are more than the {MAX_PATCHES:,} that can be units; set "
            f"discover.grid={isqrt(MAX_PATCHES)} or less"
        )
    per_image = patches if single else patches // (discover.tau + 1)
    most = listing.images * per_image
    if listing.images and config.clusters is not None and config.clusters > most:
        raise UsageError(
            f"--clusters {config.clusters}: {listing.images} images of up to {per_image} segments have at most {most}; "
            "give fewer clusters or more images"
        )


def _check_space(config: RunConfig, listing: Listing) -> None:
    """Raise a DatusError if the disk has no room for the copies of a folder's images that a run keeps."""
    free, needed = folders.free_space(config.out), sum(listing.sizes.values())
    if listing.columns is None and free is not None and needed > free:
        raise DatusError(
            f"{config.out} gets a copy of the images, {needed / 1e9:,.1f} GB, and its disk has {free / 1e9:,.1f} GB "
            "free; give --out on another disk, or fewer images with --limit"
        )


def check_place(config: RunConfig, command: str) -> Machines:
    """Check what needs no look at the source, and return the machines: to list millions of objects takes minutes."""
    known.find(config.dataset)
    RunFolder(config.out).check_free(config.source, command)
    folders.check_writable(config.out)
    machines = look_at_machines(config.no_progress_seconds)
    require_cpu(machines)
    return machines
