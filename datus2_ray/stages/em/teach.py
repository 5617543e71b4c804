"""Teach: a layer learns the classes of named segments from tokens; the others vote, and are learned in turn."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from datus2_ray.engine.machines import Device
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Placement, Stage, Whole
from datus2_ray.engine.uses import token_fit
from datus2_ray.store.facts import Discovered, Labelled, Taught


def _compute(run: Run, placement: Placement, progress: Progress) -> Taught:
    """Fit a layer to the named segments.

    Raises
    ------
    DatusError
        If the machines have no room for the workers, or one failed or stalled.
    """
    from datus2_ray.stages.em.fit import fit_segments

    naming = run.naming
    fitted = fit_segments(run, placement, progress, TEACH.name, len(naming.classes), naming.names)
    return Taught(classes=naming.classes, names=naming.names.fingerprint(), **fitted)


def _decides(run: Run, device: Device) -> dict[str, Any]:
    from datus2_ray.core.refine.em import GROUPS, Recipe  # imports torch, which takes seconds
    from datus2_ray.engine.training_workers import TOKEN_MEMORY

    fit = {**asdict(Recipe()), "groups": GROUPS, "memory": TOKEN_MEMORY, "seed": run.config.seed}
    return {**fit, "names": run.naming.names.fingerprint()}


TEACH = Stage(
    facts=Taught,
    title="Fit a layer on tokens to the segments that have a name",
    writes={
        "model.safetensors": "the layer",
        "history.parquet": "loss of every step, share of the tokens that kept their class in every round",
    },
    version=1,
    adds=True,
    reads=(Discovered, Labelled),
    decides=_decides,
    computes=True,
    uses=lambda prospect: [token_fit(prospect)],
    work=Whole(compute=_compute, unit="tokens"),
)
