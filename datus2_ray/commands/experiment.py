"""An experiment: runs of several variants and seeds, which share every step that they have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from datus2_ray.commands.experiment_variants import EXPERIMENTS, Variant
from datus2_ray.commands.run import run
from datus2_ray.config.load import RunConfig
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.session import start_ray
from datus2_ray.errors import UsageError
from datus2_ray.sources.listing import list_source
from datus2_ray.store import storage

#: Settings by which steps before the clusters differ: runs that agree in them share a folder, and so these steps.
SHARED = ("source", "dataset", "split", "limit", "backbone", "device", "ingest", "discover")


@dataclass(frozen=True)
class Result:
    """What one variant gave with one seed.

    Parameters
    ----------
    variant : Variant
        The variant.
    seed : int
        The seed.
    summary : dict
        What the run's ``summary.json`` holds.
    """

    variant: Variant
    seed: int
    summary: dict[str, Any]

    @property
    def seconds_per_image(self) -> float:
        """Time that discover took for an image, its start included."""
        return float(self.summary["seconds"]["discover"] / self.summary["images"])

    @property
    def segments_per_image(self) -> float:
        """Mean number of segments."""
        return float(self.summary["segments"] / self.summary["images"])


def run_experiment(
    name: str, base: RunConfig, seeds: int, values: Sequence[float], tell: Callable[[str], None]
) -> list[Result]:
    """Run every variant of an experiment with every seed.

    Variants whose steps up to the segments agree run one after another in the same run folder, where these steps are
    done once; a result that an earlier call with the same settings left is taken as it is.

    Parameters
    ----------
    name : str
        A key of :data:`~datus2_ray.commands.experiment_variants.EXPERIMENTS`.
    base : RunConfig
        Settings that the variants start from; ``out`` is the experiment's folder, ``seed`` the first seed.
    seeds : int
        Number of seeds.
    values : sequence of float
        Points of a sweep; none for its own choice.
    tell : callable
        Told in a line which run comes next.

    Returns
    -------
    list of Result
        By variant, then by seed.

    Raises
    ------
    UsageError
        Unknown experiment; values that do not fit it; a source without ground truth.
    """
    if name not in EXPERIMENTS:
        raise UsageError(f"unknown experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    source = list_source(base, labelled=True)
    if not source.labelled:
        raise UsageError(f"{base.source} has no ground truth, and an experiment compares scores; name its --dataset")
    if base.discover.resolution == "auto" and name != "resolution":
        tell("the resolution that all variants share")
        base = _with_resolution(base)
    try:
        variants = EXPERIMENTS[name].variants(base, values, source)
        runs = [
            (variant, _placed(variant.apply(base), base.out, base.seed + number))
            for variant in variants
            for number in range(seeds)
        ]
    except (ValidationError, ValueError) as error:
        raise UsageError(f"{name}: these settings or values do not fit: {' '.join(str(error).split())}") from error
    results = {}
    # What shares a folder runs in succession: another run in between would do none of its steps again, but a resumed
    # experiment is easier to follow.
    for number in sorted(range(len(runs)), key=lambda number: _folder(runs[number][1])):
        variant, config = runs[number]
        kept = storage.join(base.out, "results", f"{_digest(config.model_dump(mode='json'))}.json")
        if not storage.exists(kept):
            tell(f"{variant.name}, seed {config.seed}")
            storage.write_json(kept, {"config": config.model_dump(mode="json"), "summary": run(config)})
        results[number] = Result(variant, config.seed, storage.read_json(kept)["summary"])
    return [results[number] for number in range(len(runs))]


def _with_resolution(base: RunConfig) -> RunConfig:
    """Find the resolution once: else a variant would differ in more than it names, and see other segments."""
    # Imported here: a wrong flag should be answered before Ray is loaded.
    from datus2_ray.stages.ingest.ingest import ingest
    from datus2_ray.stages.sample.sample import choose

    context = RunContext.open(base.model_copy(update={"out": storage.join(base.out, "resolution")}))
    start_ray(base.no_progress_seconds)
    images = ingest(context)
    context, _ = choose(context, images, base.clusters or len(images.facts["classes"]))
    return base.model_copy(update={"discover": context.config.discover})


def _placed(config: RunConfig, out: str, seed: int) -> RunConfig:
    """Give a run its seed, and the folder that it shares with those that see the same segments."""
    return config.model_copy(update={"seed": seed, "out": storage.join(out, "runs", _folder(config))})


def _folder(config: RunConfig) -> str:
    settings = config.model_dump(mode="json")
    return _digest({name: settings[name] for name in SHARED})


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
