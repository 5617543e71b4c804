"""What the cluster has, node by node, on which device a run computes there, and how many threads a process may use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from datus2_ray.engine import ray_private
from datus2_ray.errors import DatusError

Device = Literal["cpu", "cuda"]

#: Memory that is set aside for a process with torch and a ViT in it, in bytes.
ACTOR_MEMORY = 2 * 1024**3

#: The least that such a process takes, in bytes (measured with a small ViT: 0.75-0.85 GB).
LEAST_ACTOR_MEMORY = 750_000_000


@dataclass(frozen=True)
class Node:
    """One machine of the cluster: logical CPUs and GPUs, and the bytes that Ray hands out, busy or free."""

    cpus: int
    gpus: int
    memory: int


@dataclass(frozen=True)
class Machines:
    """The machines that a run has.

    `joined` says that others started this cluster, so that it may grow; a local Ray never does. Ray itself cannot tell:
    none of its autoscalers says what it may start.
    """

    nodes: tuple[Node, ...]
    joined: bool = False

    @property
    def cpus(self) -> int:
        """Logical CPUs of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> int:
        """Logical GPUs of all nodes."""
        return sum(node.gpus for node in self.nodes)

    @property
    def memory(self) -> int:
        """Bytes of all nodes."""
        return sum(node.memory for node in self.nodes)

    def threads(self, workers: int) -> int:
        """Return the threads of each of so many workers: a share of all CPUs, and no more than the largest node has."""
        return max(1, min(self.cpus // workers, max((node.cpus for node in self.nodes), default=1)))

    @staticmethod
    def now() -> Machines:
        """Return what the Ray has to which this process is connected."""
        nodes = [
            Node(*(int(resources.get(name, 0)) for name in ("CPU", "GPU", "memory")))
            for resources in ray_private.alive_nodes()
        ]
        return Machines(tuple(nodes), joined=not ray_private.started_here())

    @staticmethod
    def of_this_machine() -> Machines:
        """Return what a Ray that is started here would have, without the seconds that starting it takes."""
        return Machines((Node(*ray_private.resources_of_this_machine()),))


def choose_device(machines: Machines, wanted: Literal["auto", "cpu", "cuda"]) -> Device:
    """Return where models compute.

    ``auto`` takes the GPUs that are there now; ``cuda`` asks for them also where a joined cluster has none yet, so that
    its autoscaler starts some.

    Raises
    ------
    DatusError
        If a GPU is asked for on a machine that has none.
    """
    if wanted == "cuda" and not machines.gpus and not machines.joined:
        raise DatusError(
            "device = cuda, but Ray sees no GPU on this machine; leave device at auto, or join a cluster that has "
            "GPUs: RAY_ADDRESS"
        )
    if wanted == "auto":
        return "cuda" if machines.gpus else "cpu"
    return wanted


def require_cpu(machines: Machines) -> None:
    """Raise a DatusError if no machine has a CPU: a task takes a whole one."""
    if machines.cpus < 1:
        raise DatusError("the cluster has no CPU for tasks; start Ray with --num-cpus of at least 1")


def prepare_device(device: str) -> None:
    """Make this process compute the same way on every machine with such a device.

    On a CPU it gets one torch thread: an actor per core is a third faster than one actor with many threads, and the
    same bits everywhere need a fixed number of threads. On a GPU float32 means float32: PyTorch would let convolutions
    round to ten bits.
    """
    import torch

    if device == "cpu":
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"
    else:
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
