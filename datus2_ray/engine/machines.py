"""What the cluster has, node by node, on which device a run computes there, and how many threads a process may use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

import ray

from datus2_ray.errors import DatusError

Device = Literal["cpu", "cuda"]

#: Memory that is set aside for a process with torch and a ViT in it, in bytes.
ACTOR_MEMORY = 2 * 1024**3

#: The least that such a process takes, in bytes (measured with a small ViT: 0.75-0.85 GB).
LEAST_ACTOR_MEMORY = 750_000_000


@dataclass(frozen=True)
class Node:
    """What one machine of the cluster has in all, busy or free.

    Parameters
    ----------
    cpus, gpus : int
        Logical ones.
    memory : int
        Bytes that Ray hands out to processes.
    """

    cpus: int
    gpus: int
    memory: int


@dataclass(frozen=True)
class Cluster:
    """The machines that a run has.

    Parameters
    ----------
    nodes : tuple of Node
        Those that are there now.
    joined : bool
        Whether this is a cluster that others started, and that may therefore grow; a local Ray never does. Ray itself
        cannot tell: of its autoscalers none says what it may start.
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

    @staticmethod
    def now() -> Cluster:
        """Ask Ray, to which this process is connected."""
        listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        nodes = [
            Node(*(int(node["Resources"].get(name, 0)) for name in ("CPU", "GPU", "memory")))
            for node in listed
            if node["Alive"]
        ]
        started: Any = ray._private.worker._global_node
        return Cluster(tuple(nodes), joined=not (started and started.head))

    @staticmethod
    def of_this_machine() -> Cluster:
        """Tell what a Ray that is started here would have, without the seconds that starting it takes."""
        # Ray's own count, which knows containers and CUDA_VISIBLE_DEVICES: any other could differ from it.
        from ray._private.resource_and_label_spec import ResourceAndLabelSpec

        spec = ResourceAndLabelSpec().resolve(is_head=True)
        return Cluster((Node(int(spec.num_cpus or 0), int(spec.num_gpus or 0), int(spec.memory or 0)),))


def choose_device(cluster: Cluster, wanted: Literal["auto", "cpu", "cuda"]) -> Device:
    """Decide where models compute.

    Parameters
    ----------
    cluster : Cluster
        What there is.
    wanted : str
        The run's ``device``: ``auto`` takes the GPUs that are there now. ``cuda`` asks for them also where a cluster
        has none yet, so that its autoscaler starts some.

    Raises
    ------
    DatusError
        A GPU is asked for on a machine that has none.
    """
    if wanted == "cuda" and not cluster.gpus and not cluster.joined:
        raise DatusError(
            "device = cuda, but Ray sees no GPU on this machine; leave device at auto, or join a cluster that has "
            "GPUs: RAY_ADDRESS"
        )
    if wanted == "auto":
        return "cuda" if cluster.gpus else "cpu"
    return wanted


def require_cpu(cluster: Cluster) -> None:
    """See that tasks can run at all: one takes a whole CPU.

    Raises
    ------
    DatusError
        No node has a CPU.
    """
    if cluster.cpus < 1:
        raise DatusError("the cluster has no CPU for tasks; start Ray with --num-cpus of at least 1")


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
