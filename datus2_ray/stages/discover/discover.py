"""Discover: images → segments, one streaming execution.

Decode in CPU tasks → embed in an actor pool → Louvain and components in CPU tasks → describe crops in a second actor
pool → write. The graph leaves the device as packed bits or lists of neighbours; features do not, unless the descriptor
or the baseline needs the patch tokens.
"""

from __future__ import annotations

import ray.data

from datus2_ray.core.backbone.vit import DEFAULT_BACKBONE, patch_side
from datus2_ray.core.backbone.vit import fingerprint as backbone_fingerprint
from datus2_ray.engine.begun_device import choose_begun_device
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Cluster, Device
from datus2_ray.engine.parts import map_parts, run_stage
from datus2_ray.engine.pools import plan_pool
from datus2_ray.engine.read_images import ReadImages
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.stages.discover.describe import DescribeCrops
from datus2_ray.stages.discover.embed import EmbedImages
from datus2_ray.stages.discover.segment import FindSegments
from datus2_ray.stages.discover.segments_table import conform
from datus2_ray.store.run_folder import Commit, fingerprint
from datus2_ray.store.weights_cache import local_spec

VERSION = 2


def discover(context: RunContext, images: Commit, keep_tokens: bool) -> Commit:
    """Find and describe the segments of every image.

    Parameters
    ----------
    context : RunContext
        The run.
    images : Commit
        What ingest committed.
    keep_tokens : bool
        Whether the table keeps every image's patch tokens, for the baseline.

    Returns
    -------
    Commit
        Of ``segments/``.
    """
    config = context.config.discover
    backbone = context.config.backbone or DEFAULT_BACKBONE
    cluster = Cluster.now()

    def stamp_on(device: Device) -> str:
        return discover_stamp(context, images, device, keep_tokens)

    device = choose_begun_device(context, cluster, "segments", stamp_on)
    pool = plan_pool(cluster, device, config, pools=config.pools, parts=len(images.parts))

    def build(parts: ray.data.Dataset, heartbeat: Heartbeat) -> ray.data.Dataset:
        table = ImagesTable.of(context.folder)
        patch = patch_side(local_spec(backbone)) if config.keep_aspect else None
        parts = map_parts(parts, ReadImages(table, config.input_size, heartbeat, config.reduced_decoding, patch))
        parts = map_parts(parts, EmbedImages, pool, backbone, config, device, keep_tokens, heartbeat)
        parts = map_parts(parts, FindSegments(config, context.config.seed))
        if config.pools > 1:
            parts = map_parts(parts, DescribeCrops, pool, backbone, config, device, heartbeat)
        return map_parts(parts, conform)

    return run_stage(context, "discover", "segments", stamp_on(device), images.parts, build)


def discover_stamp(context: RunContext, images: Commit, device: Device, keep_tokens: bool) -> str:
    """Give the fingerprint of everything that decides the segments and their descriptors, on a device.

    Parameters
    ----------
    context : RunContext
        The run.
    images : Commit
        What ingest committed.
    device : str
        ``cpu`` or ``cuda``.
    keep_tokens : bool
        Whether the table keeps every image's patch tokens.
    """
    config = context.config.discover
    identity = {
        **config.identity(),
        "tokens": keep_tokens,
        # Weights count by content, not by place.
        "backbone": backbone_fingerprint(local_spec(context.config.backbone or DEFAULT_BACKBONE)),
        "device": device,
    }
    identity["cnn"] = backbone_fingerprint(local_spec(str(config.cnn))) if config.descriptor == "cnn" else None
    if config.louvain in ("networkx", "python-louvain") or config.louvain_orders > 1:
        identity["seed"] = context.config.seed  # scikit-network, and what gives the same, take no random choice
    if device != "cpu" or config.arithmetic(device) != "float32" or config.compile:
        # Elsewhere an image's result may depend on what shares its batch.
        identity["batches"] = config.batch_sizes(device)
    return fingerprint("discover", VERSION, identity, [images.fingerprint])
