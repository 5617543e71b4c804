"""A training in one process, without Ray Train: a task, whose process Ray keeps for the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError

from datus2_ray.engine.failure import cause_of
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.training.job import MAX_FAILURES, Job, Watcher, watch


def run_alone(job: Job, device: Device, patience: int, show: Callable[[int], Any]) -> dict[str, Any]:
    """Run the loop of a training in a task and return what it returns; one whose process dies starts again.

    `show` is called now and then with the steps done.

    Raises
    ------
    DatusError
        If it failed, or took no step for `patience` seconds.
    """
    heartbeat = Heartbeat()
    show(0)
    # Not by options(): only of GPUs that it is told here, Ray ends the process with the task.
    task: Any = ray.remote(num_cpus=0, num_gpus=int(device == "cuda"), max_retries=MAX_FAILURES)(_run_loop)
    running = task.options(name=job.stage).remote(job, heartbeat)
    try:
        result: dict[str, Any] = watch(running, heartbeat.status, job, patience, show)
        return result
    except RayError as error:
        raise cause_of(error) from error
    except BaseException:  # interrupted or stalled
        # Not where the task has ended: Ray ends the driver if it is asked to cancel a task that is just ending.
        ray.cancel(running, force=True)
        raise


def _run_loop(job: Job, watcher: Watcher) -> Any:
    return job.loop({"plan": job.plan, "watcher": watcher})
