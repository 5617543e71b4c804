"""Refine: images and masks to DeepLabV3, trained by Ray Train; the lowest held-out loss is kept.

It learns the masks of EM where there are some, else the initial ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from datus2_ray.core.quick_import import quick_import
from datus2_ray.engine.machines import Device
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Placement, Stage, Use, Whole
from datus2_ray.engine.training_workers import PAIRS_MEMORY, refine_workers
from datus2_ray.engine.uses import training_workers
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.facts import Discovered, Ingested, Labelled, LayerFitted, Refined

if TYPE_CHECKING:
    from datus2_ray.stages.refine.data import LayerMasks
    from datus2_ray.stages.refine.training import Training

HISTORY = "history.parquet"

#: Where steps take too long.
REMEDY = "give fewer workers (--set refine.workers=N) or a smaller refine.batch_size"


def _decides(run: Run, device: Device) -> dict[str, Any]:
    from datus2_ray.stages.refine.start import start_identity

    start = start_identity(run.config, device)
    return {**run.config.refine.identity(), **start, "k": run.required_k, "seed": run.config.seed}


def _compute(run: Run, placement: Placement, progress: Progress) -> Refined:
    """Train DeepLabV3.

    Raises
    ------
    UsageError
        If settings do not fit each other or the machines.
    BackboneError
        If the weights that it starts from cannot be loaded or do not fit.
    DatusError
        If the training failed, stalled or diverged.
    """
    from datus2_ray.engine.training.job import Job
    from datus2_ray.engine.training.run import plan_scaling, run_training
    from datus2_ray.stages.refine.start import write_start
    from datus2_ray.stages.refine.training import MODEL

    config = run.config.refine
    progress.total = config.steps
    start = placement.path("training", "start.safetensors")
    encoder = write_start(start, run.config, run.required_k, placement.device)
    training = plan_training(run, placement.device, start)
    # A training is repeatable for a fixed number of workers: another number does not go on from its checkpoints.
    name = f"{training.workers}-workers"
    scaling = plan_scaling(training.workers, placement.device)
    trained = run_training(
        Job("refine", train, training, config.steps, REMEDY, scaling, lowest="held_out_loss"),
        placement.path("training"),
        name,
        run.config.no_progress_seconds,
        lambda step: progress.reach(min(step, config.steps)),
    )
    kept = placement.path("training", name, trained.checkpoint, MODEL)
    storage.write_bytes(placement.path(MODEL), storage.read_bytes(kept))
    # Not a number between epochs, where the held-out loss was not computed: null.
    columns = {key: pa.array(values, from_pandas=True) for key, values in trained.history.items()}
    parquet.write_table(placement.path(HISTORY), pa.table(columns).cast(schemas.TRAINING_HISTORY))
    # Optimiser states of three times the model's size, of no use from here on.
    storage.remove(placement.path("training"))
    return Refined(
        **encoder,
        loss=config.loss,
        size=config.size,
        clusters=run.required_k,
        workers=training.workers,
        batch_size=training.batch_size * training.workers,
        steps=config.steps,
        epochs=-(-config.steps // training.epoch_steps),
        best_epoch=trained.metrics["epoch"],
        best_step=trained.metrics["step"],
        best_loss=trained.metrics["held_out_loss"],
        checkpoint=MODEL,
        targets=Labelled.stage if training.layer is None else LayerFitted.stage,
    )


def train(config: dict[str, Any]) -> Any:
    """Run the training loop, as one of the workers."""
    with quick_import():
        from datus2_ray.stages.refine import worker

    return worker.train(config)


def plan_training(run: Run, device: Device, start: str) -> Training:
    """Decide what is trained, on which images, and with how many workers; `start` is the URI of the first weights.

    Raises
    ------
    UsageError
        If settings do not fit each other or the machines.
    """
    from datus2_ray.config.base import choose_arithmetic
    from datus2_ray.engine.training.shares import image_ids, split_images
    from datus2_ray.stages.refine.training import Training

    config, masks = run.config.refine, run.commit(Labelled)
    workers = refine_workers(config, masks.rows_out, run.machines, device)
    batch_size = config.batch_size // workers
    # One pass over the images, but 5 to 10 epochs in all: a checkpoint is neither far away nor most of the work.
    one_pass = int(masks.rows_out * (1 - config.held_out)) // (batch_size * workers)
    epoch_steps = min(max(one_pass, -(-config.steps // 10)), -(-config.steps // 5))
    # Validation takes a third of a step's time per image; beyond this bound it would rival the training.
    held_out = max(1, min(round(masks.rows_out * config.held_out), epoch_steps * batch_size * workers // 2))
    parts = sorted(masks.parts)
    ids = image_ids(masks.uri, parts)
    return Training(
        config=config,
        seed=run.config.seed,
        images=ImagesTable.of(run.commit(Ingested)),
        masks=masks.uri,
        start=start,
        parts=tuple(parts),
        split=split_images(ids, run.config.seed, workers, held_out),
        workers=workers,
        threads=run.machines.threads(workers),
        epoch_steps=epoch_steps,
        dtype=choose_arithmetic(config.dtype, device),
        layer=layer_masks(run),
    )


def layer_masks(run: Run) -> LayerMasks | None:
    """Return what makes the masks of EM; None where the initial masks are learned."""
    from datus2_ray.stages.refine.data import LayerMasks

    if (fitted := run.find(LayerFitted)) is None:
        return None
    return LayerMasks(run.commit(Discovered).uri, storage.read_bytes(fitted.path(fitted.facts.model)))


def _left_out(prospect: Prospect) -> str | None:
    if prospect.unrefined is None and prospect.config.refine.network == "linear":
        return "the layer of em labels the images (refine.network = linear)"
    return prospect.unrefined


def _uses(prospect: Prospect) -> list[Use]:
    config = prospect.config.refine
    workers = refine_workers(config, prospect.images, prospect.machines, prospect.device)
    kept = min(PAIRS_MEMORY, 4 * config.size**2 * prospect.images // workers)
    return [training_workers(workers, prospect.device, kept)]


REFINE = Stage(
    facts=Refined,
    title="Train DeepLabV3 on the masks of em, or on the initial masks",
    writes={"model.safetensors": "the segmenter", HISTORY: "loss of every step, held-out loss of every epoch"},
    version=3,
    reads=(Ingested, Labelled),
    may_read=(Discovered, LayerFitted),
    decides=_decides,
    computes=True,
    left_out=_left_out,
    uses=_uses,
    work=Whole(compute=_compute, unit="steps"),
)
