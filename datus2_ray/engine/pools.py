"""Pools of model actors: how many, how far they grow, and what each takes of the machines."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from datus2_ray.config.discover import DiscoverConfig
from datus2_ray.engine.machines import ACTOR_MEMORY, LEAST_ACTOR_MEMORY, Device, Machines, require_cpu
from datus2_ray.errors import DatusError

#: Images for which a further actor on a CPU is started: it imports torch and timm for 5 s of a core, and an image takes
#: 0.11 s with the packaged backbone and more with others.
IMAGES_PER_ACTOR = 24


@dataclass(frozen=True)
class Pool:
    """A pool of model actors: their number at the start and at most, and what each reserves.

    `memory` is 0 where there is only one node to place them on.
    """

    min_actors: int
    max_actors: int
    device: Device
    num_gpus: float = 0.0
    memory: int = 0


def plan_pool(machines: Machines, device: Device, wanted: DiscoverConfig, pools: int, parts: int, images: int) -> Pool:
    """Size one of `pools` equal pools that a stage runs side by side over `images` images in `parts` parts.

    On a CPU an actor reserves no CPU at all: pools that take every CPU starve the tasks that feed them, and Ray waits
    in silence. The actors use one thread each, so that as many as there are CPUs keep the machine busy. By default
    there is one actor per GPU, or one per CPU as far as memory allows and as there are images that repay its start.

    Raises
    ------
    DatusError
        If the cluster has no CPU for tasks, or not the GPUs or the memory for the actors.
    """
    require_cpu(machines)
    parts = max(1, parts)
    if device == "cuda":
        return _on_gpus(machines, wanted, pools, parts)
    return _on_cpus(machines, wanted, pools, ceil(images / IMAGES_PER_ACTOR), parts)


def actors_on_a_gpu(num_gpus: float) -> int:
    """Return how many actors of such a share Ray puts on one GPU; an actor lies on one, and never on two halves."""
    return int(1 / num_gpus + 1e-9)


def _on_gpus(machines: Machines, wanted: DiscoverConfig, pools: int, parts: int) -> Pool:
    gpus = machines.gpus
    min_actors = min(_min_actors(wanted, gpus or 1), parts)
    # As many must fit on each GPU, rounded up; where GPUs are yet to come, an actor of each pool on every one.
    fitting = max(0.01, int(100 / ceil(min_actors * pools / gpus if gpus else pools)) / 100)
    share = fitting if wanted.gpus_per_actor is None else max(wanted.gpus_per_actor, 0.01)
    capacity = gpus * actors_on_a_gpu(share) // pools
    if gpus and wanted.actors is None:
        min_actors = max(1, min(min_actors, capacity))
    if gpus and min_actors > capacity:
        name, limit = ("actors", capacity) if capacity else ("gpus_per_actor", fitting)
        raise DatusError(
            f"{_pools(pools, min_actors)} with {share:g} of a GPU each do not fit on {gpus} GPU{'s' * (gpus > 1)}; set "
            f"discover.{name} to at most {limit:g}, and discover.max_actors where nodes may join"
        )
    return Pool(min_actors, _max_actors(wanted, min_actors, parts), "cuda", share)


def _on_cpus(machines: Machines, wanted: DiscoverConfig, pools: int, repaid: int, parts: int) -> Pool:
    nodes = [node for node in machines.nodes if node.cpus]
    capacity = sum(node.memory // ACTOR_MEMORY for node in nodes) // pools
    alone = len(machines.nodes) == 1
    min_actors = min(_min_actors(wanted, max(1, min(machines.cpus, capacity, repaid))), parts)
    max_actors = _max_actors(wanted, min_actors, parts)
    # One machine is the user's own: there what he asks for is refused only where it surely cannot be. Of several, Ray
    # places every actor where it fits by what it reserves.
    possible = max(1, machines.memory // (LEAST_ACTOR_MEMORY * pools)) if alone else capacity
    requested = max_actors if alone else min_actors
    if requested > possible:
        each = LEAST_ACTOR_MEMORY if alone else ACTOR_MEMORY
        name = "discover.max_actors" if alone and wanted.max_actors is not None else "discover.actors"
        remedy = f"set {name} to at most {possible}" if possible else "give nodes with more memory"
        raise DatusError(
            f"{_pools(pools, requested)} take {each / 1e9:.2g} GB each, and Ray has {machines.memory / 1e9:.1f} GB on "
            f"{len(nodes)} node{'s' * (len(nodes) != 1)}; {remedy}"
        )
    return Pool(min_actors, max_actors, "cpu", memory=0 if alone else ACTOR_MEMORY)


def _min_actors(wanted: DiscoverConfig, automatic: int) -> int:
    return wanted.actors or min(automatic, wanted.max_actors or automatic)


def _max_actors(wanted: DiscoverConfig, min_actors: int, parts: int) -> int:
    return max(min_actors, min(wanted.max_actors or min_actors, parts))


def _pools(pools: int, actors: int) -> str:
    return f"{pools} pools of {actors} actors" if pools > 1 else f"a pool of {actors} actors"
