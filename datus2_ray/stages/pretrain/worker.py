"""What every worker of a self-supervised training does: the loop, its checkpoints, and how it resumes."""

from __future__ import annotations

from functools import partial
from typing import Any

import ray.train
import ray.train.torch
import torch

from datus2_ray.core.pretrain.health import CollapseWatch, effective_rank
from datus2_ray.core.pretrain.model import build_start, to_bytes
from datus2_ray.core.pretrain.step import Pretraining, StepResult, learning_rate
from datus2_ray.engine.training.worker import (
    prepare_worker,
    read_checkpoint,
    step_reporter,
    sum_over_workers,
    write_checkpoint,
)
from datus2_ray.stages.pretrain.data import held_batches, hold_images, streamed_batches
from datus2_ray.stages.pretrain.tensorboard import Scalars
from datus2_ray.stages.pretrain.training import MODEL, Pretrain
from datus2_ray.store.schemas import PRETRAINING_HISTORY
from datus2_ray.store.weights_cache import local_spec

#: Steps whose scalars are fetched from the device at once.
FETCHED = 10

_HISTORY = tuple(PRETRAINING_HISTORY.names)


def train(config: dict[str, Any]) -> dict[str, Any]:
    """Train a backbone, as one of the workers of a ``TorchTrainer``.

    Parameters
    ----------
    config : dict
        ``plan``: :class:`Pretrain`; ``watcher``: Watcher or None, sent every step; ``checkpoints``: their folder,
        or None where it is in a store.

    Returns
    -------
    dict
        The history, one list per column with one entry per step, means over the workers; ``effective_rank`` is None
        between checkpoints. Under ``fault`` why the training was ended early, or None.
    """
    plan: Pretrain = config["plan"]
    recipe = plan.config
    rank = ray.train.get_context().get_world_rank()
    # Repeatable, an H200 took half the steps per second. Without it, two trainings of one seed drift apart on a GPU.
    device = prepare_worker(plan.threads, repeatable=False)
    report_step = step_reporter(config["watcher"], rank)

    build = partial(build_start, recipe, plan.start and local_spec(plan.start))
    parallel = ray.train.torch.prepare_model
    pretraining = Pretraining(recipe, plan.seed, build, device, parallel, bfloat16=plan.dtype == "bfloat16")
    history = dict[str, list[float | None]]((name, []) for name in _HISTORY)
    if (checkpoint := read_checkpoint(MODEL)) is not None:
        _, state = checkpoint
        pretraining.load_state_dict(state["training"])
        history = state["history"]
    report_step(pretraining.steps_done)
    # Every worker reports its reading: the others wait for the slowest.
    report_part = partial(step_reporter(config["watcher"], 0), pretraining.steps_done)
    wanted = plan.lanes_of(rank)
    held_out = range(recipe.batch_size, 2 * recipe.batch_size) if rank == 0 else range(0)
    if plan.held:
        held = hold_images(plan, {*wanted, *held_out}, device, report_part)
        batches = held_batches(plan, held, wanted, pretraining.steps_done)
    else:
        held = hold_images(plan, held_out, device, report_part)
        batches = streamed_batches(plan, wanted, pretraining.steps_done, device)
    scored = [row for lane in held_out for row in held.lanes.get(lane, ())]
    scalars = Scalars(plan.scalars, pretraining.steps_done) if rank == 0 else None
    collapse = CollapseWatch()
    fresh: list[StepResult] = []
    fault = None
    while pretraining.steps_done < recipe.steps and fault is None:
        fresh.append(pretraining.step(next(batches), rank, plan.workers))
        step = pretraining.steps_done
        due = step % recipe.checkpoint_steps == 0 or step == recipe.steps
        if len(fresh) == FETCHED or due:
            fault = _note(plan, history, fresh, step, collapse)
            fresh = []
        report_step(step)
        due = due and fault is None
        if due and scored:
            history["effective_rank"][-1] = _rank_of(pretraining, held.pixels, scored)
        if scalars is not None and (due or fault):
            scalars.write(history)
        if due:
            state = {"training": pretraining.state_dict(), "history": history}
            write_model = partial(to_bytes, pretraining.backbone())
            write_checkpoint(config["checkpoints"], f"step-{step:08d}", {"step": step}, MODEL, write_model, state)
    return {**history, "fault": fault}


def _note(
    plan: Pretrain, history: dict[str, list[float | None]], fresh: list[StepResult], step: int, collapse: CollapseWatch
) -> str | None:
    """Fetch the scalars of some steps, the same on every worker, and return why the training has failed, if so."""
    scalars = torch.stack([torch.stack(list(vars(result).values())) for result in fresh]).double()
    scalars = sum_over_workers(scalars) / plan.workers
    fault = None
    for number, row in enumerate(scalars.tolist(), start=step - len(fresh) + 1):
        values = (number, *row, learning_rate(plan.config, number - 1), None)
        for name, value in zip(_HISTORY, values, strict=True):
            history[name].append(value)
        fault = fault or collapse.check(number, row[0], *row[-2:])
    return fault


def _rank_of(pretraining: Pretraining, pixels: torch.Tensor, rows: list[int]) -> float:
    tokens = [pretraining.patch_tokens(pixels[rows[start : start + 8]]) for start in range(0, len(rows), 8)]
    return effective_rank(torch.cat(tokens).flatten(0, 1))
