"""Teach: a layer learns the classes of named segments from tokens; the other segments teach nothing."""

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
        If no segment of the images that are read has a name, the machines have no room for the workers, or one failed
        or stalled.
    """
    from datus2_ray.core.names.teach import RECIPE
    from datus2_ray.stages.em.fit import fit_segments

    naming = run.naming
    fitted = fit_segments(run, placement, progress, TEACH.name, len(naming.classes), RECIPE, naming.names)
    return Taught(classes=naming.classes, names=naming.names.fingerprint(), **fitted)


def _decides(run: Run, device: Device) -> dict[str, Any]:
    from datus2_ray.core.names.teach import RECIPE  # imports torch, which takes seconds
    from datus2_ray.core.refine.token_groups import GROUPS
    from datus2_ray.engine.training_workers import TOKEN_MEMORY

    fit = {**asdict(RECIPE), "groups": GROUPS, "memory": TOKEN_MEMORY, "seed": run.config.seed}
    return {**fit, "names": run.naming.names.fingerprint()}


TEACH = Stage(
    facts=Taught,
    title="Fit a layer on tokens to the segments that have a name",
    writes={
        "model.safetensors": "the layer",
        "history.parquet": "loss of every step, share of the tokens that it gives the class of their name",
    },
    version=1,
    adds=True,
    reads=(Discovered, Labelled),
    decides=_decides,
    computes=True,
    uses=lambda prospect: [token_fit(prospect)],
    work=Whole(compute=_compute, unit="tokens"),
)
