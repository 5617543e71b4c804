"""Where a stage computes whose result depends on it: where it was begun, so that the same command gives the same."""

from __future__ import annotations

from collections.abc import Callable

from datus2_ray.context import RunContext
from datus2_ray.errors import DatusError
from datus2_ray.resources import Cluster, Device, choose_device


def choose_begun_device(
    context: RunContext, cluster: Cluster, stage: str, fingerprint: Callable[[Device], str]
) -> Device:
    """Choose a stage's device: the one of an earlier attempt, where settings leave it open.

    Parameters
    ----------
    context : RunContext
        The run; only ``device = auto`` leaves it open.
    cluster : Cluster
        Where it would run now.
    stage : str
        Folder of the stage.
    fingerprint : callable
        Gives the stage's fingerprint on a device.

    Raises
    ------
    DatusError
        The stage was begun on GPUs, is not finished, and there is none now; or as
        :func:`~datus2_ray.resources.choose_device` raises.
    """
    device = choose_device(cluster, context.config.device)
    begun = context.folder.begun(stage)
    if context.config.device != "auto" or begun is None or begun == fingerprint(device):
        return device
    other: Device = "cpu" if device == "cuda" else "cuda"
    if begun != fingerprint(other):
        return device
    if other == "cuda" and context.folder.commit_of(stage) is None:
        raise DatusError(
            f"{context.folder.path(stage)} was begun on GPUs, and there is none now; bring some back to go on, or give "
            "--device cpu to do it anew on CPUs"
        )
    return other
