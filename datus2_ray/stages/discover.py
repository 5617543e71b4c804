"""Discover: images → segments, one streaming execution.

Decode in CPU tasks → embed in an actor pool → Louvain and components in CPU tasks → describe crops in a second actor
pool → write. The graph leaves the device as packed bits; features do not, unless the descriptor or the baseline needs
the patch tokens.
"""

from __future__ import annotations

from functools import partial

import pyarrow as pa
import ray.data

from datus2_ray import schemas
from datus2_ray.context import RunContext
from datus2_ray.core.backbone import DEFAULT_BACKBONE
from datus2_ray.core.backbone import fingerprint as backbone_fingerprint
from datus2_ray.errors import UsageError
from datus2_ray.resources import plan_pool
from datus2_ray.run_folder import Commit, fingerprint
from datus2_ray.stages.describe import DescribeCrops
from datus2_ray.stages.embed import EmbedImages
from datus2_ray.stages.parts import map_parts, run_stage
from datus2_ray.stages.read import ReadImages
from datus2_ray.stages.segment import FindSegments

VERSION = 1


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
    if config.descriptor == "cnn" and config.cnn is None:
        raise UsageError("discover.descriptor=cnn needs a network: --set discover.cnn=FILE (or untrained:resnet50)")
    backbone = context.config.backbone or DEFAULT_BACKBONE
    weights = [backbone_fingerprint(name) for name in (backbone, config.cnn) if name is not None]
    identity = {**config.identity(), "backbone": weights, "seed": context.config.seed, "tokens": keep_tokens}
    stamp = fingerprint("discover", VERSION, identity, [images.fingerprint])

    def build(parts: ray.data.Dataset) -> ray.data.Dataset:
        crops = config.descriptor != "tokens"
        pool = plan_pool(config.actors, pools=2 if crops else 1, parts=len(images.parts))
        tokens = keep_tokens or not crops
        read = ReadImages(context.folder.path("images"), config.input_size)
        parts = map_parts(parts, read)
        parts = map_parts(parts, EmbedImages, pool, backbone, config, pool.device, tokens)
        parts = map_parts(parts, FindSegments(config, context.config.seed))
        if crops:
            parts = map_parts(parts, DescribeCrops, pool, backbone, config, pool.device)
        return map_parts(parts, partial(conform, keep_tokens=keep_tokens))

    return run_stage(context, "discover", "segments", stamp, images.parts, build)


def conform(block: pa.Table, keep_tokens: bool) -> pa.Table:
    """Give a finished block the columns and types of ``segments/``, and keep part and faults beside them."""
    tokens = block.schema.field("tokens").type.value_type.list_size
    schema = schemas.segments(block.schema.field("descriptors").type.value_type.list_size, tokens)
    if not keep_tokens:
        empty = pa.nulls(len(block), schema.field("tokens").type)
        block = block.set_column(block.schema.get_field_index("tokens"), "tokens", empty)
    extra = [name for name in ("part", "fault_kind", "fault_message") if name in block.column_names]
    kept = block.select(schema.names).cast(schema)
    for name in extra:
        kept = kept.append_column(name, block[name])
    return kept
