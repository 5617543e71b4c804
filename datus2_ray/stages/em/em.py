"""EM: a layer learns the clusters of the segments from tokens, every segment takes the class it is given, and again.

The tokens lie in the table of discover: no image goes through the backbone again.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import accumulate
from typing import Any

import pyarrow as pa

from datus2_ray.engine.machines import Device
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Placement, Stage, Use, Whole
from datus2_ray.engine.training_workers import em_workers
from datus2_ray.engine.uses import training_workers
from datus2_ray.store import schemas, storage
from datus2_ray.store.facts import Discovered, Labelled, LayerFitted
from datus2_ray.store.weights_cache import local_spec

HISTORY = "history.parquet"

#: Bytes of tokens that the layer is fitted to, over all workers: 3,500 images of 784 tokens of 384 numbers. Of more
#: images a sample is taken.
TOKEN_MEMORY = 2**31

#: Bytes of an image's tokens where they are not there yet, for the plan: 784 of 384 numbers.
IMAGE_BYTES = 2 * 784 * 384


def _compute(run: Run, placement: Placement, progress: Progress) -> LayerFitted:
    """Fit a layer to the segments.

    Raises
    ------
    DatusError
        If the machines have no room for the workers, or one failed or stalled.
    """
    from datus2_ray.core.backbone.spec import fingerprint
    from datus2_ray.core.refine.em import Recipe
    from datus2_ray.core.refine.token_layer import TokenLayerSpec
    from datus2_ray.stages.em.worker import MODEL, Plan

    config, masks, recipe = run.config, run.commit(Labelled), Recipe()
    backbone = fingerprint(local_spec(run.backbone))
    segments, share, tokens = _choose_images(run)
    progress.total = tokens
    spec = TokenLayerSpec(_token_length(run), run.required_k, {"backbone": backbone, **_views(run)})
    workers = em_workers(config.refine, run.machines, placement.device)
    threads = max(1, run.machines.cpus // workers)
    plan = Plan(segments, spec, config.seed, recipe, workers, threads, placement.device)
    fitted = _fit(run, placement, plan, progress)
    losses = fitted["losses"]
    progress.total = fitted["tokens"]
    storage.write_bytes(placement.path(MODEL), fitted["model"])
    storage.write_table(placement.path(HISTORY), _history(losses, fitted["agreements"]))
    return LayerFitted(
        clusters=run.required_k,
        dim=spec.dim,
        backbone=backbone,
        images=round(share * masks.rows_out),
        share=share,
        tokens=fitted["tokens"],
        workers=workers,
        steps=sum(map(len, losses)),
        agreements=tuple(fitted["agreements"]),
        loss=sum(losses[-1]) / len(losses[-1]),
        model=MODEL,
    )


def _fit(run: Run, placement: Placement, plan: Any, progress: Progress) -> dict[str, Any]:
    """Fit on the device, in one process or under Ray Train, and return the layer's file and the history."""
    from datus2_ray.engine.training import run as training
    from datus2_ray.stages.em.worker import MODEL, fit_alone, fit_together

    patience, scaling, folder = run.config.no_progress_seconds, None, placement.path("training")
    if plan.workers > 1:
        scaling = training.plan_scaling(plan.workers, placement.device)
        # Nothing to go on from: it takes seconds.
        storage.remove(folder)
    steps = plan.recipe.rounds * plan.recipe.steps
    loop = fit_together if scaling else fit_alone
    job = training.Job("em", loop, plan, steps, "give fewer workers (--set refine.workers=N)", scaling, lowest=None)

    def show(step: int) -> None:
        progress.advance(0, note=f"step {step}")

    if scaling is None:
        return training.run_alone(job, placement.device, patience, show)
    trained = training.run_training(job, folder, "em", patience, show)
    model = storage.read_bytes(storage.join(folder, "em", trained.checkpoint, MODEL))
    storage.remove(folder)
    return {"model": model, **trained.history}


def _choose_images(run: Run) -> tuple[Any, float, int]:
    """Return which images the layer is fitted to, and where their tokens lie; their share, and their tokens."""
    from datus2_ray.core.refine.em import GROUPS
    from datus2_ray.engine.clustering.rows import count_vectors
    from datus2_ray.engine.training.shares import hash_id, image_ids, split_images
    from datus2_ray.stages.em.tokens import SegmentTokens

    tokens, masks, seed = run.commit(Discovered), run.commit(Labelled), run.config.seed
    parts = tuple(sorted(masks.parts))
    ids = sorted(image_ids(masks.uri, parts), key=lambda image_id: (hash_id(seed, image_id), image_id))
    total, dim = sum(count_vectors(tokens.uri, "patch_map", list(parts)).values()), _token_length(run)
    count = max(1, min(len(ids), len(ids) * TOKEN_MEMORY // (2 * dim * max(1, total))))
    below = hash_id(seed, ids[count]) if count < len(ids) else 2**64
    split = split_images(ids[:count], seed, GROUPS, 0)
    return SegmentTokens(tokens.uri, masks.uri, parts, split, below, dim), count / len(ids), total * count // len(ids)


def _token_length(run: Run) -> int:
    tokens = run.commit(Discovered)
    column = storage.parquet_schema(tokens.path(min(tokens.parts))).field("tokens")
    length: int = column.type.value_type.list_size
    return length


def _views(run: Run) -> dict[str, Any]:
    """Return which tokens the layer reads, for the header of its file."""
    from datus2_ray.engine.operators.decides import input_side

    config = run.config.discover
    names = ("keep_aspect", "tile", "mirror", "block", "blocks")
    return {"input_size": input_side(run), **{name: getattr(config, name) for name in names}}


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
    return {**recipe, "groups": GROUPS, "memory": TOKEN_MEMORY, "k": run.required_k, "seed": run.config.seed}


def _left_out(prospect: Prospect) -> str | None:
    if prospect.unrefined is None and not prospect.config.refine.em:
        return "switched off (refine.em)"
    return prospect.unrefined


def _uses(prospect: Prospect) -> list[Use]:
    workers = em_workers(prospect.config.refine, prospect.machines, prospect.device)
    held = min(TOKEN_MEMORY, IMAGE_BYTES * prospect.images)
    # As much again while they are put in order.
    return [training_workers(workers, prospect.device, 2 * held // workers)]


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
    uses=_uses,
    work=Whole(compute=_compute, unit="tokens"),
)
