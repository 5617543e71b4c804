"""EM: a layer learns the clusters of the segments from tokens, every segment takes the class it is given, and again.

The tokens lie in the table of discover: no image goes through the backbone again.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from datus2_ray.engine import training_workers
from datus2_ray.engine.machines import Device
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Placement, Stage, Whole
from datus2_ray.engine.uses import token_fit
from datus2_ray.store.facts import Discovered, Labelled, LayerFitted

HISTORY = "history.parquet"


def _compute(run: Run, placement: Placement, progress: Progress) -> LayerFitted:
    """Fit a layer to the segments.

    Raises
    ------
    DatusError
        If the machines have no room for the workers, or one failed or stalled.
    """
    from datus2_ray.core.refine.em import Recipe
    from datus2_ray.stages.em.fit import fit_segments

    k = run.required_k
    return LayerFitted(clusters=k, **fit_segments(run, placement, progress, EM.name, k, Recipe()))


def _decides(run: Run, device: Device) -> dict[str, Any]:
    from datus2_ray.core.refine.em import Recipe  # imports torch, which takes seconds
    from datus2_ray.core.refine.token_groups import GROUPS

    recipe = asdict(Recipe())
    return {
        **recipe,
        "groups": GROUPS,
        "memory": training_workers.TOKEN_MEMORY,
        "k": run.required_k,
        "seed": run.config.seed,
    }


def _left_out(prospect: Prospect) -> str | None:
    if prospect.unrefined is None and not prospect.config.refine.em:
        return "switched off (refine.em)"
    return prospect.unrefined


EM = Stage(
    facts=LayerFitted,
    title="Fit a layer on tokens to the segments, which vote",
    writes={
        "model.safetensors": "the layer",
        HISTORY: "loss of every step, share of the tokens that kept their class in every round",
    },
    version=1,
    reads=(Discovered, Labelled),
    decides=_decides,
    computes=True,
    left_out=_left_out,
    uses=lambda prospect: [token_fit(prospect)],
    work=Whole(compute=_compute, unit="tokens"),
)
