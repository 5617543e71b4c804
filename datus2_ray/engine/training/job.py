"""A training that is to be done, and how the driver watches it step by step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import ray
from ray.exceptions import RayError

from datus2_ray.errors import DatusError

if TYPE_CHECKING:
    from ray.train import ScalingConfig  # takes as long to import as torch

#: How often a worker may die before the training gives up; each time it resumes from the last checkpoint, if any.
MAX_FAILURES = 3

#: Seconds between two looks at how far the training is.
POLL_SECONDS = 0.5


class Watcher(Protocol):
    """What a training tells how far it is."""

    def tick(self, step: int) -> None:
        """Note the number of steps done; the same number again notes that something else moved."""
        ...


@dataclass(frozen=True)
class Job:
    """A training that is to be done.

    Parameters
    ----------
    stage : str
        For errors.
    loop : callable
        What every worker runs: it takes ``{"plan": ..., "watcher": Watcher, "checkpoints": folder or None}``, reports
        checkpoints, and returns its history, one key per column; ``fault`` is None or says why to give up (what is
        raised instead is tried again). It imports what it needs when called: Ray's actors have no need of models.
    plan : object
        Passed to the loop.
    steps : int
        Optimiser steps.
    remedy : str
        What to do where steps take too long, for errors.
    scaling : ScalingConfig or None
        Resources of the workers; None for :func:`~datus2_ray.engine.training.alone.run_alone`.
    lowest : str or None
        The metric whose lowest value decides which checkpoint is kept, the earliest of equals; None keeps the latest.
    """

    stage: str
    loop: Callable[[dict[str, Any]], Any]
    plan: Any
    steps: int
    remedy: str
    scaling: ScalingConfig | None
    lowest: str | None


def watch(running: Any, status: Callable[[], Any], job: Job, patience: int, show: Callable[[int], Any]) -> Any:
    """Wait for a task of Ray that trains, and return its result.

    Parameters
    ----------
    status : callable
        Asks how often something moved, and for the steps done; returns the reference of the answer.
    show : callable
        Called now and then with the steps done, first with those that were done before.

    Raises
    ------
    DatusError
        If nothing moved for `patience` seconds.
    """
    seen, step, since = -1, 0, time.monotonic()
    while not ray.wait([running], timeout=POLL_SECONDS)[0]:
        with contextlib.suppress(RayError):  # what counts may not have been able to start, or starts again
            moves, step = ray.get(status(), timeout=patience)
            if moves != seen:
                seen, since = moves, time.monotonic()
        if seen > 0:
            show(step)
        if time.monotonic() - since >= patience:
            raise DatusError(
                f"{job.stage}: no optimiser step for {patience} s (step {step} of {job.steps}); the cluster may lack "
                f"free CPUs or GPUs, or a step takes longer: {job.remedy}, or --set no_progress_seconds=N"
            )
    result = ray.get(running)
    show(job.steps)
    return result
