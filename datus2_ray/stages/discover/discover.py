"""Discover: images to segments and their descriptors, in one streaming execution.

Decode in CPU tasks, embed in an actor pool, Louvain and components in CPU tasks, describe crops in a second actor pool
where the descriptor needs them, write. The graph leaves the device as packed bits or lists of neighbours; features do
not, unless the descriptor, the layer on tokens or the baseline needs the patch tokens.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import ACTOR_MEMORY, Device
from datus2_ray.engine.operators.decides import image_reader, segmentation_decides
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage, Use
from datus2_ray.engine.uses import model_actors, part_tasks
from datus2_ray.store import schemas
from datus2_ray.store.facts import Discovered, Ingested

#: Bytes for every pair of patches while a graph is made (measured: 11).
GRAPH_BYTES = 12

#: Smallest side of patches in use, in pixels.
SMALL_PATCH = 8


def _keeps_tokens(run: Run) -> bool:
    """Return whether the table keeps every image's patch tokens: for the layer on them, or for the baseline."""
    return run.prospect.fits_layer or (run.labelled and run.config.evaluate.token_kmeans)


def _decides(run: Run, device: Device) -> dict[str, Any]:
    return {**segmentation_decides(run, device), "resolution": run.resolution, "tokens": _keeps_tokens(run)}


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    from datus2_ray.engine.operators.embed import EmbedImages
    from datus2_ray.engine.operators.segment import FindSegments
    from datus2_ray.stages.discover.describe import DescribeCrops

    config = run.config.discover.model_copy(update={"resolution": run.resolution})
    device, kept = placement.device, _keeps_tokens(run)
    embed = (run.backbone, config, device, heartbeat, True, kept or config.describes_by_tokens)
    operators = [
        Operator(image_reader(run, heartbeat)),
        Operator(EmbedImages, placement.pools["embed"], embed),
        Operator(FindSegments(config, run.config.seed, kept)),
    ]
    if config.pools > 1:
        describe = (run.backbone, config, device, heartbeat)
        operators.append(Operator(DescribeCrops, placement.pools["describe"], describe))
    return [*operators, Operator(conform)]


def conform(block: pa.Table) -> pa.Table:
    """Return a finished block with the columns and types of the table, and part and faults beside them."""
    tokens = block.schema.field("tokens").type.value_type.list_size
    schema = schemas.segments(block.schema.field("descriptors").type.value_type.list_size, tokens)
    kept = block.select(schema.names).cast(schema)
    for name in ("part", "fault_kind", "fault_message"):
        if name in block.column_names:
            kept = kept.append_column(name, block[name])
    return kept


def _uses(prospect: Prospect) -> list[Use]:
    config = prospect.config.discover
    # Where the aspect is kept, photographs of 4 to 3 are expected; a panorama takes more.
    width = config.input_size * 4 // 3 if config.keep_aspect else config.input_size
    embed = model_actors(prospect, "embed", config.pools)
    uses = [part_tasks(prospect, 3 * config.input_size * width), embed]
    if config.pools > 1:
        uses.append(model_actors(prospect, "describe", config.pools))
    notes = []
    if prospect.device == "cpu" and embed.max_count * config.pools * ACTOR_MEMORY > prospect.machines.memory:
        notes.append("with a large backbone memory may run short; lower discover.actors where it does")
    graph = GRAPH_BYTES * (config.input_size * width // SMALL_PATCH**2) ** 2
    if graph > ACTOR_MEMORY // 2:
        notes.append(
            f"an image's graph takes up to {graph / 1e9:.1f} GB more in every actor (patches of {SMALL_PATCH} pixels); "
            "lower discover.actors, or discover.input_size, where memory runs short"
        )
    return [*uses[:-1], uses[-1].with_notes(notes)]


DISCOVER = Stage(
    facts=Discovered,
    title="Find and describe the segments of every image",
    writes={
        "part-*.parquet": "per image: patch map, segments, descriptors, and tokens where em or the baseline reads them"
    },
    version=4,
    reads=(Ingested,),
    decides=_decides,
    computes=True,
    uses=_uses,
    work=PerPart(
        operators=_operators,
        facts=lambda run, placement: Discovered(),
        parts=lambda run: run.commit(Ingested).parts,
    ),
)
