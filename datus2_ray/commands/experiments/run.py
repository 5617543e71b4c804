"""An experiment: runs of several variants and seeds in one run folder, which share every result they have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from datus2_ray.commands.experiments.variants import EXPERIMENTS, Variant
from datus2_ray.commands.plan import check_place, list_shown, plan_stages
from datus2_ray.commands.weights import check_weights
from datus2_ray.config import RunConfig
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.run import Run, open_run
from datus2_ray.engine.session import start_ray
from datus2_ray.errors import UsageError
from datus2_ray.sources.listing import Listing
from datus2_ray.store import storage
from datus2_ray.store.facts import Discovered, Probed


@dataclass(frozen=True)
class Result:
    """What one variant gave with one seed.

    Parameters
    ----------
    summary : dict
        What a run's ``summary.json`` holds.
    probe : Probed or None
        Scores of the linear probe, of an experiment that has one.
    """

    variant: Variant
    seed: int
    summary: dict[str, Any]
    probe: Probed | None = None

    @property
    def seconds_per_image(self) -> float | None:
        """Time of discover per image, its start included; None where a killed attempt took its time with it."""
        seconds: float | None = self.summary["seconds_per_row"].get(Discovered.stage)
        return seconds

    @property
    def segments_per_image(self) -> float:
        """Mean number of segments."""
        return float(self.summary["segments"] / self.summary["images"])


def run_experiment(
    name: str, base: RunConfig, seeds: int, values: Sequence[float], note: Callable[[str], None]
) -> list[Result]:
    """Run every variant of an experiment with every seed, in one run folder.

    Results lie below their fingerprints, so that variants share what they have in common, and a later call does only
    what is missing: other images, weights or versions of a stage have other fingerprints.

    Parameters
    ----------
    base : RunConfig
        Settings that the variants start from; ``out`` is the experiment's folder, ``seed`` the first seed.
    values : sequence of float
        Points of a sweep; none for the experiment's own.
    note : callable
        Called with a line that says which run comes next.

    Returns
    -------
    list of Result
        By variant, then by seed.

    Raises
    ------
    UsageError
        If the experiment is unknown, the values do not fit it, or the source has no ground truth.
    """
    if name not in EXPERIMENTS:
        raise UsageError(f"unknown experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    base = base.model_copy(update={"out": storage.join(base.out, "runs")})
    machines = check_place(base, "experiment")
    source = list_shown(base)
    if not source.labelled:
        raise UsageError(f"{base.source} has no ground truth, and an experiment compares scores; name its --dataset")
    check_weights(base)
    with open_run(base, "experiment", source, machines) as opened:
        start_ray(base.no_progress_seconds)
        opened = opened.on(Machines.now())
        try:
            variants = EXPERIMENTS[name].variants(base, values, source)
            configs = [(variant, variant.apply(base)) for variant in variants]
        except (ValidationError, ValueError) as error:
            raise UsageError(f"{name}: these settings or values do not fit: {' '.join(str(error).split())}") from error
        return [
            _run(opened, variant, config.model_copy(update={"seed": base.seed + number}), EXPERIMENTS[name].probe, note)
            for variant, config in configs
            for number in range(seeds)
        ]


def _run(opened: Run, variant: Variant, config: RunConfig, probe: bool, note: Callable[[str], None]) -> Result:
    from datus2_ray.commands.summary import summarise
    from datus2_ray.engine.execute import execute
    from datus2_ray.stages import PROBED_RUN, RUN

    note(f"{variant.name}, seed {config.seed}")
    listing, stages = _listing(opened, config), PROBED_RUN if probe else RUN
    plan_stages(config, stages, listing, opened.machines)
    run, left_out = execute(opened.configured(config, listing), stages)
    probed = run.find(Probed)
    return Result(variant, config.seed, summarise(run, left_out), probed.facts if probed else None)


def _listing(opened: Run, config: RunConfig) -> Listing:
    """Return the listing of a variant: the one that is there where it sees the same images."""
    same = ("source", "dataset", "split", "limit", "ingest")
    if all(getattr(config, name) == getattr(opened.config, name) for name in same):
        return opened.listing
    return list_shown(config)
