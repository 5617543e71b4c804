"""What stages commonly put on the machines; the plan shows the same objects whose pools the operators get."""

from __future__ import annotations

from datus2_ray.engine.machines import ACTOR_MEMORY, Device
from datus2_ray.engine.pools import plan_pool
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.stage import Use
from datus2_ray.engine.training_workers import TOKEN_MEMORY, token_workers

#: Bytes of an image's tokens where they are not there yet, for the plan: 784 of 384 numbers.
IMAGE_TOKENS = 2 * 784 * 384


def part_tasks(prospect: Prospect, bytes_per_image: int | None = None) -> Use:
    """Return CPU tasks over the parts; with the bytes that one image takes in them, also their memory."""
    largest = max(prospect.parts.values(), default=0)
    memory = None if bytes_per_image is None else prospect.tasks * largest * bytes_per_image
    return Use("tasks", prospect.tasks, prospect.tasks, parts=len(prospect.parts), memory=memory)


def model_actors(prospect: Prospect, runs: str, pools: int = 1, parts: int | None = None) -> Use:
    """Return one of `pools` equal pools of model actors; raise a DatusError if the machines have no room for it."""
    parts = len(prospect.parts) if parts is None else parts
    # Large images, which may be seen in many windows, count once per MB.
    images = max(prospect.images, prospect.part_bytes * len(prospect.parts) // 2**20)
    pool = plan_pool(prospect.machines, prospect.device, prospect.config.discover, pools, parts, images)
    memory = pool.max_actors * ACTOR_MEMORY
    return Use(runs, pool.min_actors, pool.max_actors, pool.device, pool.num_gpus, parts, memory, pool)


def row_holders(prospect: Prospect, memory: int | None = None) -> Use:
    """Return the actors that hold the vectors of k-means, one per CPU by default; few are held by the driver."""
    holders = prospect.config.cluster.workers or max(1, prospect.machines.cpus)
    return Use("row holders", holders, holders, memory=memory)


def training_workers(workers: int, device: Device, images: int) -> Use:
    """Return the workers of a training that each keep `images` bytes of decoded images."""
    memory = workers * (ACTOR_MEMORY + images)
    return Use("workers", workers, workers, device, 1.0 if device == "cuda" else 0.0, memory=memory)


def token_fit(prospect: Prospect) -> Use:
    """Return the workers of a fit to tokens; raise a DatusError if the machines have no room for them."""
    workers = token_workers(prospect.config.refine, prospect.machines, prospect.device)
    held = min(TOKEN_MEMORY, IMAGE_TOKENS * prospect.images)
    # As much again while they are put in order.
    return training_workers(workers, prospect.device, 2 * held // workers)
