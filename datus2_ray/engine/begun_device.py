"""Where a stage computes whose result depends on it: where it was begun, so that the same command gives the same."""

from __future__ import annotations

import sys
from collections.abc import Callable

from datus2_ray.engine.context import RunContext
from datus2_ray.engine.machines import Cluster, Device, choose_device
from datus2_ray.errors import DatusError


def choose_begun_device(
    context: RunContext, cluster: Cluster, stage: str, fingerprint: Callable[[Device], str]
) -> Device:
    """Choose a stage's device: the one of an earlier attempt that left something, where settings leave it open.

    A joined cluster may have scaled its GPUs down and start them again: there a stage that was begun on them waits.

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
        :func:`~datus2_ray.engine.machines.choose_device` raises.
    """
    device = choose_device(cluster, context.config.device)
    begun = context.folder.begun(stage)
    other: Device = "cpu" if device == "cuda" else "cuda"
    if context.config.device != "auto" or begun is None or begun != fingerprint(other):
        return device
    if context.folder.commit_of(stage) is not None:
        return other
    if context.folder.is_bare(stage):
        return device  # nothing was done yet that would be lost
    if other == "cuda" and not cluster.joined:
        raise DatusError(
            f"{context.folder.path(stage)} was begun on GPUs, and there is none now; bring some back to go on, or give "
            "--device cpu to do it anew on CPUs"
        )
    print(f"{stage} goes on where it was begun, device {other}; --device {device} does it anew", file=sys.stderr)
    return other
