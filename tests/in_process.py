"""Run stages in this process, without Ray: operators are plain callables, and so are the questions of k-means."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from ray import cloudpickle
from ray.train import ScalingConfig

from datus2_ray.engine.clustering.rows import OwnRows
from datus2_ray.engine.heartbeat import Heartbeat, Unheard
from datus2_ray.engine.machines import Device, Machines, Node
from datus2_ray.engine.parts import stream_here
from datus2_ray.engine.stage import Operator
from datus2_ray.engine.training.job import Job
from datus2_ray.engine.training.run import Trained
from datus2_ray.engine.training.worker import Member
from datus2_ray.store import storage


def parts_here(
    items: Sequence[Mapping[str, Any]], operators: Callable[[Heartbeat], Sequence[Operator]], images: int = 0
) -> Iterator[dict[str, Any]]:
    """Do what `stream_parts` does, part after part."""
    return stream_here(items, operators(Unheard()) if items else ())


def loop_here(job: Job, device: Device, patience: int, show: Callable[[int], Any]) -> dict[str, Any]:
    """Do what `run_alone` does, and leave the number of torch's threads as it was."""
    before = torch.get_num_threads()
    result: dict[str, Any] = job.loop({"plan": job.plan, "watcher": None})
    torch.set_num_threads(before)
    show(job.steps)
    return result


def fit_in_threads(job: Job, folder: str, name: str, patience: int, show: Callable[[int], Any]) -> Trained:
    """Do what `run_training` does with a fit to tokens: every worker is a thread, and gets a pickled job."""
    job = cloudpickle.loads(cloudpickle.dumps(job))
    compute, model = job.loop.args  # type: ignore[attr-defined] # of a partial of `run_fit`
    workers, given, together = (
        job.plan.workers,
        dict[int, torch.Tensor](),
        threading.Barrier(job.plan.workers, timeout=60),
    )

    def fit(rank: int) -> Any:
        def sum_over_workers(values: torch.Tensor) -> torch.Tensor:
            given[rank] = values.clone()
            together.wait()
            values.copy_(sum(given[other] for other in range(workers)))
            together.wait()
            return values

        return compute(job.plan, Member(rank, torch.device("cpu"), lambda step: None, sum_over_workers))

    with ThreadPoolExecutor(workers) as threads:
        fits = list(threads.map(fit, range(workers)))
    models = [fit.write_model() for fit in fits]
    assert models == models[:1] * workers
    storage.write_bytes(storage.join(folder, name, "fitted", model), models[0])
    return Trained("fitted", {"step": 1}, fits[0].history)


def without_ray(patch: pytest.MonkeyPatch) -> None:
    """Put these in the place of what needs Ray, everywhere but in trainings of networks, which Ray Train runs."""
    patch.setattr("datus2_ray.engine.execute.stream_parts", parts_here)
    patch.setattr("datus2_ray.engine.clustering.vectors.stream_parts", parts_here)
    patch.setattr("datus2_ray.engine.clustering.rows.RayRows", OwnRows)
    patch.setattr(
        "datus2_ray.engine.waiting.run_tasks",
        lambda function, shared, arguments, who: [function(shared, *each) for each in arguments],
    )
    patch.setattr("datus2_ray.engine.training.alone.run_alone", loop_here)
    patch.setattr("datus2_ray.engine.training.run.run_training", fit_in_threads)
    patch.setattr(
        "datus2_ray.engine.training.run.plan_scaling", lambda workers, device: ScalingConfig(num_workers=workers)
    )
    for counter in ("count_images", "count_segments", "set_seconds"):
        patch.setattr(f"datus2_ray.engine.prometheus.{counter}", lambda *_: None)


#: The machine that commands run on where no Ray says what there is.
SMALL_MACHINE = Machines((Node(4, 0, 16 * 10**9),))


def commands_without_ray(patch: pytest.MonkeyPatch) -> None:
    """Let whole commands run in this process: no Ray starts, and each backbone is loaded once."""
    from datus2_ray.core.backbone.vit import load_backbone  # imports timm, which takes seconds

    without_ray(patch)
    load = functools.cache(load_backbone)
    for module in ("engine.operators.embed", "stages.discover.describe"):
        patch.setattr(f"datus2_ray.{module}.load_backbone", load)
    patch.setattr(Machines, "now", staticmethod(lambda: SMALL_MACHINE))
    for command in ("run", "predict", "experiments.run", "ingest", "export", "name"):
        patch.setattr(f"datus2_ray.commands.{command}.start_ray", lambda seconds: None)
    for command in ("plan", "export"):
        patch.setattr(f"datus2_ray.commands.{command}.look_at_machines", lambda seconds: SMALL_MACHINE)
