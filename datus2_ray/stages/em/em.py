"""EM: a layer learns the clusters of the segments from tokens, every segment takes the class it is given, and again.

The tokens lie in the table of discover: no image goes through the backbone again.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import accumulate
from typing import Any

import pyarrow as pa

from datus2_ray.engine import training_workers
from datus2_ray.engine.machines import Device
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Placement, Stage, Whole
from datus2_ray.engine.uses import token_fit
from datus2_ray.store import schemas, storage
from datus2_ray.store.facts import Discovered, Labelled, LayerFitted

HISTORY = "history.parquet"


def _compute(run: Run, placement: Placement, progress: Progress) -> LayerFitted:
    """Fit a layer to the segments.

    Raises
    ------
    DatusError
        If the machines have no room for the workers, or one failed or stalled.
    """
    from datus2_ray.core.refine.em import GROUPS, Recipe
    from datus2_ray.core.refine.token_layer import TokenLayerSpec
    from datus2_ray.engine.training.shares import split_images
    from datus2_ray.engine.training.tokens import MODEL, describe_tokens, fit_to_tokens, sample_images
    from datus2_ray.stages.em.tokens import SegmentTokens
    from datus2_ray.stages.em.worker import Plan, fit_alone, fit_together

    config, masks, recipe = run.config, run.commit(Labelled), Recipe()
    tokens = run.commit(Discovered)
    sample = sample_images(tokens, masks, config.seed)
    progress.total = sample.tokens
    split = split_images(sample.ids, config.seed, GROUPS, 0)
    segments = SegmentTokens(tokens.uri, masks.uri, sample.parts, split, sample.below, sample.dim)
    spec = TokenLayerSpec(sample.dim, run.required_k, describe_tokens(run))
    workers = training_workers.token_workers(config.refine, run.machines, placement.device)
    threads = max(1, run.machines.cpus // workers)
    plan = Plan(segments, spec, config.seed, recipe, workers, threads, placement.device)
    steps = recipe.rounds * recipe.steps
    fitted = fit_to_tokens(run, placement, progress, "em", plan, steps, fit_alone, fit_together)
    losses = fitted["losses"]
    progress.total = fitted["tokens"]
    storage.write_bytes(placement.path(MODEL), fitted["model"])
    storage.write_table(placement.path(HISTORY), _history(losses, fitted["agreements"]))
    return LayerFitted(
        clusters=run.required_k,
        dim=spec.dim,
        backbone=spec.reads["backbone"],
        images=len(sample.ids),
        share=sample.share,
        tokens=fitted["tokens"],
        workers=workers,
        steps=sum(map(len, losses)),
        agreements=tuple(fitted["agreements"]),
        loss=sum(losses[-1]) / len(losses[-1]),
        model=MODEL,
    )


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


def _decides(run: Run, device: Device) -> dict[str, Any]:
    from datus2_ray.core.refine.em import GROUPS, Recipe  # imports torch, which takes seconds

    recipe = asdict(Recipe())
    return {
        **recipe,
        "groups": GROUPS,
        "memory": training_workers.TOKEN_MEMORY,
        "k": run.required_k,
        "seed": run.config.seed,
    }


def _left_out(prospect: Prospect) -> str | None:
    if prospect.unrefined is None and not prospect.config.refine.em:
        return "switched off (refine.em)"
    return prospect.unrefined


EM = Stage(
    facts=LayerFitted,
    title="Fit a layer on tokens to the segments, which vote",
    writes={
        "model.safetensors": "the layer",
        HISTORY: "loss of every step, share of the tokens that kept their class in every round",
    },
    version=1,
    reads=(Discovered, Labelled),
    decides=_decides,
    computes=True,
    left_out=_left_out,
    uses=lambda prospect: [token_fit(prospect)],
    work=Whole(compute=_compute, unit="tokens"),
)
