"""Sample: choose what a set of images leaves open, Louvain's resolution and K, on some of its images, without labels.

Every image of the sample is segmented as it is and mirrored, at each resolution that comes into question.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pyarrow as pa

from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.operators.decides import image_reader, segmentation_decides
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage
from datus2_ray.engine.uses import model_actors, part_tasks
from datus2_ray.errors import DatusError
from datus2_ray.sources.listing import sample_parts
from datus2_ray.store import storage
from datus2_ray.store.facts import Ingested, Sampled

#: Resolutions among which one is chosen, from few large segments to many small ones. Below 1 there are so few that
#: clusterings agree because there is little to disagree on: at 0.5 more than anywhere, with the worst masks.
RESOLUTIONS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)

#: Numbers of clusters among which one is chosen. Fewer than four agree too easily to be compared with more.
COUNTS = tuple(range(4, 31))


def _candidates(run: Run) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return the resolutions and the numbers of clusters that are compared."""
    given = run.config.discover.resolution
    resolutions = RESOLUTIONS if given == "auto" else (float(given),)
    return resolutions, COUNTS if run.k is None else (run.k,)


def _parts(run: Run) -> dict[str, int]:
    return sample_parts(run.commit(Ingested).parts)


def _decides(run: Run, device: Device) -> dict[str, Any]:
    from datus2_ray.stages.sample.scores import CLUSTERINGS

    resolutions, counts = _candidates(run)
    return {
        **segmentation_decides(run, device),
        **run.config.cluster.identity(),
        "sample": list(_parts(run)),
        "resolutions": resolutions,
        "counts": counts,
        "clusterings": CLUSTERINGS,
    }


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    from datus2_ray.engine.operators.embed import EmbedImages
    from datus2_ray.stages.sample.mirrored import SegmentAtEach, add_mirror_images

    config = run.config.discover
    embed = (run.backbone, config, placement.device, heartbeat, True, config.describes_by_tokens)
    return [
        Operator(image_reader(run, heartbeat)),
        Operator(add_mirror_images),
        Operator(EmbedImages, placement.pools["embed"], embed),
        Operator(SegmentAtEach(config, _candidates(run)[0], run.config.seed)),
    ]


def _facts(run: Run, placement: Placement) -> Sampled:
    """Score every candidate; raise a DatusError if the sample has too few segments for K clusters."""
    from datus2_ray.engine import waiting
    from datus2_ray.stages.sample.scores import score

    tables = [storage.read_table(placement.path(part)) for part in sorted(_parts(run))]
    sample = pa.concat_tables(tables).combine_chunks()
    resolutions, counts = _candidates(run)
    # A task each: they are most of the stage's time.
    arguments = [(resolutions, value, counts, run.config.cluster) for value in resolutions]
    answers = waiting.run_tasks(score, sample, arguments, "sample: the scoring of resolutions")
    scores = [score for answer in answers for score in answer]
    if not scores:
        raise DatusError(
            f"sample: its {len(sample)} images have too few segments for {counts[0]} clusters; give fewer "
            "--clusters, or --set discover.resolution=NUMBER"
        )
    # Of equals the first: fewer segments, and fewer clusters, say the same.
    best = max(scores, key=lambda score: score.total)
    return Sampled(best.resolution, best.clusters, tuple(asdict(score) for score in scores))


def _left_out(prospect: Prospect) -> str | None:
    open_resolution = prospect.config.discover.resolution == "auto"
    return None if open_resolution or not prospect.has_k else "resolution and number of clusters are given"


SAMPLE = Stage(
    facts=Sampled,
    title="Choose the resolution and the number of clusters on a sample, without labels",
    writes={"part-*.parquet": "segments and descriptors of the sample at every resolution, as they are and mirrored"},
    version=3,
    reads=(Ingested,),
    decides=_decides,
    computes=True,
    left_out=_left_out,
    uses=lambda prospect: [
        part_tasks(prospect),
        model_actors(prospect, "embed", parts=len(sample_parts(prospect.parts))),
    ],
    work=PerPart(operators=_operators, facts=_facts, parts=_parts),
)
