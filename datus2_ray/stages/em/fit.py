"""Fit a layer to the tokens of segments, whose classes are their clusters or what they are named."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pyarrow as pa

from datus2_ray.core.names.names import Names
from datus2_ray.core.refine.em import Recipe
from datus2_ray.core.refine.token_groups import GROUPS
from datus2_ray.core.refine.token_layer import TokenLayerSpec
from datus2_ray.engine import training_workers
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Placement
from datus2_ray.engine.training.shares import split_images
from datus2_ray.engine.training.tokens import MODEL, describe_tokens, fit_to_tokens, sample_images
from datus2_ray.stages.em.tokens import SegmentTokens
from datus2_ray.stages.em.worker import Plan, fit_layer
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.facts import Discovered, Labelled


def fit_segments(
    run: Run,
    placement: Placement,
    progress: Progress,
    stage: str,
    classes: int,
    recipe: Recipe,
    names: Names | None = None,
) -> dict[str, Any]:
    """Fit a layer, write it with its history to the folder of a stage, and return the facts.

    Parameters
    ----------
    classes : int
        Number of classes.
    names : Names, optional
        The classes of segments, of which those without one teach nothing before they vote; without, they are clusters.

    Raises
    ------
    DatusError
        If the machines have no room for the workers, or one failed or stalled.
    """
    config, masks = run.config, run.commit(Labelled)
    tokens = run.commit(Discovered)
    sample = sample_images(tokens, masks, config.seed)
    progress.total = sample.tokens
    split = split_images(sample.ids, config.seed, GROUPS, 0)
    segments = SegmentTokens(tokens.uri, masks.uri, sample.parts, split, sample.below, sample.dim, names)
    spec = TokenLayerSpec(sample.dim, classes, describe_tokens(run))
    workers = training_workers.token_workers(config.refine, run.machines, placement.device)
    threads = run.machines.threads(workers)
    plan = Plan(segments, spec, config.seed, recipe, workers, threads, placement.device)
    steps = recipe.rounds * recipe.steps
    fitted = fit_to_tokens(run, placement, progress, stage, plan, steps, fit_layer)
    losses = fitted["losses"]
    progress.total = fitted["tokens"]
    storage.write_bytes(placement.path(MODEL), fitted["model"])
    parquet.write_table(placement.path("history.parquet"), _history(losses, fitted["agreements"]))
    return {
        "dim": spec.dim,
        "backbone": spec.reads["backbone"],
        "images": len(sample.ids),
        "share": sample.share,
        "tokens": fitted["tokens"],
        "workers": workers,
        "steps": sum(map(len, losses)),
        "agreements": tuple(fitted["agreements"]),
        "loss": sum(losses[-1]) / len(losses[-1]),
        "model": MODEL,
    }


def _history(losses: list[list[float]], agreements: list[float]) -> pa.Table:
    ends = dict(zip(accumulate(map(len, losses)), agreements, strict=True))
    rows = [(number, loss) for number, of_round in enumerate(losses) for loss in of_round]
    columns = {
        "step": range(1, len(rows) + 1),
        "round": [number + 1 for number, _ in rows],
        "loss": [loss for _, loss in rows],
        "agreement": [ends.get(step) for step in range(1, len(rows) + 1)],
    }
    return pa.table(columns, schema=schemas.EM_HISTORY)
