"""Resolution: which resolution of Louvain suits a set of images, found on a sample of it and without a label.

Every image of the sample is seen as it is and mirrored, and segmented at each resolution that comes into question. The
segments of either view are clustered on their own, as the whole set will be. Where the two agree most on what belongs
together, the segments follow what is in the images rather than the accidents of a view.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data

from datus2_ray import storage
from datus2_ray.context import RunContext
from datus2_ray.core.backbone import DEFAULT_BACKBONE, patch_side
from datus2_ray.core.merging import merge_centroids
from datus2_ray.core.pca import fit_pca
from datus2_ray.core.shards import LocalShards
from datus2_ray.core.stability import agreement
from datus2_ray.errors import DatusError
from datus2_ray.images_table import ImagesTable
from datus2_ray.pools import plan_pool
from datus2_ray.resources import Cluster, Device
from datus2_ray.run_folder import Commit, fingerprint
from datus2_ray.stage_configs import ClusterConfig
from datus2_ray.stages.begun_device import choose_begun_device
from datus2_ray.stages.cluster import Clusters, run_kmeans
from datus2_ray.stages.discover import discover_stamp
from datus2_ray.stages.embed import EmbedImages
from datus2_ray.stages.heartbeat import Heartbeat
from datus2_ray.stages.label import paint
from datus2_ray.stages.parts import map_parts, run_stage
from datus2_ray.stages.read import ReadImages
from datus2_ray.stages.views import SegmentAtEach, add_mirror_images, read_views
from datus2_ray.weights_cache import local_spec

VERSION = 1

#: Resolutions among which one is chosen, from few large segments to many small ones.
CANDIDATES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)

#: Images that are looked at, or as few more as whole parts allow.
SAMPLE = 128

#: Clusterings a view, whose agreement is averaged. Their seeds are fixed: runs of several seeds share their segments.
CLUSTERINGS = 3


def choose_resolution(context: RunContext, images: Commit, clusters: int) -> RunContext:
    """Choose the resolution of Louvain for the images of a run.

    Parameters
    ----------
    context : RunContext
        The run; its ``discover.resolution`` is ``auto``.
    images : Commit
        What ingest committed.
    clusters : int
        K.

    Returns
    -------
    RunContext
        The same run with the resolution chosen. ``resolution/`` keeps what was compared; its facts say what was chosen,
        and the agreement at every candidate.

    Raises
    ------
    DatusError
        No candidate gives enough segments for K clusters.
    """
    config = context.config.discover
    backbone = context.config.backbone or DEFAULT_BACKBONE
    cluster = Cluster.now()
    parts = sample_parts(images.parts)

    def stamp_on(device: Device) -> str:
        identity = {**context.config.cluster.identity(), "clusters": clusters, "sample": list(parts)}
        identity |= {"candidates": CANDIDATES, "clusterings": CLUSTERINGS}
        return fingerprint("resolution", VERSION, identity, [discover_stamp(context, images, device, False)])

    device = choose_begun_device(context, cluster, "resolution", stamp_on)
    pool = plan_pool(cluster, device, config, pools=1, parts=len(parts))

    def build(blocks: ray.data.Dataset, heartbeat: Heartbeat) -> ray.data.Dataset:
        patch = patch_side(local_spec(backbone)) if config.keep_aspect else None
        read = ReadImages(ImagesTable.of(context.folder), config.input_size, heartbeat, config.reduced_decoding, patch)
        blocks = map_parts(map_parts(blocks, read), add_mirror_images)
        blocks = map_parts(blocks, EmbedImages, pool, backbone, config, device, False, heartbeat)
        return map_parts(blocks, SegmentAtEach(config, CANDIDATES, context.config.seed))

    def facts() -> dict[str, Any]:
        tables = [storage.read_table(context.folder.path("resolution", part)) for part in sorted(parts)]
        sample = pa.concat_tables(tables).combine_chunks()
        found = {value: _stability(sample, value, clusters, context.config.cluster) for value in CANDIDATES}
        known = {value: score for value, score in found.items() if score is not None}
        if not known:
            raise DatusError(
                f"resolution: the {len(sample)} images of the sample have too few segments for {clusters} clusters; "
                "lower --clusters, or give --set discover.resolution=NUMBER"
            )
        # Of equals the lowest: fewer segments say the same.
        chosen = max(known, key=lambda value: (known[value], -value))
        return {"resolution": chosen, "agreement": {f"{value:g}": score for value, score in found.items()}}

    commit = run_stage(context, "resolution", "resolution", stamp_on(device), parts, build, facts=facts)
    return context.with_resolution(commit.facts["resolution"])


def sample_parts(parts: Mapping[str, int]) -> dict[str, int]:
    """Take parts from all over a set, for neighbours in the order of names are often alike: frames of one film.

    Parameters
    ----------
    parts : mapping of str to int
        Names of the parts and the images in each.

    Returns
    -------
    dict of str to int
        Some of them, at even distances, with :data:`SAMPLE` images in all or a little more; all where there are fewer.
    """
    names = sorted(parts)
    mean = sum(parts.values()) / len(names)
    count = min(len(names), math.ceil(SAMPLE / mean))
    return {name: parts[name] for name in (names[i * len(names) // count] for i in range(count))}


def _stability(sample: pa.Table, candidate: float, clusters: int, config: ClusterConfig) -> float | None:
    """Give the mean agreement of both views' clusterings; None where there are fewer segments than clusters."""
    views = read_views(sample, CANDIDATES, candidate)
    if min(sum(map(len, view.descriptors)) for view in views) < clusters:
        return None
    scores = []
    for seed in range(CLUSTERINGS):
        labels = []
        for view in views:
            found = _cluster(np.concatenate(view.descriptors), clusters, config, seed)
            pairs = zip(view.maps, view.descriptors, strict=True)
            labels.append([paint(patch_map, found.assign(one)[0], clusters) for patch_map, one in pairs])
        here, there = labels
        scores.append(agreement(here, there, clusters))
    return float(np.mean(scores))


def _cluster(descriptors: np.ndarray, clusters: int, config: ClusterConfig, seed: int) -> Clusters:
    pca = fit_pca(LocalShards([descriptors]), config.pca) if config.pca is not None else None
    x = pca.transform(descriptors) if pca else descriptors
    finer = max(clusters, min(config.overclustering * clusters, len(x)))
    centroids = run_kmeans(LocalShards([x]), finer, config, seed).centroids
    return Clusters(centroids, merge_centroids(centroids, clusters, config.metric), config.metric, pca)
