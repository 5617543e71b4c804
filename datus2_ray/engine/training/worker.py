"""What the workers of every training do alike: prepare torch, and tell the driver of their steps."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import ray.train
import torch


def prepare_torch(device: torch.device, threads: int, *, repeatable: bool) -> None:
    """Set how this process computes: with so many threads on a CPU, but no more than its share of the node's.

    Parameters
    ----------
    device : torch.device
        Where the worker computes.
    threads : int
        Threads that it may use on a CPU.
    repeatable : bool
        Whether a GPU must give the same bits again, which costs time; a CPU does so anyway.
    """
    if device.type == "cuda":
        if not repeatable:
            return
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        torch.backends.cudnn.deterministic = True
        return
    here = max(1, (os.cpu_count() or 1) // ray.train.get_context().get_local_world_size())
    # Ray starts a worker that reserves half a CPU with one OpenMP thread.
    torch.set_num_threads(min(threads, here))


def teller(watcher: Any, rank: int) -> Callable[[int], None]:
    """Give a function that reports a step; steps are taken by all workers together, so one of them reports."""
    if watcher is None or rank:
        return lambda step: None
    return lambda step: watcher.tick.remote(step)
