"""Score names: masks of classes and ground truth to scores; a class counts as the one of the same name."""

from __future__ import annotations

from typing import Any

from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage
from datus2_ray.engine.uses import part_tasks
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Ingested, Named, NamesScored, Surveyed, TaughtMasks


def _sets(run: Run) -> dict[str, Commit[Any]]:
    """Return the sets of masks of classes that are scored."""
    sets = {"named": run.commit(Named), "taught": run.find(TaughtMasks)}
    return {name: commit for name, commit in sets.items() if commit is not None}


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    # Imported here and below: every process imports the declarations, and numba and SciPy take half a second.
    from datus2_ray.stages.evaluate.count import ScorePart

    masks = {name: commit.uri for name, commit in _sets(run).items()}
    images, truth, classes = run.commit(Ingested).uri, run.facts(Surveyed), run.facts(Named).classes
    return [Operator(ScorePart(images, "", masks, {}, truth.codes, truth.by_colour, len(classes), heartbeat))]


def _facts(run: Run, placement: Placement) -> NamesScored:
    from datus2_ray.core.score.names import score_names
    from datus2_ray.stages.evaluate.count import sum_counts

    sets, classes = list(_sets(run)), run.facts(Named).classes
    parts = sorted(run.commit(Named).parts)
    totals, scored = sum_counts(placement.uri, parts, sets, len(run.classes), len(classes))
    titles = [named.name for named in classes]
    return NamesScored({"images": scored, "classes": titles, **score_names(totals, run.classes, titles)})


def _decides(run: Run, device: Device) -> dict[str, Any]:
    surveyed = run.facts(Surveyed)
    return {"classes": run.classes, "codes": surveyed.codes, "by_colour": surveyed.by_colour}


SCORE_NAMES = Stage(
    facts=NamesScored,
    title="Score the masks of classes against the ground truth",
    writes={"part-*.parquet": "per image: confusion counts of every set of masks of classes"},
    version=1,
    adds=True,
    reads=(Ingested, Surveyed, Named),
    may_read=(TaughtMasks,),
    decides=_decides,
    left_out=lambda prospect: prospect.unscored,
    uses=lambda prospect: [part_tasks(prospect)],
    work=PerPart(operators=_operators, facts=_facts, parts=lambda run: run.commit(Named).parts),
)
