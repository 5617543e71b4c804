"""What every worker of the refinement does: the training loop, its checkpoints, and how it resumes from one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import ray.train
import ray.train.torch
import torch
import torch.distributed
from torch import Tensor

from datus2_ray.config.refine import RefineConfig
from datus2_ray.core.refine.augmentation import augment
from datus2_ray.core.refine.average import average_weights
from datus2_ray.core.refine.deeplab import DeepLabV3Segmenter
from datus2_ray.core.refine.file import from_bytes, to_bytes
from datus2_ray.core.refine.loss import EXPONENT, pixel_loss
from datus2_ray.engine.training.worker import (
    prepare_worker,
    read_checkpoint,
    step_reporter,
    sum_over_workers,
    write_checkpoint,
)
from datus2_ray.stages.refine.data import Pair, Pairs, read_pairs, stack, training_batches
from datus2_ray.stages.refine.training import MODEL, Training
from datus2_ray.store import storage

#: Power of the falling learning rate (Chen et al., arXiv 1706.05587, section 4.1).
POWER = 0.9

_HISTORY = ("step", "epoch", "train_loss", "learning_rate", "held_out_loss")


def train(config: dict[str, Any]) -> dict[str, Any]:
    """Train DeepLabV3, as one of the workers of a ``TorchTrainer``.

    If the loss is not a number any more after an epoch, the training ends with the best checkpoint before it: such
    weights do not recover.

    Parameters
    ----------
    config : dict
        ``plan``: :class:`Training`; ``watcher``: Watcher or None, sent every step; ``checkpoints``: their folder,
        or None where it is in a store.

    Returns
    -------
    dict
        The history, one list per column with one entry per step: ``step``, ``epoch``, ``train_loss`` (mean over the
        workers), ``learning_rate``, ``held_out_loss`` (after an epoch's last step, NaN elsewhere). Under ``fault`` why
        there is no checkpoint, or None.
    """
    training: Training = config["plan"]
    settings = training.config
    rank = ray.train.get_context().get_world_rank()
    device = prepare_worker(training.threads, repeatable=True)

    checkpoint = read_checkpoint(MODEL)
    segmenter = from_bytes(storage.read_bytes(training.start) if checkpoint is None else checkpoint[0]).to(device)
    model = ray.train.torch.prepare_model(segmenter, parallel_strategy_kwargs={"gradient_as_bucket_view": True})
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    average = average_weights(segmenter, settings.teacher) if settings.teacher else None
    kept = segmenter if average is None else cast(DeepLabV3Segmenter, average.module)
    exponent = EXPONENT if settings.loss == "generalised" else 0.0
    first_epoch, history = 0, dict[str, list[float]]((name, []) for name in _HISTORY)
    if checkpoint is not None:
        _, state = checkpoint
        if average is not None:  # which is the model of the checkpoint
            segmenter.load_state_dict(state["segmenter"])
            average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        history = state["history"]
        first_epoch = int(history["epoch"][-1]) + 1
    report_step = step_reporter(config["watcher"], rank)
    report_step(first_epoch * training.epoch_steps)
    held_out = _held_out_batches(training, rank)
    pairs = Pairs(training.read(rank))

    for epoch in range(first_epoch, -(-settings.steps // training.epoch_steps)):
        key = (training.seed, rank, epoch)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))  # for dropout
        generator = torch.Generator().manual_seed(torch.initial_seed() + 1)
        steps = range(epoch * training.epoch_steps, min((epoch + 1) * training.epoch_steps, settings.steps))
        batches = training_batches(training.parts, pairs, training.batch_size, key)
        losses = []
        model.train()
        for step in steps:
            images, masks = augment(*_to_device(next(batches), device), generator)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(settings, step)
            with _autocast(training, device):
                loss, pixels = pixel_loss(model(images), masks, exponent)
            loss = loss / pixels.clamp(min=1)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if average is not None:
                average.update_parameters(segmenter)
            losses.append(loss.detach())
            report_step(step + 1)
        batches.close()
        train_losses = (sum_over_workers(torch.stack(losses).double()) / training.workers).tolist()
        loss_sum, pixel_sum = _validate(training, kept, held_out, device, exponent)
        held_out_loss = loss_sum / pixel_sum if pixel_sum else train_losses[-1]
        report_step(steps.stop)
        if not math.isfinite(held_out_loss):
            break
        for step, train_loss in zip(steps, train_losses, strict=True):
            last = step == steps[-1]
            row = (step + 1, epoch, train_loss, learning_rate(settings, step), held_out_loss if last else math.nan)
            for name, value in zip(_HISTORY, row, strict=True):
                history[name].append(value)
        metrics = {"epoch": epoch, "step": steps.stop, "held_out_loss": held_out_loss}
        state = {"optimiser": optimiser.state_dict(), "history": history}
        if average is not None:
            state |= {"segmenter": segmenter.state_dict(), "average": average.state_dict()}
        write_checkpoint(config["checkpoints"], f"epoch-{epoch:04d}", metrics, MODEL, partial(to_bytes, kept), state)
    fault = f"refine: the loss is not a number any more; lower refine.learning_rate {settings.learning_rate}"
    return {**history, "fault": None if history["step"] else fault}


def learning_rate(config: RefineConfig, step: int) -> float:
    """Return a step's learning rate: a linear rise over the first twentieth, a polynomial fall over all steps."""
    rise = min(1.0, (step + 1) / max(1, config.steps // 20))
    fall: float = (1.0 - step / config.steps) ** POWER
    return config.learning_rate * rise * fall


def _autocast(training: Training, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=training.dtype == "bfloat16")


def _to_device(batch: Pair, device: torch.device) -> tuple[Tensor, Tensor]:
    images, masks = (torch.from_numpy(array).to(device) for array in batch)
    return images, masks


def _held_out_batches(training: Training, rank: int) -> list[Pair]:
    pairs = [pair for part in read_pairs(training.parts, training.read(training.workers + rank)) for pair in part]
    starts = range(0, len(pairs), training.batch_size)
    return [stack(pairs[start : start + training.batch_size]) for start in starts]


def _validate(
    training: Training, kept: DeepLabV3Segmenter, batches: Sequence[Pair], device: torch.device, exponent: float
) -> tuple[float, float]:
    """Return the summed loss over the held-out pixels of all workers, and their number."""
    if torch.distributed.is_initialized():
        # The checkpoint holds the first worker's batch-norm statistics, so these are what all validate with.
        for buffer in kept.buffers():
            torch.distributed.broadcast(buffer, 0)
    kept.eval()
    total = torch.zeros(2, dtype=torch.float64, device=device)
    with torch.no_grad(), _autocast(training, device):
        for batch in batches:
            images, masks = _to_device(batch, device)
            loss, pixels = pixel_loss(kept(images), masks, exponent)
            total += torch.stack([loss.double(), pixels.double()])
    loss_sum, pixel_sum = sum_over_workers(total).tolist()
    return loss_sum, pixel_sum
