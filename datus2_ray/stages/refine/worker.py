"""What every worker of the refinement does: the training loop, its checkpoints, and how it goes on from one."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import safetensors.torch
import torch
import torch.distributed
from torch import Tensor

from datus2_ray.core.refine.augmentation import augment
from datus2_ray.core.refine.file import Segmenter, to_bytes
from datus2_ray.core.refine.self_training import SelfTraining, class_weights, count_labels, pixel_loss
from datus2_ray.engine.session import configure_ray_data
from datus2_ray.engine.training.worker import prepare_torch, teller
from datus2_ray.stages.refine.data import Pair, Pairs, stack, stream_pairs, training_batches
from datus2_ray.stages.refine.read_segmenter import read_segmenter
from datus2_ray.stages.refine.training import MODEL, Training

#: File of a checkpoint beside the model: what going on with the training needs.
TRAINING = "training.pt"

#: Power of the falling learning rate (Chen et al., arXiv 1706.05587, section 4.1).
POWER = 0.9

#: Images of a share that the classes' pixels are counted on: enough for a frequency, without a pass over millions.
COUNTED_IMAGES = 1000


def train(config: dict[str, Any]) -> dict[str, list[float]]:
    """Train a segmenter on the initial masks, as one of the workers of a ``TorchTrainer``.

    Parameters
    ----------
    config : dict
        ``plan``: :class:`Training`; ``watcher``: actor handle or None, told of every step.

    Returns
    -------
    dict
        The history, a list a column, one entry a step: ``step``, ``epoch``, ``train_loss`` (mean over the workers),
        ``learning_rate``, ``held_out_loss`` (after an epoch's last step, NaN elsewhere).
    """
    training: Training = config["plan"]
    rank = ray.train.get_context().get_world_rank()
    configure_ray_data(seconds=-1)
    device = ray.train.torch.get_device()
    prepare_torch(device, training.threads, repeatable=True)

    segmenter = read_segmenter(training.start, training.backbone, str(device), training.dtype)
    model = ray.train.torch.prepare_model(segmenter)
    optimiser = torch.optim.AdamW(model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
    selves = SelfTraining(segmenter, training.teacher, training.confidence)
    first_epoch, history = _resume(selves, optimiser)
    tell = teller(config["watcher"], rank)
    tell(first_epoch * training.epoch_steps)
    held_out = _held_out_batches(training, rank)
    pairs = Pairs(training.read(rank))
    weights = _class_weights(training, pairs, segmenter.spec.classes, device) if training.balance else None

    for epoch in range(first_epoch, -(-training.steps // training.epoch_steps)):
        key = (training.seed, rank, epoch)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))  # for dropout
        generator = torch.Generator().manual_seed(torch.initial_seed() + 1)
        steps = range(epoch * training.epoch_steps, min((epoch + 1) * training.epoch_steps, training.steps))
        batches = training_batches(training.parts, pairs, training.batch_size, key)
        losses = []
        model.train()
        for step in steps:
            if step and training.round_of(step) > training.round_of(step - 1):
                _share_buffers(selves.kept)
                selves.begin_round()
            images, masks = _to_device(next(batches), device)
            with _autocast(training, device):
                masks = selves.targets(images, masks)
            images, masks = augment(images, masks, generator)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(training, step)
            with _autocast(training, device):
                loss, pixels = pixel_loss(model(images), masks, weights, training.exponent)
            loss = loss / pixels.clamp(min=1)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            selves.end_step(step)
            losses.append(loss.detach())
            tell(step + 1)
        batches.close()
        train_losses = (_sum_over_workers(torch.stack(losses).double()) / training.workers).tolist()
        held_out_loss = _validate(training, selves, held_out, device, weights, train_losses[-1])
        tell(steps.stop)
        for step, train_loss in zip(steps, train_losses, strict=True):
            last = step == steps[-1]
            row = (step + 1, epoch, train_loss, learning_rate(training, step), held_out_loss if last else float("nan"))
            for name, value in zip(_HISTORY, row, strict=True):
                history[name].append(value)
        _checkpoint(training, rank, epoch, selves, optimiser, history)
    return history


_HISTORY = ("step", "epoch", "train_loss", "learning_rate", "held_out_loss")


def learning_rate(training: Training, step: int) -> float:
    """Give a step's learning rate: a linear rise over the first twentieth, a polynomial fall over all steps."""
    rise = min(1.0, (step + 1) / max(1, training.steps // 20))
    fall: float = (1.0 - step / training.steps) ** POWER
    return training.learning_rate * rise * fall


def checkpoint_name(epoch: int) -> str:
    """Name the folder of an epoch's checkpoint; the same in every run, unlike Ray's own, which holds the time."""
    return f"epoch-{epoch:04d}"


def _resume(selves: SelfTraining, optimiser: torch.optim.Optimizer) -> tuple[int, dict[str, list[float]]]:
    """Take up the last checkpoint, where there is one, and give the next epoch and the history so far."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 0, {name: [] for name in _HISTORY}
    with checkpoint.as_directory() as folder:
        kept = safetensors.torch.load_file(Path(folder, MODEL))
        state = torch.load(Path(folder, TRAINING), map_location="cpu", weights_only=True)
    selves.load_state_dict(kept, state["segmenters"])
    optimiser.load_state_dict(state["optimiser"])
    return state["epoch"] + 1, state["history"]


def _checkpoint(
    training: Training,
    rank: int,
    epoch: int,
    selves: SelfTraining,
    optimiser: torch.optim.Optimizer,
    history: dict[str, list[float]],
) -> None:
    step, held_out_loss = int(history["step"][-1]), history["held_out_loss"][-1]
    # Losses of different rounds are of different labels: only the last round's compete.
    score = held_out_loss if training.round_of(step - 1) == training.rounds - 1 else sys.float_info.max
    metrics = {"epoch": epoch, "step": step, "held_out_loss": held_out_loss, "score": score}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if rank == 0:
            Path(folder, MODEL).write_bytes(to_bytes(selves.kept))
            state = {
                "optimiser": optimiser.state_dict(),
                "segmenters": selves.state_dict(),
                "epoch": epoch,
                "history": history,
            }
            torch.save(state, Path(folder, TRAINING))
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report(metrics, checkpoint=checkpoint, checkpoint_dir_name=checkpoint_name(epoch))


def _class_weights(training: Training, pairs: Pairs, classes: int, device: torch.device) -> Tensor:
    """Weigh the classes by the initial masks of all workers' images; what is read for that is kept in `pairs`."""
    order = np.random.default_rng(training.seed).permutation(len(training.parts))
    stream = pairs.stream([training.parts[i] for i in order])
    counts = torch.zeros(classes, dtype=torch.int64, device=device)
    for _, mask in islice(stream, COUNTED_IMAGES):
        counts += count_labels(torch.from_numpy(mask.copy()), classes).to(device)
    return class_weights(_sum_over_workers(counts))


def _autocast(training: Training, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=training.dtype == "bfloat16")


def _to_device(batch: Pair, device: torch.device) -> tuple[Tensor, Tensor]:
    images, masks = (torch.from_numpy(array).to(device) for array in batch)
    return images, masks


def _held_out_batches(training: Training, rank: int) -> list[Pair]:
    pairs = list(stream_pairs(training.parts, training.read(training.workers + rank)))
    starts = range(0, len(pairs), training.batch_size)
    return [stack(pairs[start : start + training.batch_size]) for start in starts]


def _validate(
    training: Training,
    selves: SelfTraining,
    batches: Sequence[Pair],
    device: torch.device,
    weights: Tensor | None,
    train_loss: float,
) -> float:
    """Give the mean loss over the held-out pixels of all workers; the training loss where they are noise alone."""
    # The checkpoint holds the first worker's running means, so these are what all validate with.
    _share_buffers(selves.kept)
    segmenter = selves.kept.eval()
    total = torch.zeros(2, dtype=torch.float64, device=device)
    with torch.no_grad(), _autocast(training, device):
        for batch in batches:
            images, masks = _to_device(batch, device)
            masks = selves.targets(images, masks)
            loss, pixels = pixel_loss(segmenter(images), masks, weights, training.exponent)
            total += torch.stack([loss.double(), pixels.double()])
    loss_sum, pixel_sum = _sum_over_workers(total).tolist()
    mean = loss_sum / pixel_sum if pixel_sum else train_loss
    # Ray's own record of the checkpoints is JSON, which has neither NaN nor infinity.
    return mean if np.isfinite(mean) else sys.float_info.max


def _share_buffers(segmenter: Segmenter) -> None:
    """Give all workers the first one's batch-norm statistics."""
    if torch.distributed.is_initialized():
        for buffer in segmenter.buffers():
            torch.distributed.broadcast(buffer, 0)


def _sum_over_workers(values: Tensor) -> Tensor:
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
    return values
