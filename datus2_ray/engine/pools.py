"""Pools of model actors: how many, how far they grow, and what each takes of the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from datus2_ray.config.stages import DiscoverConfig
from datus2_ray.engine.machines import ACTOR_MEMORY, LEAST_ACTOR_MEMORY, Cluster, Device, require_cpu
from datus2_ray.errors import DatusError


@dataclass(frozen=True)
class Pool:
    """A pool of model actors.

    Parameters
    ----------
    least, most : int
        Actors that it starts with, and that it may grow to.
    device : str
        ``cuda`` or ``cpu``.
    num_gpus : float
        GPUs that each one reserves.
    memory : int
        Bytes that each one reserves; 0 where there is only one node to lie on.
    """

    least: int
    most: int
    device: Device
    num_gpus: float = 0.0
    memory: int = 0


def plan_pool(cluster: Cluster, device: Device, wanted: DiscoverConfig, pools: int, parts: int) -> Pool:
    """Size one of several equal pools that a stage runs side by side.

    On a CPU an actor reserves no CPU at all: pools that take every CPU starve the tasks that feed them, and Ray waits
    in silence. The actors use one thread each, so that as many as there are CPUs keep the machine busy.

    Parameters
    ----------
    cluster : Cluster
        Where it is to run.
    device : str
        Of :func:`~datus2_ray.engine.machines.choose_device`.
    wanted : DiscoverConfig
        ``actors``, ``max_actors`` and ``gpus_per_actor``, where the user says so; else one actor a GPU, or one a CPU
        as far as memory allows.
    pools : int
        Pools of the stage that share the devices.
    parts : int
        Parts of the stage; more actors than that would never see one.

    Raises
    ------
    DatusError
        The cluster has no CPU for tasks, or not the GPUs or the memory for the actors.
    """
    require_cpu(cluster)
    parts = max(1, parts)
    return _on_gpus(cluster, wanted, pools, parts) if device == "cuda" else _on_cpus(cluster, wanted, pools, parts)


def actors_on_a_gpu(num_gpus: float) -> int:
    """Count the actors of such a share that Ray puts on one GPU; an actor lies on one, and never on two halves."""
    return int(1 / num_gpus + 1e-9)


def _on_gpus(cluster: Cluster, wanted: DiscoverConfig, pools: int, parts: int) -> Pool:
    gpus = cluster.gpus
    least = min(_least(wanted, gpus or 1), parts)
    if wanted.gpus_per_actor is not None:
        share = wanted.gpus_per_actor
    elif gpus:
        share = int(100 / ceil(least * pools / gpus)) / 100  # as many must fit on each GPU, rounded up
    else:
        share = int(100 / pools) / 100  # they are yet to come: an actor of each pool on every one
    share = max(share, 0.01)
    room = gpus * actors_on_a_gpu(share) // pools
    if gpus and wanted.actors is None:
        least = max(1, min(least, room))
    if gpus and least > room:
        name, most = ("actors", room) if room else ("gpus_per_actor", gpus / pools)
        raise DatusError(
            f"{_pools(pools, least)} with {share:g} of a GPU each do not fit on {gpus} GPU{'s' * (gpus > 1)}; set "
            f"discover.{name} to at most {most:g}, and discover.max_actors where nodes may join"
        )
    return Pool(least, _most(wanted, least, parts), "cuda", share)


def _on_cpus(cluster: Cluster, wanted: DiscoverConfig, pools: int, parts: int) -> Pool:
    nodes = [node for node in cluster.nodes if node.cpus]
    room = sum(node.memory // ACTOR_MEMORY for node in nodes) // pools
    alone = len(cluster.nodes) == 1
    least = min(_least(wanted, max(1, min(cluster.cpus, room))), parts)
    most = _most(wanted, least, parts)
    # One machine is the user's own: there what he asks for is refused only where it surely cannot be. Of several, Ray
    # places every actor where it fits by what it reserves.
    possible = max(1, cluster.memory // (LEAST_ACTOR_MEMORY * pools)) if alone else room
    asked = most if alone else least
    if asked > possible:
        each = LEAST_ACTOR_MEMORY if alone else ACTOR_MEMORY
        name = "discover.max_actors" if alone and wanted.max_actors is not None else "discover.actors"
        remedy = f"set {name} to at most {possible}" if possible else "give nodes with more memory"
        raise DatusError(
            f"{_pools(pools, asked)} take {each / 1e9:.2g} GB each, and Ray has {cluster.memory / 1e9:.1f} GB on "
            f"{len(nodes)} node{'s' * (len(nodes) != 1)}; {remedy}"
        )
    return Pool(least, most, "cpu", memory=0 if alone else ACTOR_MEMORY)


def _least(wanted: DiscoverConfig, automatic: int) -> int:
    return wanted.actors or min(automatic, wanted.max_actors or automatic)


def _most(wanted: DiscoverConfig, least: int, parts: int) -> int:
    return max(least, min(wanted.max_actors or least, parts))


def _pools(pools: int, actors: int) -> str:
    return f"{pools} pools of {actors} actors" if pools > 1 else f"a pool of {actors} actors"
