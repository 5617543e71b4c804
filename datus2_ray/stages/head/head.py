"""Head: a small network learns, from the tokens of all images and without labels, codes that tell apart what they hold.

The tokens lie in the table of discover: no image goes through the backbone again.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pyarrow as pa

from datus2_ray.engine import training_workers
from datus2_ray.engine.machines import Device
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Placement, Stage, Whole
from datus2_ray.engine.uses import token_fit
from datus2_ray.errors import DatusError
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.facts import Discovered, HeadLearned

HISTORY = "history.parquet"


def _compute(run: Run, placement: Placement, progress: Progress) -> HeadLearned:
    """Learn a head.

    Raises
    ------
    DatusError
        If there is one image, the machines have no room for the workers, or one failed or stalled.
    """
    from datus2_ray.core.head.network import HeadSpec
    from datus2_ray.core.head.recipes import find_recipe
    from datus2_ray.engine.training.tokens import MODEL, describe_tokens, fit_to_tokens, sample_images
    from datus2_ray.stages.head.worker import Plan, TokenImages, learn_head

    config, discovered, recipe = run.config, run.commit(Discovered), find_recipe(run.config.cluster.descriptors)
    sample = sample_images(discovered, discovered, config.seed)
    if len(sample.ids) < 2:
        raise DatusError("head: it is learned from pairs of images, and there is one; set cluster.descriptors=tokens")
    progress.total = sample.tokens
    images = TokenImages(discovered.uri, sample.parts, sample.ids)
    spec = HeadSpec(sample.dim, recipe.codes, describe_tokens(run))
    workers = training_workers.token_workers(config.refine, run.machines, placement.device)
    threads = run.machines.threads(workers)
    plan = Plan(images, spec, config.seed, recipe, workers, threads, placement.device)
    learned = fit_to_tokens(run, placement, progress, "head", plan, recipe.steps, learn_head)
    progress.total = learned["tokens"]
    storage.write_bytes(placement.path(MODEL), learned["model"])
    parquet.write_table(placement.path(HISTORY), _history(learned["losses"]))
    return HeadLearned(
        dim=spec.dim,
        codes=spec.codes,
        backbone=spec.reads["backbone"],
        images=len(sample.ids),
        share=sample.share,
        tokens=learned["tokens"],
        workers=workers,
        steps=len(learned["losses"]),
        shifts=tuple(learned["shifts"]),
        model=MODEL,
    )


def _history(losses: list[list[float]]) -> pa.Table:
    columns = [range(1, len(losses) + 1), *zip(*losses, strict=True)]
    return pa.table(dict(zip(schemas.HEAD_HISTORY.names, columns, strict=True)), schema=schemas.HEAD_HISTORY)


def _decides(run: Run, device: Device) -> dict[str, Any]:
    from datus2_ray.core.head.fit import SHARES  # imports torch, which takes seconds
    from datus2_ray.core.head.recipes import find_recipe

    recipe = asdict(find_recipe(run.config.cluster.descriptors))
    return {
        **recipe,
        "shares": SHARES,
        "memory": training_workers.TOKEN_MEMORY,
        "seed": run.config.seed,
    }


def left_out(prospect: Prospect) -> str | None:
    """Return why segments are not described by a head; None where they are."""
    return None if prospect.config.cluster.uses_head else "segments are described by tokens (cluster.descriptors)"


HEAD = Stage(
    facts=HeadLearned,
    title="Learn codes of tokens without labels",
    writes={"model.safetensors": "the head", HISTORY: "losses of every step"},
    version=1,
    reads=(Discovered,),
    decides=_decides,
    computes=True,
    left_out=left_out,
    uses=lambda prospect: [token_fit(prospect)],
    work=Whole(compute=_compute, unit="tokens"),
)
