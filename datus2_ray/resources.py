"""What a stage's actor pools take of the cluster, how many threads each may use, and what cannot run at all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import ceil

import ray

from datus2_ray.errors import DatusError

#: Memory that an actor with torch and a small ViT in it takes, in bytes (measured: 0.75-0.85 GB).
ACTOR_MEMORY = 2 * 1024**3


@dataclass(frozen=True)
class Cluster:
    """What the Ray cluster has in all, busy or free.

    Parameters
    ----------
    cpus, gpus : int
        Logical ones.
    memory : int
        Bytes.
    """

    cpus: int
    gpus: int
    memory: int

    @staticmethod
    def now() -> Cluster:
        """Ask Ray."""
        has: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        return Cluster(*(int(has.get(name, 0)) for name in ("CPU", "GPU", "memory")))


@dataclass(frozen=True)
class Pool:
    """A pool of model actors.

    Parameters
    ----------
    actors : int
        How many.
    device : str
        ``cuda`` or ``cpu``.
    num_gpus : float
        GPUs that each one reserves.
    """

    actors: int
    device: str
    num_gpus: float


def plan_pool(actors: int | None, pools: int, parts: int) -> Pool:
    """Size one of several equal pools that a stage runs side by side.

    On a CPU an actor reserves no CPU at all: fixed pools that take every CPU starve the tasks that feed them, and Ray
    waits in silence. The actors use one thread each, so that as many as there are CPUs keep the machine busy.

    Parameters
    ----------
    actors : int, optional
        Actors in the pool, where the user says so; default one a GPU, else one a CPU as far as memory allows.
    pools : int
        Pools of the stage that share the devices.
    parts : int
        Parts of the stage; more actors than that would never see one.

    Raises
    ------
    DatusError
        The cluster has no CPU for tasks.
    """
    cluster = Cluster.now()
    cpus, gpus = cluster.cpus, cluster.gpus
    if cpus < 1:
        raise DatusError("the cluster has no CPU for tasks; start Ray with --num-cpus of at least 1")
    if gpus:
        actors = min(actors or gpus, parts)
        # An actor lies on one GPU: as many must fit on each as there are actors to a GPU, rounded up.
        return Pool(actors, "cuda", int(100 / ceil(actors * pools / gpus)) / 100)
    fit = max(1, cluster.memory // (ACTOR_MEMORY * pools))
    return Pool(min(actors or min(cpus, fit), parts), "cpu", 0.0)


def prepare_device(device: str) -> None:
    """Make this process compute the same way on every machine with such a device.

    On a CPU it gets one torch thread: an actor a core is a third faster than one actor with many threads, and a fixed
    number of threads is part of getting the same bits everywhere. On a GPU float32 means float32: PyTorch would let
    convolutions round to ten bits.
    """
    import torch

    if device == "cpu":
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"
    else:
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
