"""What fits the layer in each of the processes of a fit."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial

from datus2_ray.core.refine.em import Recipe, fit
from datus2_ray.core.refine.token_groups import GROUPS
from datus2_ray.core.refine.token_layer import TokenLayerSpec, to_bytes
from datus2_ray.engine.machines import Device
from datus2_ray.engine.training.worker import Fit, Member
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


def fit_layer(plan: Plan, member: Member) -> Fit:
    """Fit the layer; the history has ``losses``, ``agreements`` and ``tokens`` as ``Fitted`` has them."""
    threads = min(plan.threads, os.cpu_count() or 1)
    numbers = range(member.rank, GROUPS, plan.workers)
    groups = plan.segments.read(numbers, member.device, threads, partial(member.on_step, 0))
    threads = threads if member.device.type == "cpu" else 1
    fitted = fit(groups, plan.spec, plan.seed, plan.recipe, member.sum_over_workers, threads, member.on_step)
    history = {"losses": fitted.losses, "agreements": fitted.agreements, "tokens": fitted.tokens}
    return Fit(partial(to_bytes, fitted.layer), history)
