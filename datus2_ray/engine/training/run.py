"""One training under Ray Train: start, watch step by step, end when it stalls, resume after an interruption."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
import ray.train.torch
from ray.exceptions import RayError
from ray.train import ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from datus2_ray.engine.failure import cause_of
from datus2_ray.engine.machines import Device, Machines
from datus2_ray.engine.ray_private import note_groups, quick_training
from datus2_ray.engine.training.job import MAX_FAILURES, POLL_SECONDS, Job, watch
from datus2_ray.errors import DatusError
from datus2_ray.store import storage

#: Seconds to wait for the names of a training's placement groups.
GROUP_SECONDS = 10


@dataclass(frozen=True)
class Trained:
    """The result of a training: the kept checkpoint's folder, what was reported with it, and the loop's history."""

    checkpoint: str
    metrics: dict[str, Any]
    history: dict[str, list[float | None]]


def plan_scaling(workers: int, device: Device) -> ScalingConfig:
    """Return the resources of so many training workers: one GPU each on GPUs, and at most half of the CPUs.

    Workers that take all CPUs would starve the tasks that read their images.
    """
    resources = {"CPU": int(min(0.5, Machines.now().cpus / 2 / workers) * 1000) / 1000}
    if device == "cuda":
        resources["GPU"] = 1
    return ScalingConfig(num_workers=workers, use_gpu=device == "cuda", resources_per_worker=resources)


@dataclass(frozen=True)
class ActorWatcher:
    """Watcher that forwards steps to a :class:`TrainingRun`."""

    actor: Any

    def tick(self, step: int) -> None:
        """Send a step; does not wait."""
        self.actor.tick.remote(step)


class TrainingRun:
    """Actor that runs one training and knows how far it is.

    It owns Ray Train's controller: if it is killed, the controller and all workers end with it. It also keeps Ray Train
    from taking over the interrupt key of the user's process.
    """

    def __init__(self) -> None:
        self._step = 0
        self._moves = 0
        self._first: int | None = None
        self._groups: list[PlacementGroup] = []

    def tick(self, step: int) -> None:
        """Note that so many steps are done; the same step again notes that something else moved."""
        if not self._moves:
            self._first = step
        self._step = step
        self._moves += 1

    def status(self) -> tuple[int, int]:
        """Return how often something moved, and the steps done: at first those that an earlier attempt had done."""
        step = self._step if self._first is None else self._first
        self._first = None
        return self._moves, step

    def note_group(self, group: PlacementGroup) -> None:
        """Note a placement group of the workers."""
        self._groups.append(group)

    def groups(self) -> list[PlacementGroup]:
        """Return the placement groups that the workers had so far."""
        return self._groups

    def fit(self, job: Job, folder: str, name: str, patience: int) -> Trained:
        """Train, or resume the training of this name in this folder."""
        os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = str(POLL_SECONDS)  # a checkpoint counts from the next check
        os.environ["RAY_TRAIN_COLLECTIVE_TIMEOUT_S"] = str(patience)
        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
        filesystem, path = storage.resolve(folder)
        kept_in = None if storage.is_remote(folder) else storage.join(path, name)
        api: Any = ray.train  # whose type hints are those of its old version
        kept = {"checkpoint_score_attribute": job.lowest, "checkpoint_score_order": "min"} if job.lowest else {}
        this = ray.get_runtime_context().current_actor
        trainer = api.torch.TorchTrainer(
            job.loop,
            train_loop_config={"plan": job.plan, "watcher": ActorWatcher(this), "checkpoints": kept_in},
            torch_config=TorchConfig(timeout_s=patience),
            scaling_config=job.scaling,
            run_config=api.RunConfig(
                name=name,
                storage_path=path,
                storage_filesystem=filesystem,
                failure_config=api.FailureConfig(max_failures=MAX_FAILURES, controller_failure_limit=MAX_FAILURES),
                checkpoint_config=api.CheckpointConfig(num_to_keep=1, **kept),
                logging_config=api.LoggingConfig(log_level="ERROR"),
                callbacks=[note_groups(this)],
            ),
        )
        try:
            with quick_training():
                result = trainer.fit()
        except TrainingFailedError as error:
            raise explain(job.stage, error) from error
        history = dict(result.return_value)
        if fault := history.pop("fault"):
            raise DatusError(fault)
        # The latest is there beside the best.
        checkpoint, metrics = min(
            result.best_checkpoints,
            key=lambda kept: (kept[1][job.lowest], kept[1]["step"]) if job.lowest else -kept[1]["step"],
        )
        return Trained(checkpoint.path.rsplit("/", 1)[-1], metrics, history)


def explain(stage: str, error: TrainingFailedError) -> DatusError:
    """Return in one line why a training failed: what a worker raised, our own errors first, else the controller.

    If one worker fails, others often fail as well, in what they were to do together.
    """
    failures = getattr(error, "worker_failures", {})
    raised = [failures[rank] for rank in sorted(failures)] or [getattr(error, "controller_failure", error)]
    cause = next((failure for failure in raised if isinstance(failure, DatusError)), raised[0])
    if isinstance(cause, DatusError | RayError):
        return cause_of(cause)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return DatusError(f"{stage}: {type(cause).__name__}: {lines[-1] if lines else ''}")


def run_training(job: Job, folder: str, name: str, patience: int, show: Callable[[int], Any]) -> Trained:
    """Run a training to its end; one of the same folder and name resumes from its last checkpoint.

    `show` is called now and then with the steps done.

    Raises
    ------
    DatusError
        If it failed, or took no step for `patience` seconds.
    """
    # Beside the driver, which is no spot instance; Ray Train puts its controller there as well.
    beside_driver = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    actor: Any = (
        ray.remote(TrainingRun).options(num_cpus=0, max_concurrency=4, scheduling_strategy=beside_driver).remote()
    )
    running = actor.fit.remote(job, folder, name, patience)
    try:
        trained: Trained = watch(running, actor.status.remote, job, patience, show)
        return trained
    except RayError as error:
        raise cause_of(error) from error
    finally:
        groups: list[PlacementGroup] = []
        with contextlib.suppress(RayError):  # the actor may have died
            groups = ray.get(actor.groups.remote(), timeout=GROUP_SECONDS)
        ray.kill(actor)
        # Those of a training that did not end by itself would keep their CPUs and GPUs as long as this process lives.
        for group in groups:
            remove_placement_group(group)
