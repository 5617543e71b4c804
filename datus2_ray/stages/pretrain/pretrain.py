"""Pretrain: images to a backbone, trained without a label by Ray Train; the last checkpoint's teacher is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from datus2_ray.core.quick_import import quick_import
from datus2_ray.engine.machines import Device
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Placement, Stage, Use, Whole
from datus2_ray.engine.training_workers import pretrain_split, pretrain_workers
from datus2_ray.engine.uses import training_workers
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.facts import Ingested, Pretrained
from datus2_ray.store.weights_cache import local_spec

if TYPE_CHECKING:
    from datus2_ray.stages.pretrain.training import Pretrain

CONFIG = "backbone.json"
HISTORY = "history.parquet"

#: Where steps take too long.
REMEDY = "give fewer workers (--set pretrain.workers=N) or a smaller pretrain.batch_size"


def _decides(run: Run, device: Device) -> dict[str, Any]:
    from datus2_ray.core.backbone.spec import fingerprint

    plan = plan_pretraining(run, device, scalars="")
    start = run.config.backbone
    return {
        **plan.config.identity(),
        "dtype": plan.dtype,
        "held": plan.held,
        "seed": run.config.seed,
        "start": start and fingerprint(local_spec(start)),
    }


def _compute(run: Run, placement: Placement, progress: Progress) -> Pretrained:
    """Train a backbone on the images of a run.

    Raises
    ------
    UsageError
        If settings do not fit each other, the machines or the number of images.
    BackboneError
        If the backbone to start from cannot be loaded or cannot be trained.
    DatusError
        If the training failed, stalled, diverged or collapsed.
    """
    from datus2_ray.core.backbone.spec import describe_weights, parse_spec
    from datus2_ray.core.pretrain.model import build_start, config_json
    from datus2_ray.engine.training.job import Job
    from datus2_ray.engine.training.run import plan_scaling, run_training
    from datus2_ray.stages.pretrain.training import MODEL

    plan = plan_pretraining(run, placement.device, placement.path("tensorboard"))
    config, backbone = plan.config, plan.start
    start = build_start(config, backbone and local_spec(backbone))
    progress.total = config.steps
    trained = run_training(
        Job("pretrain", train, plan, config.steps, REMEDY, plan_scaling(plan.workers, placement.device), lowest=None),
        placement.path("training"),
        "checkpoints",
        run.config.no_progress_seconds,
        lambda step: progress.reach(min(step, config.steps)),
    )
    kept = placement.path("training", "checkpoints", trained.checkpoint, MODEL)
    storage.write_bytes(placement.path(MODEL), storage.read_bytes(kept))
    storage.write_bytes(placement.path(CONFIG), config_json(config, start))
    columns = {column: trained.history[column] for column in schemas.PRETRAINING_HISTORY.names}
    history = pa.table(columns).cast(schemas.PRETRAINING_HISTORY)
    parquet.write_table(placement.path(HISTORY), history)
    storage.remove(placement.path("training"))  # optimiser states, of no use from here on
    last = history.slice(history.num_rows - 1).to_pylist()[0]
    return Pretrained(
        start=describe_weights(parse_spec(local_spec(backbone))) if backbone else None,
        parameters=sum(parameter.numel() for parameter in start.vit.parameters()),
        images=run.commit(Ingested).rows_out,
        crops=config.steps * config.batch_size * (2 + config.local_views),
        workers=plan.workers,
        dtype=plan.dtype,
        loss=last["loss"],
        effective_rank=last["effective_rank"],
    )


def train(config: dict[str, Any]) -> Any:
    """Run the training loop, as one of the workers."""
    with quick_import():
        from datus2_ray.stages.pretrain import worker

    return worker.train(config)


def plan_pretraining(run: Run, device: Device, scalars: str) -> Pretrain:
    """Decide what is trained, on which images, and with how many workers; `scalars` is the folder for TensorBoard.

    Raises
    ------
    UsageError
        If settings do not fit each other, the machines or the number of images.
    """
    from datus2_ray.config.base import choose_arithmetic
    from datus2_ray.engine.training.shares import image_ids, split_images
    from datus2_ray.stages.pretrain.training import Pretrain

    images = run.commit(Ingested)
    config = run.config.pretrain.resolve_objective(from_scratch=run.config.backbone is None)
    workers = pretrain_workers(config, run.machines, device)
    trained_on, held_out = pretrain_split(config, images.rows_out)
    parts = sorted(images.parts)
    lanes = split_images(image_ids(images.uri, parts), run.config.seed, config.batch_size, held_out)
    share_bytes = 3 * config.image_size**2 * trained_on / workers
    return Pretrain(
        config=config,
        seed=run.config.seed,
        start=run.config.backbone,
        images=ImagesTable.of(images),
        parts=tuple(parts),
        lanes=lanes,
        held=share_bytes <= config.memory * 1e9,
        workers=workers,
        threads=run.machines.threads(workers),
        dtype=choose_arithmetic(config.dtype, device),
        scalars=scalars,
    )


def _uses(prospect: Prospect) -> list[Use]:
    config = prospect.config.pretrain
    workers = pretrain_workers(config, prospect.machines, prospect.device)
    trained_on, _ = pretrain_split(config, prospect.images)
    kept = min(3 * config.image_size**2 * trained_on // workers, int(config.memory * 1e9))
    return [training_workers(workers, prospect.device, kept)]


PRETRAIN = Stage(
    facts=Pretrained,
    title="Train a backbone without labels",
    writes={"backbone.safetensors, backbone.json": "the backbone, for --backbone", HISTORY: "loss and health per step"},
    version=3,
    reads=(Ingested,),
    decides=_decides,
    computes=True,
    uses=_uses,
    work=Whole(compute=_compute, unit="steps"),
)
