"""Evaluate: masks and ground truth to scores: int64 confusion counts per image, summed, scored once."""

from __future__ import annotations

from typing import Any

from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage
from datus2_ray.engine.uses import part_tasks
from datus2_ray.store.facts import (
    Discovered,
    Evaluated,
    Ingested,
    Labelled,
    Predicted,
    Surveyed,
    TokensClustered,
    TokensMerged,
)


def _sets(run: Run) -> dict[str, str]:
    """Return the names and tables of the sets of masks that are scored."""
    sets = {"initial": run.commit(Labelled).uri}
    if (refined := run.find(Predicted)) is not None:
        sets["refined"] = refined.uri
    return sets


def _decides(run: Run, device: Device) -> dict[str, Any]:
    surveyed = run.facts(Surveyed)
    codes = {"codes": surveyed.codes, "by_colour": surveyed.by_colour}
    return {"classes": run.classes, **codes, "k": run.required_k, "seed": run.config.seed}


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    # Imported here and below: every process imports the declarations, and numba and SciPy take half a second.
    from datus2_ray.engine.clustering.table import read_token_clusters
    from datus2_ray.stages.evaluate.count import ScorePart

    baseline = run.find(TokensClustered)
    tokens = read_token_clusters(run.commit(TokensMerged), baseline) if baseline else {}
    images, segments = run.commit(Ingested).uri, run.commit(Discovered).uri
    truth = run.facts(Surveyed)
    codes, by_colour = truth.codes, truth.by_colour
    return [Operator(ScorePart(images, segments, _sets(run), tokens, codes, by_colour, run.required_k, heartbeat))]


def _facts(run: Run, placement: Placement) -> Evaluated:
    from datus2_ray.core.score.confusion import score
    from datus2_ray.engine.clustering.table import MERGED, PLAIN
    from datus2_ray.stages.evaluate.count import sum_counts

    sets = [*_sets(run), *((PLAIN, MERGED) if run.find(TokensClustered) else ())]
    parts = sorted(run.commit(Labelled).parts)
    totals, scored = sum_counts(placement.uri, parts, sets, len(run.classes), run.required_k)
    metrics = {
        "protocol": run.config.protocol,
        "classes": list(run.classes),
        "clusters": run.required_k,
        "seed": run.config.seed,
        "images": scored,
    }
    return Evaluated({**metrics, **{name: score(total) for name, total in totals.items()}})


EVALUATE = Stage(
    facts=Evaluated,
    title="Score all sets of masks against the ground truth",
    writes={"part-*.parquet": "per image: confusion counts of every set of masks"},
    version=5,
    reads=(Ingested, Surveyed, Discovered, Labelled),
    may_read=(Predicted, TokensMerged, TokensClustered),
    decides=_decides,
    left_out=lambda prospect: prospect.unscored,
    uses=lambda prospect: [part_tasks(prospect)],
    work=PerPart(operators=_operators, facts=_facts, parts=lambda run: run.commit(Labelled).parts),
)
