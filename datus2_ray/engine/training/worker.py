"""What the workers of every training do alike: prepare torch, report steps, write and read checkpoints."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from datus2_ray.engine.session import configure_ray_data
from datus2_ray.engine.training.job import Watcher
from datus2_ray.errors import DatusError

#: File of a checkpoint beside the model: the rest of what a resumed training needs.
STATE = "training.pt"

SumOverWorkers = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Member:
    """One of the processes of a fit.

    Parameters
    ----------
    rank : int
        Its number, from 0.
    on_step : callable
        Called with the steps done; the same number again says that something else moved.
    sum_over_workers : callable
        Adds up a tensor of all processes.
    """

    rank: int
    device: torch.device
    on_step: Callable[[int], None]
    sum_over_workers: SumOverWorkers


@dataclass(frozen=True)
class Fit:
    """What a fit made: a function that writes the model's file, and the history, a key per column."""

    write_model: Callable[[], bytes]
    history: dict[str, Any]


def run_fit(compute: Callable[[Any, Member], Fit], model: str, config: dict[str, Any]) -> dict[str, Any]:
    """Run a fit in this process, alone or as one of the workers of a ``TorchTrainer``, by the same loop.

    A worker that died starts all of them anew: a fit takes seconds, or a minute.

    Parameters
    ----------
    compute : callable
        Fits by a plan, as one of its processes.
    model : str
        File of a checkpoint that holds the model.
    config : dict
        ``plan``, which has ``workers`` and a ``device``; ``watcher``, which is sent every step; and, of several
        workers, ``checkpoints``, as in :func:`write_checkpoint`.

    Returns
    -------
    dict
        The history; and of a lone process the file, as ``model``, of a worker ``fault``, None.
    """
    plan, watcher = config["plan"], config["watcher"]
    together = plan.workers > 1
    if together:
        import ray.train  # here and below: a lone process does without it, which takes as long to import as torch

        rank, device = ray.train.get_context().get_world_rank(), prepare_worker(1, repeatable=True)
    else:
        rank, device = 0, torch.device(plan.device)
        prepare_torch(device, 1, repeatable=True)
    fit = compute(plan, Member(rank, device, step_reporter(watcher, rank), sum_over_workers))
    if not together:
        return {"model": fit.write_model(), **fit.history}
    write_checkpoint(config["checkpoints"], "fitted", {"step": 1}, model, fit.write_model, {})
    return {**fit.history, "fault": None}


def prepare_worker(threads: int, *, repeatable: bool) -> torch.device:
    """Set how this process computes, and return where.

    Parameters
    ----------
    threads : int
        Threads on a CPU; no more are used than the worker's share of its node.
    repeatable : bool
        Whether a GPU must give the same bits again, which costs time; a CPU does so anyway.
    """
    import ray.train.torch

    configure_ray_data(-1)
    device: torch.device = ray.train.torch.get_device()
    share = max(1, (os.cpu_count() or 1) // ray.train.get_context().get_local_world_size())
    prepare_torch(device, min(threads, share), repeatable=repeatable)
    return device


def prepare_torch(device: torch.device, threads: int, *, repeatable: bool) -> None:
    """Set how this process computes, as :func:`prepare_worker` does."""
    if device.type == "cpu":
        # Ray starts a worker that reserves half a CPU with one OpenMP thread.
        torch.set_num_threads(threads)
    elif repeatable:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        torch.backends.cudnn.deterministic = True


def step_reporter(watcher: Watcher | None, rank: int) -> Callable[[int], None]:
    """Return a function that sends a step to the watcher; all workers take steps together, so the first one reports."""
    if watcher is None or rank:
        return lambda step: None
    return watcher.tick


def sum_over_workers(values: Tensor) -> Tensor:
    """Add up the workers' values, in place, and return them."""
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
    return values


def read_checkpoint(model: str) -> tuple[bytes, dict[str, Any]] | None:
    """Return the model's file and the state of the last checkpoint, if there is one to resume from."""
    import ray.train

    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        state: dict[str, Any] = torch.load(Path(folder, STATE), map_location="cpu", weights_only=True)
        return Path(folder, model).read_bytes(), state


def write_checkpoint(
    kept: str | None,
    name: str,
    metrics: dict[str, Any],
    model: str,
    write_model: Callable[[], bytes],
    state: dict[str, Any],
) -> None:
    """Report a checkpoint, which the first worker writes: a file with the model, and the state beside it.

    All workers call this. The name is the same in every run, unlike Ray's own, which holds the time.

    Parameters
    ----------
    kept : str or None
        Folder of the checkpoints, where it is on a file system that the workers share: the files are written there.
        None if it is in a store: they are copied to it while the training goes on, and the checkpoint counts after
        that.
    """
    import ray.train

    api: Any = ray.train  # whose type hints are those of its old version
    checkpoint = None
    if ray.train.get_context().get_world_rank() == 0:
        folder = Path(tempfile.mkdtemp(prefix="datus2-")) if kept is None else _folder_beside(kept, name)
        try:
            (folder / model).write_bytes(write_model())
            torch.save(state, folder / STATE)
            if kept is not None:
                if (before := Path(kept, name)).exists():  # of an attempt that ended before it was reported
                    shutil.rmtree(before)
                folder = folder.rename(before)
        except BaseException:
            shutil.rmtree(folder)
            raise
        checkpoint = ray.train.Checkpoint.from_directory(folder)
    modes = api.CheckpointUploadMode
    api.report(
        metrics,
        checkpoint=checkpoint,
        checkpoint_dir_name=name,
        checkpoint_upload_mode=modes.ASYNC if kept is None else modes.NO_UPLOAD,
        delete_local_checkpoint_after_upload=kept is None,
    )


def _folder_beside(kept: str, name: str) -> Path:
    """Make a folder in that of the checkpoints, of a name that no other attempt has.

    Raises
    ------
    DatusError
        If the folder of the checkpoints, which the driver made, is not there.
    """
    folder = Path(kept, f".{name}-{secrets.token_hex(8)}")
    try:
        folder.mkdir()
    except FileNotFoundError as error:
        raise DatusError(
            f"{kept} is not there on {platform.node()}: --out must be on storage that all nodes share, S3 or NFS"
        ) from error
    return folder
