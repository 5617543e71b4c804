"""Refine: images + initial masks → a segmenter, trained by Ray Train; the one with the lowest held-out loss is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
from ray.train import ScalingConfig

from datus2_ray.config.stages import choose_arithmetic
from datus2_ray.engine.begun_device import choose_begun_device
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.machines import Cluster, Device
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.training.run import Job, plan_scaling, run_training
from datus2_ray.engine.training.shares import image_ids, split_images
from datus2_ray.engine.training_workers import refine_workers
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.stages.refine.start import backbone_of, start_fingerprint, start_identity, write_start
from datus2_ray.stages.refine.training import MODEL, Training
from datus2_ray.store import schemas, storage
from datus2_ray.store.run_folder import Commit, fingerprint

VERSION = 1

HISTORY = "history.parquet"


def refine(context: RunContext, clusters: int, input_fingerprint: str) -> Commit:
    """Train a segmenter on the initial masks.

    Parameters
    ----------
    context : RunContext
        The run; its images and initial masks are finished.
    clusters : int
        Number of clusters K.
    input_fingerprint : str
        Fingerprint of the initial masks.

    Returns
    -------
    Commit
        Of ``refine/``, which holds ``model.safetensors`` and ``history.parquet``. Its facts say what was trained, and
        which checkpoint is kept; or, under ``skipped``, why nothing was trained.

    Raises
    ------
    UsageError
        Settings that do not fit each other or the cluster.
    BackboneError
        The weights that it starts from, or reads tokens of, cannot be had or do not fit.
    DatusError
        The training failed, stalled or diverged.
    """
    config, folder = context.config.refine, context.folder
    weights = start_fingerprint(context.config)

    def stamp_on(device: Device) -> str:
        start = start_identity(context.config, device, weights)
        identity = {**config.identity(), **start, "clusters": clusters, "seed": context.config.seed, "device": device}
        del identity["mirror"]  # decides the prediction alone
        return fingerprint("refine", VERSION, identity, [input_fingerprint])

    device = choose_begun_device(context, Cluster.now(), "refine", stamp_on)
    stamp = stamp_on(device)
    progress = Progress("refine", config.steps, "steps")
    done = folder.commit_of("refine")
    if done is not None and done.fingerprint == stamp:
        progress.skip(f"{done.facts.get('skipped') or str(done.facts['steps']) + ' steps'}, done before")
        return done
    folder.begin("refine", stamp)
    masks = folder.require("masks/initial")
    if masks.rows_out < config.min_images:
        reason = f"{masks.rows_out} images with masks, under refine.min_images = {config.min_images}"
        progress.skip(f"skipped: {reason}")
        return _finish(context, stamp, masks.rows_out, {"skipped": reason})

    training, scaling = plan_training(context, masks, device)
    name = f"{stamp[:16]}-{training.workers}"
    start = folder.path("refine", name, "start.safetensors")
    network = write_start(start, context.config, clusters, device)
    context.events.write("begin", stage="refine", steps=config.steps, workers=training.workers)
    trained = run_training(
        Job("refine", train, replace(training, start=start), config.steps, scaling, lowest="held_out_loss"),
        folder.path("refine"),
        name,
        context.config.no_progress_seconds,
        lambda step: progress.advance(max(0, step - progress.done)),
    )
    storage.write_bytes(
        folder.path("refine", MODEL), storage.read_bytes(folder.path("refine", name, trained.checkpoint, MODEL))
    )
    # Not a number between epochs, where nothing was held against the loss: null.
    columns = {name: pa.array(values, from_pandas=True) for name, values in trained.history.items()}
    storage.write_table(folder.path("refine", HISTORY), pa.table(columns).cast(schemas.TRAINING_HISTORY))
    facts = {
        **network,
        "loss": config.loss,
        "size": config.size,
        "clusters": clusters,
        "workers": training.workers,
        "batch_size": training.batch_size * training.workers,
        "steps": config.steps,
        "epochs": -(-config.steps // training.epoch_steps),
        "best_epoch": trained.metrics["epoch"],
        "best_step": trained.metrics["step"],
        "best_loss": trained.metrics["held_out_loss"],
        "checkpoint": MODEL,
    }
    commit = _finish(context, stamp, masks.rows_out, facts)
    # Optimiser states of three times the model's size, of use to nobody now.
    storage.remove(folder.path("refine", name))
    context.end("refine", progress.finish(), steps=config.steps)
    return commit


def train(config: dict[str, Any]) -> Any:
    """Run the training loop, as one of the workers."""
    from datus2_ray.stages.refine import worker

    return worker.train(config)


def plan_training(context: RunContext, masks: Commit, device: Device) -> tuple[Training, ScalingConfig]:
    """Decide what is trained, on which images, and with how many workers of the cluster.

    Raises
    ------
    UsageError
        If settings do not fit each other or the cluster.
    """
    config = context.config.refine
    cluster = Cluster.now()
    workers = refine_workers(config, masks.rows_out, cluster, device)
    batch_size = config.batch_size // workers
    images = masks.rows_out
    # One pass over the images, but 5 to 10 epochs in all: a checkpoint is neither far away nor most of the work.
    one_pass = int(images * (1 - config.held_out)) // (batch_size * workers)
    epoch_steps = min(max(one_pass, -(-config.steps // 10)), -(-config.steps // 5))
    # Validation takes a third of a step's time per image; beyond this bound it would rival the training.
    held_out = max(1, min(round(images * config.held_out), epoch_steps * batch_size * workers // 2))
    parts = sorted(masks.parts)
    ids = image_ids(context.folder.path("masks/initial"), parts)
    training = Training(
        config=config,
        seed=context.config.seed,
        images=ImagesTable.of(context.folder),
        masks=context.folder.path("masks/initial"),
        start="",
        parts=tuple(parts),
        split=split_images(ids, context.config.seed, workers, held_out),
        workers=workers,
        threads=max(1, cluster.cpus // workers),
        epoch_steps=epoch_steps,
        dtype=choose_arithmetic(config.dtype, device),
        backbone=backbone_of(context.config),
    )
    return training, plan_scaling(workers, device)


def _finish(context: RunContext, stamp: str, images: int, facts: dict[str, object]) -> Commit:
    commit = Commit(stamp, images, images, 0, {}, facts)
    context.folder.finish("refine", commit)
    return commit
