"""An experiment: runs of several variants and seeds in one run folder, which share every result they have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from datus2_ray.commands.experiments.variants import EXPERIMENTS, Variant
from datus2_ray.commands.plan import check_place, list_shown, plan_stages
from datus2_ray.commands.weights import check_weights
from datus2_ray.config import RunConfig
from datus2_ray.config.load import resolve_paths
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.run import Run, open_run
from datus2_ray.engine.session import start_ray
from datus2_ray.errors import UsageError
from datus2_ray.sources.listing import Listing
from datus2_ray.store import storage
from datus2_ray.store.facts import Discovered, Probed
from datus2_ray.trackers.follow import check_tracker, follow


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

    def score(self, masks: str, matching: str, score: str) -> float | None:
        """Return a score of a set of masks, or of the probe, in percent; None where the run has none."""
        if masks == "probe":
            return None if self.probe is None else 100 * float(vars(self.probe)[score])
        scores = self.summary["metrics"].get(masks)
        value = None if scores is None else scores[matching][score]
        return None if value is None else 100 * float(value)

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
        raise UsageError(f"unknown experiment {name!r}; there are {', '.join([*EXPERIMENTS, 'backbones'])}")
    axis = EXPERIMENTS[name]
    make = partial(axis.variants, base, values)
    return run_variants(name, base, make, seeds, note, probe=axis.probe)


def run_variants(
    name: str,
    base: RunConfig,
    make: Callable[[Listing], Sequence[Variant]],
    seeds: int,
    note: Callable[[str], None],
    *,
    probe: bool = False,
    leave_out: bool = False,
) -> list[Result]:
    """Run variants with every seed, in one run folder; `make` returns them for the listed source.

    See :func:`run_experiment` for what is shared and raised. With `leave_out` a variant that cannot be run, such as one
    of more clusters than there are segments, is noted and left out, unless none can.
    """
    check_tracker(base.tracker)
    base = base.model_copy(update={"out": storage.join(base.out, "runs")})
    machines = check_place(base, "experiment")
    source = list_shown(base)
    if not source.labelled:
        raise UsageError(f"{base.source} has no ground truth, and an experiment compares scores; name its --dataset")
    try:
        configs = [(variant, resolve_paths(variant.apply(base))) for variant in make(source)]
    except (ValidationError, ValueError) as error:
        raise UsageError(f"{name}: these settings or values do not fit: {' '.join(str(error).split())}") from error
    # One of each backbone and block: to load weights takes seconds.
    for config in {(config.backbone, config.discover.block): config for _, config in configs}.values():
        check_weights(config)
    with open_run(base, "experiment", source, machines) as opened:
        start_ray(base.no_progress_seconds)
        opened = opened.on(Machines.now())
        results: list[Result] = []
        refused: UsageError | None = None
        for variant, config in configs:
            for number in range(seeds):
                seeded = config.model_copy(update={"seed": base.seed + number})
                try:
                    results.append(_run(opened, variant, seeded, probe, note))
                except UsageError as error:
                    if not leave_out:
                        raise
                    refused = error
                    note(f"left out: {variant.name}, seed {seeded.seed}: {error}")
        if refused and not results:
            raise refused
        return results


def _run(opened: Run, variant: Variant, config: RunConfig, probe: bool, note: Callable[[str], None]) -> Result:
    from datus2_ray.commands.summary import summarise
    from datus2_ray.engine.execute import execute
    from datus2_ray.stages import PROBED_RUN, RUN

    note(f"{variant.name}, seed {config.seed}")
    listing, stages = _listing(opened, config), PROBED_RUN if probe else RUN
    plan_stages(config, stages, listing, opened.machines)
    configured = opened.configured(config, listing)
    following = follow(configured, f"{variant.name}, seed {config.seed}")
    run, left_out = execute(configured, stages, following.after_stage)
    probed, summary = run.find(Probed), summarise(run, left_out)
    following.finish(run, summary)
    return Result(variant, config.seed, summary, probed.facts if probed else None)


def _listing(opened: Run, config: RunConfig) -> Listing:
    """Return the listing of a variant: the one that is there where it sees the same images."""
    same = ("source", "dataset", "split", "limit", "ingest")
    if all(getattr(config, name) == getattr(opened.config, name) for name in same):
        return opened.listing
    return list_shown(config)
