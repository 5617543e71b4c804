"""What learns the head: a process alone, or one of the workers of Ray Train, by the same loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datus2_ray.core.head.fit import SHARES, Learned, Recipe, learn
from datus2_ray.core.head.network import HeadSpec, to_bytes
from datus2_ray.engine.machines import Device
from datus2_ray.engine.training.tokens import MODEL
from datus2_ray.engine.training.worker import (
    prepare_torch,
    prepare_worker,
    step_reporter,
    sum_over_workers,
    write_checkpoint,
)
from datus2_ray.store import storage
from datus2_ray.store.columns import list_arrays


@dataclass(frozen=True)
class TokenImages:
    """Where tokens lie, and which images are used.

    Parameters
    ----------
    folder : str
        URI of ``discover/``.
    ids : tuple of str
        The images, by their numbers.
    """

    folder: str
    parts: tuple[str, ...]
    ids: tuple[str, ...]

    def read(
        self, rank: int, workers: int, device: torch.device, threads: int, on_part: Callable[[], None] = lambda: None
    ) -> dict[int, Tensor]:
        """Read the tokens of the images of one worker, float16 [n, dim], by the images' numbers."""
        numbers = {image_id: number for number, image_id in enumerate(self.ids) if number % workers == rank}
        images: dict[int, Tensor] = {}
        with ThreadPoolExecutor(threads) as pool:
            for part in pool.map(lambda part: self._read(part, numbers), self.parts):
                images |= {number: torch.from_numpy(tokens).to(device) for number, tokens in part.items()}
                on_part()
        return images

    def _read(self, part: str, numbers: dict[str, int]) -> dict[int, np.ndarray]:
        table = storage.read_table(storage.join(self.folder, part), ["image_id", "tokens"])
        ids, tokens = table["image_id"].to_pylist(), list_arrays(table["tokens"])
        # Copied: a view would keep the tokens of the whole part.
        return {numbers[i]: np.array(rows) for i, rows in zip(ids, tokens, strict=True) if i in numbers}


@dataclass(frozen=True)
class Plan:
    """What decides the head, and how it is learned; the same for every worker.

    Parameters
    ----------
    threads : int
        CPU threads of a worker.
    """

    images: TokenImages
    spec: HeadSpec
    seed: int
    recipe: Recipe
    workers: int
    threads: int
    device: Device


def learn_alone(config: dict[str, Any]) -> dict[str, Any]:
    """Learn the head in this process; `config` holds the :class:`Plan` and a watcher, which is sent every step.

    Returns
    -------
    dict
        ``model``: the file of the head; ``losses``, ``shifts`` and ``tokens`` as :class:`Learned` has them.
    """
    plan: Plan = config["plan"]
    device = torch.device(plan.device)
    prepare_torch(device, 1, repeatable=True)
    learned = _learn(plan, 0, device, step_reporter(config["watcher"], 0), lambda values: values)
    return {"model": to_bytes(learned.head), **_history(learned)}


def learn_together(config: dict[str, Any]) -> dict[str, Any]:
    """Learn the head as one of the workers of a ``TorchTrainer``; a worker that died starts all of them anew.

    Returns
    -------
    dict
        As :func:`learn_alone`, but that the head is in the checkpoint; and ``fault``, None.
    """
    import ray.train

    plan: Plan = config["plan"]
    rank = ray.train.get_context().get_world_rank()
    device = prepare_worker(1, repeatable=True)
    learned = _learn(plan, rank, device, step_reporter(config["watcher"], rank), sum_over_workers)
    write_checkpoint("head", {"step": len(learned.losses)}, MODEL, partial(to_bytes, learned.head), {})
    return {**_history(learned), "fault": None}


def _learn(
    plan: Plan,
    rank: int,
    device: torch.device,
    report: Callable[[int], None],
    sum_up: Callable[[Tensor], Tensor],
) -> Learned:
    threads = min(plan.threads, os.cpu_count() or 1)
    images = plan.images.read(rank, plan.workers, device, threads, lambda: report(0))
    shares = range(rank, SHARES, plan.workers)
    threads = threads if device.type == "cpu" else 1
    return learn(
        images, len(plan.images.ids), plan.spec, plan.seed, plan.recipe, sum_up, shares, threads, device, report
    )


def _history(learned: Learned) -> dict[str, Any]:
    return {"losses": learned.losses, "shifts": learned.shifts, "tokens": learned.tokens}
