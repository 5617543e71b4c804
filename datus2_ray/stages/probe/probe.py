"""Probe: tokens and ground truth to the scores of a linear layer that learned from half of the images' labels.

Only an experiment that asks what names are worth has this stage: nothing else learns from ground truth.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from datus2_ray.engine.machines import Device
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Placement, Stage, Whole
from datus2_ray.engine.uses import token_fit
from datus2_ray.store.facts import Discovered, Ingested, Probed, Surveyed


def _compute(run: Run, placement: Placement, progress: Progress) -> Probed:
    """Fit and score the probe.

    Raises
    ------
    DatusError
        If half of the images have no class, or the fit failed or stalled.
    """
    from datus2_ray.core.refine.token_groups import GROUPS
    from datus2_ray.core.score.confusion import class_scores
    from datus2_ray.core.score.probe import RECIPE
    from datus2_ray.engine.training.alone import run_alone
    from datus2_ray.engine.training.job import Job
    from datus2_ray.engine.training.shares import split_images
    from datus2_ray.engine.training.tokens import sample_images
    from datus2_ray.stages.probe.worker import HALVES, Plan, fit_probe

    tokens, images, seed = run.commit(Discovered), run.commit(Ingested), run.config.seed
    sample = sample_images(tokens, tokens, seed)
    progress.total = len(HALVES) * RECIPE.steps
    plan = Plan(
        images=images.uri,
        tokens=tokens.uri,
        parts=sample.parts,
        split=split_images(sample.ids, seed, GROUPS, 0),
        below=sample.below,
        dim=sample.dim,
        codes=run.facts(Surveyed).codes,
        by_colour=run.facts(Surveyed).by_colour,
        seed=seed,
        threads=run.machines.threads(1),
        device=placement.device,
    )
    job = Job("probe", fit_probe, plan, progress.total, "give fewer images (--limit N)", None, lowest=None)
    fitted = run_alone(job, placement.device, run.config.no_progress_seconds, progress.reach)
    confusion = np.array(fitted["confusion"])
    scores = class_scores(confusion, list(range(len(run.classes))))
    return Probed(fitted["images"], scores["miou"], scores["pixel_accuracy"])


def _decides(run: Run, device: Device) -> dict[str, Any]:
    from datus2_ray.core.score.probe import RECIPE  # imports torch, which takes seconds

    truth = run.facts(Surveyed)
    codes = {"codes": truth.codes, "by_colour": truth.by_colour}
    return {**asdict(RECIPE), "classes": run.classes, **codes, "seed": run.config.seed}


PROBE = Stage(
    facts=Probed,
    title="Fit a linear probe to the ground truth of each half of the images, and score the other",
    writes={},
    version=2,
    reads=(Ingested, Surveyed, Discovered),
    decides=_decides,
    computes=True,
    left_out=lambda prospect: prospect.unscored,
    uses=lambda prospect: [token_fit(prospect)],
    work=Whole(compute=_compute, unit="steps"),
)
