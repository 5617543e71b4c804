"""Choose the device of a stage: the one on which an interrupted attempt began, so that its parts stay comparable."""

from __future__ import annotations

import sys
from typing import Any

from datus2_ray.engine.machines import Device, choose_device
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Identity, Stage
from datus2_ray.errors import DatusError


def choose_identity(run: Run, stage: Stage[Any]) -> Identity:
    """Return the identity of a stage's result where it lies or was begun, if ``device = auto`` leaves it open.

    A joined cluster may have scaled its GPUs down and start them again: a stage that was begun on them waits for them.

    Raises
    ------
    DatusError
        If the stage was begun on GPUs, is not finished, and this machine has none.
    """
    device = choose_device(run.machines, run.config.device)
    here = stage.identify(run, device)
    if not stage.computes or run.config.device != "auto" or run.folder.find(stage.facts, here.fingerprint) is not None:
        return here
    other: Device = "cpu" if device == "cuda" else "cuda"
    there = stage.identify(run, other)
    if run.folder.find(stage.facts, there.fingerprint) is not None:
        return there
    begun = run.folder.is_begun
    # Check the other device first: `is_begun` lists a result that exists, which takes long in an object store.
    if not begun(stage.name, there.fingerprint) or begun(stage.name, here.fingerprint):
        return here
    if other == "cuda" and not run.machines.joined:
        raise DatusError(
            f"{run.folder.result(stage.name, there.fingerprint)} was begun on GPUs, and there is none now; bring some "
            "back to go on, or give --device cpu to do it anew on CPUs"
        )
    print(f"{stage.name} goes on where it was begun, device {other}; --device {device} does it anew", file=sys.stderr)
    return there
