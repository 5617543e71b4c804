"""What learns the head in each of the processes of a fit."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from datus2_ray.core.head.fit import SHARES, learn
from datus2_ray.core.head.network import HeadSpec, to_bytes
from datus2_ray.core.head.recipes import Recipe
from datus2_ray.engine.machines import Device
from datus2_ray.engine.training.worker import Fit, Member
from datus2_ray.store import parquet, storage
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
        table = parquet.read_table(storage.join(self.folder, part), ["image_id", "tokens"])
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


def learn_head(plan: Plan, member: Member) -> Fit:
    """Learn the head; the history has ``losses``, ``shifts`` and ``tokens`` as ``Learned`` has them."""
    threads = min(plan.threads, os.cpu_count() or 1)
    images = plan.images.read(member.rank, plan.workers, member.device, threads, partial(member.on_step, 0))
    learned = learn(
        images,
        len(plan.images.ids),
        plan.spec,
        plan.seed,
        plan.recipe,
        member.sum_over_workers,
        range(member.rank, SHARES, plan.workers),
        threads if member.device.type == "cpu" else 1,
        member.device,
        member.on_step,
    )
    history = {"losses": learned.losses, "shifts": learned.shifts, "tokens": learned.tokens}
    return Fit(partial(to_bytes, learned.head), history)
