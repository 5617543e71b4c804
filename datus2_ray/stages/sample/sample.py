"""Sample: choose the number of clusters K where nothing tells it, on some of the images, without labels.

Every image of the sample is segmented as it is and mirrored, as discover will segment it.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pyarrow as pa

from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.operators.decides import EMBED_IMAGES, image_reader, large_windows, segmentation_decides
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage
from datus2_ray.engine.uses import model_actors, part_tasks
from datus2_ray.errors import DatusError
from datus2_ray.sources.listing import sample_parts
from datus2_ray.store import parquet
from datus2_ray.store.facts import Ingested, Sampled

#: Numbers of clusters among which one is chosen. Fewer than four agree too easily to be compared with more.
COUNTS = tuple(range(4, 31))


def _parts(run: Run) -> dict[str, int]:
    return sample_parts(run.commit(Ingested).parts)


def _decides(run: Run, device: Device) -> dict[str, Any]:
    from datus2_ray.stages.sample.scores import CLUSTERINGS

    cluster = run.config.cluster.identity()
    cluster.pop("votes")  # each of the clusterings of the sample has a tree of its own
    return {
        **segmentation_decides(run, device),
        **cluster,
        "sample": list(_parts(run)),
        "counts": COUNTS,
        "clusterings": CLUSTERINGS,
    }


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    from datus2_ray.engine.operators.segment import FindSegments
    from datus2_ray.stages.sample.mirrored import add_mirror_images, pair_views

    config, windows = run.config.discover, large_windows(run)
    kinds = config.unit == "segments", config.describes_by_tokens
    embed = (run.backbone, config, placement.device, heartbeat, *kinds, windows)
    return [
        Operator(image_reader(run, heartbeat)),
        Operator(add_mirror_images),
        Operator(EMBED_IMAGES, placement.pools["embed"], embed),
        Operator(FindSegments(config, run.config.seed, windows=windows)),
        Operator(pair_views),
    ]


def _facts(run: Run, placement: Placement) -> Sampled:
    """Score every K; raise a DatusError if the sample has too few segments for the smallest."""
    from datus2_ray.engine import waiting
    from datus2_ray.stages.sample.scores import CLUSTERINGS, mean_scores, score

    tables = [parquet.read_table(placement.path(part)) for part in sorted(_parts(run))]
    sample = pa.concat_tables(tables).combine_chunks()
    # A task per clustering: they are most of the stage's time.
    arguments = [(COUNTS, run.config.cluster, seed) for seed in range(CLUSTERINGS)]
    scores = mean_scores(waiting.run_tasks(score, sample, arguments, "sample: the scoring of K"))
    if not scores:
        raise DatusError(
            f"sample: its {len(sample)} images have too few segments to tell how many clusters there are; give "
            "--clusters K"
        )
    # Of equals the first: fewer clusters say the same.
    best = max(scores, key=lambda score: score.total)
    return Sampled(best.clusters, tuple(asdict(score) for score in scores))


def _left_out(prospect: Prospect) -> str | None:
    return "the number of clusters is given" if prospect.has_k else None


SAMPLE = Stage(
    facts=Sampled,
    title="Choose the number of clusters on a sample, without labels",
    writes={"part-*.parquet": "segments and descriptors of the sample, as it is and mirrored"},
    version=5,
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
