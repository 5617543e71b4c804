"""Sample: what suits a set of images and no label tells, Louvain's resolution and K, found on some of its images.

Every image of the sample is seen as it is and mirrored, and segmented at each resolution that comes into question.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pyarrow as pa
import ray
import ray.data

from datus2_ray.core.backbone.vit import DEFAULT_BACKBONE, patch_side
from datus2_ray.engine.begun_device import choose_begun_device
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Cluster, Device
from datus2_ray.engine.parts import map_parts, run_stage
from datus2_ray.engine.pools import plan_pool
from datus2_ray.engine.read_images import ReadImages
from datus2_ray.errors import DatusError
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.sources.sampling import sample_parts
from datus2_ray.stages.discover.discover import discover_stamp
from datus2_ray.stages.discover.embed import EmbedImages
from datus2_ray.stages.sample import scores
from datus2_ray.stages.sample.mirrored import SegmentAtEach, add_mirror_images
from datus2_ray.store import storage
from datus2_ray.store.run_folder import Commit, fingerprint
from datus2_ray.store.weights_cache import local_spec

VERSION = 1

#: Resolutions among which one is chosen, from few large segments to many small ones. Below 1 there are so few that
#: clusterings agree because there is little to disagree on: at 0.5 more than anywhere, with the worst masks.
RESOLUTIONS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)

#: Numbers of clusters among which one is chosen. Fewer than four agree too easily to be compared with more.
COUNTS = tuple(range(4, 31))


def choose(context: RunContext, images: Commit, clusters: int | None) -> tuple[RunContext, int]:
    """Choose what a run leaves open: the resolution of Louvain where it is ``auto``, and K where it is not given.

    Parameters
    ----------
    context : RunContext
        The run.
    images : Commit
        What ingest committed.
    clusters : int or None
        K; None to choose it.

    Returns
    -------
    context : RunContext
        The same run with a resolution.
    clusters : int
        K. ``sample/`` keeps what was compared; its facts say what was chosen, and all scores.

    Raises
    ------
    DatusError
        The sample has not enough segments for K clusters.
    """
    config = context.config.discover
    if config.resolution != "auto" and clusters is not None:
        return context, clusters
    backbone = context.config.backbone or DEFAULT_BACKBONE
    cluster = Cluster.now()
    parts = sample_parts(images.parts)
    resolutions = RESOLUTIONS if config.resolution == "auto" else (config.resolution,)
    counts = COUNTS if clusters is None else (clusters,)

    def stamp_on(device: Device) -> str:
        identity = {**context.config.cluster.identity(), "sample": list(parts)}
        identity |= {"resolutions": resolutions, "counts": counts, "clusterings": scores.CLUSTERINGS}
        return fingerprint("sample", VERSION, identity, [discover_stamp(context, images, device, False)])

    device = choose_begun_device(context, cluster, "sample", stamp_on)
    pool = plan_pool(cluster, device, config, pools=1, parts=len(parts))

    def build(blocks: ray.data.Dataset, heartbeat: Heartbeat) -> ray.data.Dataset:
        patch = patch_side(local_spec(backbone)) if config.keep_aspect else None
        read = ReadImages(ImagesTable.of(context.folder), config.input_size, heartbeat, config.reduced_decoding, patch)
        blocks = map_parts(map_parts(blocks, read), add_mirror_images)
        blocks = map_parts(blocks, EmbedImages, pool, backbone, config, device, False, heartbeat)
        return map_parts(blocks, SegmentAtEach(config, resolutions, context.config.seed))

    def facts() -> dict[str, Any]:
        tables = [storage.read_table(context.folder.path("sample", part)) for part in sorted(parts)]
        sample = pa.concat_tables(tables).combine_chunks()
        # A task each: they are most of the stage's time.
        shared, task = ray.put(sample), ray.remote(scores.score)
        asked = [task.remote(shared, resolutions, one, counts, context.config.cluster) for one in resolutions]
        found = [score for answer in ray.get(asked) for score in answer]
        if not found:
            raise DatusError(
                f"sample: its {len(sample)} images have too few segments for {counts[0]} clusters; give fewer "
                "--clusters, or --set discover.resolution=NUMBER"
            )
        # Of equals the first: fewer segments, and fewer clusters, say the same.
        best = max(found, key=lambda score: score.total)
        return {
            "resolution": best.resolution,
            "clusters": best.clusters,
            "scores": [asdict(score) for score in found],
        }

    commit = run_stage(context, "sample", "sample", stamp_on(device), parts, build, facts=facts)
    return context.with_resolution(commit.facts["resolution"]), commit.facts["clusters"]
