"""What the workers of every training do alike: prepare torch, and report their steps to the driver."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import ray.train
import torch


def prepare_torch(device: torch.device, threads: int, *, repeatable: bool) -> None:
    """Set how this process computes; `repeatable` makes a GPU repeat its bits, which costs time."""
    if device.type == "cuda":
        if not repeatable:
            return
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        torch.backends.cudnn.deterministic = True
        return
    share = max(1, (os.cpu_count() or 1) // ray.train.get_context().get_local_world_size())
    # Ray starts a worker that reserves half a CPU with one OpenMP thread.
    torch.set_num_threads(min(threads, share))


def step_reporter(watcher: Any, rank: int) -> Callable[[int], None]:
    """Return a function that sends a step to the watcher; all workers take steps together, so the first one reports."""
    if watcher is None or rank:
        return lambda step: None
    return lambda step: watcher.tick.remote(step)
