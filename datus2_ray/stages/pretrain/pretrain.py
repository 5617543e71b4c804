"""Pretrain: images → a backbone, trained without a label by Ray Train; the last checkpoint's teacher is kept."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from datus2_ray.config.stages import choose_arithmetic
from datus2_ray.core.backbone.spec import describe_weights, parse_spec
from datus2_ray.core.backbone.spec import fingerprint as weights_fingerprint
from datus2_ray.core.pretrain.model import build_start, config_json
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.machines import Cluster, choose_device
from datus2_ray.engine.once import run_once
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.training.run import Job, plan_scaling, run_training
from datus2_ray.engine.training.shares import image_ids, split_images
from datus2_ray.engine.training_workers import pretrain_split, pretrain_workers
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.stages.pretrain.training import MODEL, Pretrain
from datus2_ray.store import schemas, storage
from datus2_ray.store.run_folder import Commit, fingerprint
from datus2_ray.store.weights_cache import local_spec

VERSION = 2

CONFIG = "backbone.json"
HISTORY = "history.parquet"


def pretrain(context: RunContext, images: Commit) -> Commit:
    """Train a backbone on the images of a run, which ingest committed.

    Returns
    -------
    Commit
        Of ``pretrain/``, which holds ``backbone.safetensors``, ``backbone.json``, ``history.parquet`` and
        ``tensorboard/``. Its facts say what was trained, and how it scores without labels.

    Raises
    ------
    UsageError
        If settings do not fit each other, the cluster or the number of images.
    BackboneError
        If the backbone to go on from cannot be loaded or cannot be trained.
    DatusError
        If the training failed, stalled, diverged or collapsed.
    """
    # First, so that what is refused leaves an earlier result as it is.
    plan = plan_pretraining(context, images)
    config, backbone = plan.config, plan.start
    device = choose_device(Cluster.now(), context.config.device)
    backbone = backbone and local_spec(backbone)
    start = build_start(config, backbone)
    beside = config_json(config, start)
    identity = {
        **config.identity(),
        "dtype": plan.dtype,
        "held": plan.held,
        "seed": context.config.seed,
        "start": backbone and weights_fingerprint(backbone),
    }
    stamp = fingerprint("pretrain", VERSION, identity, [images.fingerprint])
    folder = context.folder

    def work(progress: Progress) -> dict[str, Any]:
        progress.total = config.steps
        trained = run_training(
            Job("pretrain", train, plan, config.steps, plan_scaling(plan.workers, device), lowest=None),
            folder.path("pretrain"),
            stamp[:16],
            context.config.no_progress_seconds,
            lambda step: progress.advance(max(0, min(step, config.steps - 1) - progress.done)),
        )
        checkpoint = folder.path("pretrain", stamp[:16], trained.checkpoint)
        storage.write_bytes(folder.path("pretrain", MODEL), storage.read_bytes(storage.join(checkpoint, MODEL)))
        storage.write_bytes(folder.path("pretrain", CONFIG), beside)
        columns = {name: trained.history[name] for name in schemas.PRETRAINING_HISTORY.names}
        history = pa.table(columns).cast(schemas.PRETRAINING_HISTORY)
        storage.write_table(folder.path("pretrain", HISTORY), history)
        last = history.slice(history.num_rows - 1).to_pylist()[0]
        return {
            "start": describe_weights(parse_spec(backbone)) if backbone else None,
            "parameters": sum(parameter.numel() for parameter in start.vit.parameters()),
            "images": images.rows_out,
            "crops": config.steps * config.batch_size * (2 + config.local_views),
            "workers": plan.workers,
            "dtype": plan.dtype,
            "loss": last["loss"],
            "effective_rank": last["effective_rank"],
        }

    commit = run_once(context, "pretrain", "pretrain", stamp, "steps", work)
    storage.remove(folder.path("pretrain", stamp[:16]))  # optimiser states, of use to nobody now
    return commit


def train(config: dict[str, Any]) -> Any:
    """Run the training loop, as one of the workers."""
    from datus2_ray.stages.pretrain import worker

    return worker.train(config)


def plan_pretraining(context: RunContext, images: Commit) -> Pretrain:
    """Decide what is trained, on which images, and with how many workers of the cluster.

    Raises
    ------
    UsageError
        If settings do not fit each other, the cluster or the number of images.
    """
    config = context.config.pretrain.resolve_objective(from_scratch=context.config.backbone is None)
    cluster = Cluster.now()
    device = choose_device(cluster, context.config.device)
    workers = pretrain_workers(config, cluster, device)
    trained_on, held_out = pretrain_split(config, images.rows_out)
    parts = sorted(images.parts)
    lanes = split_images(
        image_ids(context.folder.path("images"), parts), context.config.seed, config.batch_size, held_out
    )
    share_bytes = 3 * config.image_size**2 * trained_on / workers
    return Pretrain(
        config=config,
        seed=context.config.seed,
        start=context.config.backbone,
        images=ImagesTable.of(context.folder),
        parts=tuple(parts),
        lanes=lanes,
        held=share_bytes <= config.memory * 1e9,
        workers=workers,
        threads=max(1, cluster.cpus // workers),
        dtype=choose_arithmetic(config.dtype, device),
        scalars=context.folder.path("pretrain", "tensorboard"),
    )
