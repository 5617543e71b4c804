"""What fits the layer: a process alone, or one of the workers of Ray Train, by the same loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from datus2_ray.core.refine.em import GROUPS, Fitted, Recipe, fit
from datus2_ray.core.refine.token_layer import TokenLayerSpec, to_bytes
from datus2_ray.engine.machines import Device
from datus2_ray.engine.training.tokens import MODEL
from datus2_ray.engine.training.worker import (
    prepare_torch,
    prepare_worker,
    step_reporter,
    sum_over_workers,
    write_checkpoint,
)
from datus2_ray.stages.em.tokens import SegmentTokens


@dataclass(frozen=True)
class Plan:
    """What decides the fit, and how it is done; the same for every worker.

    Parameters
    ----------
    threads : int
        CPU threads of a worker.
    """

    segments: SegmentTokens
    spec: TokenLayerSpec
    seed: int
    recipe: Recipe
    workers: int
    threads: int
    device: Device


def fit_alone(config: dict[str, Any]) -> dict[str, Any]:
    """Fit the layer in this process; `config` holds the :class:`Plan` and a watcher, which is sent every step.

    Returns
    -------
    dict
        ``model``: the file of the layer; ``losses``, ``agreements`` and ``tokens`` as :class:`Fitted` has them.
    """
    plan: Plan = config["plan"]
    device = torch.device(plan.device)
    prepare_torch(device, 1, repeatable=True)
    fitted = _fit(plan, 0, device, step_reporter(config["watcher"], 0), lambda values: values)
    return {"model": to_bytes(fitted.layer), **_history(fitted)}


def fit_together(config: dict[str, Any]) -> dict[str, Any]:
    """Fit the layer as one of the workers of a ``TorchTrainer``; a worker that died starts all of them anew.

    Returns
    -------
    dict
        As :func:`fit_alone`, but that the layer is in the checkpoint; and ``fault``, None.
    """
    import ray.train

    plan: Plan = config["plan"]
    rank = ray.train.get_context().get_world_rank()
    device = prepare_worker(1, repeatable=True)
    fitted = _fit(plan, rank, device, step_reporter(config["watcher"], rank), sum_over_workers)
    steps = sum(map(len, fitted.losses))
    write_checkpoint("layer", {"step": steps}, MODEL, partial(to_bytes, fitted.layer), {})
    return {**_history(fitted), "fault": None}


def _fit(
    plan: Plan,
    rank: int,
    device: torch.device,
    report: Callable[[int], None],
    sum_up: Callable[[Tensor], Tensor],
) -> Fitted:
    threads = min(plan.threads, os.cpu_count() or 1)
    groups = plan.segments.read(range(rank, GROUPS, plan.workers), device, threads, lambda: report(0))
    return fit(groups, plan.spec, plan.seed, plan.recipe, sum_up, threads if device.type == "cpu" else 1, report)


def _history(fitted: Fitted) -> dict[str, Any]:
    return {"losses": fitted.losses, "agreements": fitted.agreements, "tokens": fitted.tokens}
