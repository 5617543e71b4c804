"""How many workers a training has, and that the cluster has room for them."""

from __future__ import annotations

from datus2_ray.config.pretrain import PretrainConfig
from datus2_ray.config.refine import RefineConfig
from datus2_ray.engine.machines import LEAST_ACTOR_MEMORY, Device, Machines, require_cpu
from datus2_ray.errors import DatusError, UsageError

#: Bytes of decoded images and masks that a worker of the refinement keeps from pass to pass: 2,600 of 224 x 224 pixels.
PAIRS_MEMORY = 2**29

#: Bytes of tokens that the layer of EM and the head are fitted to, over all workers: 3,500 images of 784 tokens of 384
#: numbers. Of more images a sample is taken.
TOKEN_MEMORY = 2**31

#: Max workers of such a fit: the groups of core/refine/em.py and the shares of core/head/fit.py, which are not imported
#: as they take torch.
TOKEN_WORKERS = 8


def refine_workers(config: RefineConfig, images: int, machines: Machines, device: Device) -> int:
    """Return the number of the refinement's workers: one per GPU, else one; two images per step each or more.

    On CPUs one worker computes with a thread each: two would add up gradients of 160 MB in every step.

    Raises
    ------
    UsageError
        If the number that the user set does not fit the batch size or the number of images.
    DatusError
        If the machines have no room for them.
    """
    most = min(config.batch_size // 2, max(1, images // 4))
    automatic = (machines.gpus or 1) if device == "cuda" else 1
    workers = config.workers or min(automatic, most)
    if workers > most:
        raise UsageError(
            f"refine.workers = {workers} is too many for refine.batch_size = {config.batch_size} and {images} "
            f"images: each takes at least 2 images a step; set at most {most}"
        )
    _check_fit("refine", workers, machines, device)
    return workers


def token_workers(config: RefineConfig, machines: Machines, device: Device) -> int:
    """Return the number of workers of a fit to tokens: one, or as many as are set and have something to do.

    Raises
    ------
    DatusError
        If the machines have no room for them.
    """
    workers = min(config.workers or 1, TOKEN_WORKERS)
    _check_fit("refine", workers, machines, device)
    return workers


def pretrain_workers(config: PretrainConfig, machines: Machines, device: Device) -> int:
    """Return the number of the pre-training's workers: one per GPU, else one.

    Raises
    ------
    UsageError
        If the batch size is no multiple of it.
    DatusError
        If the machines have no room for them.
    """
    workers = config.workers or ((machines.gpus or 1) if device == "cuda" else 1)
    _check_fit("pretrain", workers, machines, device)
    if config.batch_size % workers:
        raise UsageError(f"pretrain.batch_size = {config.batch_size} must be a multiple of the {workers} workers")
    return workers


def pretrain_split(config: PretrainConfig, images: int) -> tuple[int, int]:
    """Return how many images are trained on and held out; raise a UsageError if the former are fewer than a batch."""
    held_out = min(config.held_out, images // 5)
    trained_on = images - held_out
    if trained_on < config.batch_size:
        raise UsageError(
            f"{trained_on} images to train on are fewer than pretrain.batch_size = {config.batch_size}; lower it"
        )
    return trained_on, held_out


def _check_fit(stage: str, workers: int, machines: Machines, device: Device) -> None:
    require_cpu(machines)
    if device == "cuda":
        # Where there is none yet, `device = cuda` is the user's word that the cluster will start some.
        if machines.gpus and workers > machines.gpus:
            raise DatusError(
                f"{stage}.workers = {workers}, but the cluster has {machines.gpus} GPUs; set at most {machines.gpus}"
            )
        return
    room = max(1, _room(machines))
    if workers > room:
        raise DatusError(
            f"{stage}.workers = {workers} take {LEAST_ACTOR_MEMORY / 1e9:.2g} GB each, and Ray has "
            f"{machines.memory / 1e9:.1f} GB; set at most {room}"
        )


def _room(machines: Machines) -> int:
    return sum(node.memory // LEAST_ACTOR_MEMORY for node in machines.nodes)
